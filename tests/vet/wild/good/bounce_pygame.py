# /// script
# requires-python = ">=3.10"
# dependencies = ["pygame-ce"]
# ///
import sys

import pygame

pygame.init()
screen = pygame.display.set_mode((640, 480))
clock = pygame.time.Clock()
ball, speed = pygame.Rect(40, 40, 30, 30), [4, 3]

while True:
    for event in pygame.event.get():
        if event.type == pygame.QUIT:
            pygame.quit()
            sys.exit()
    ball.move_ip(speed)
    if ball.left < 0 or ball.right > 640:
        speed[0] = -speed[0]
    if ball.top < 0 or ball.bottom > 480:
        speed[1] = -speed[1]
    screen.fill("black")
    pygame.draw.ellipse(screen, "orange", ball)
    pygame.display.flip()
    clock.tick(60)
