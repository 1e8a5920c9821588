# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
import curses
import random

MOVES = {curses.KEY_UP: (-1, 0), curses.KEY_DOWN: (1, 0), curses.KEY_LEFT: (0, -1), curses.KEY_RIGHT: (0, 1)}


def play(screen):
    curses.curs_set(0)
    screen.timeout(120)
    height, width = screen.getmaxyx()
    snake, move = [(height // 2, width // 2)], MOVES[curses.KEY_RIGHT]
    apple = (random.randrange(1, height - 1), random.randrange(1, width - 1))
    while True:
        move = MOVES.get(screen.getch(), move)
        head = (snake[0][0] + move[0], snake[0][1] + move[1])
        if head in snake or not (0 < head[0] < height - 1 and 0 < head[1] < width - 1):
            return len(snake)
        snake.insert(0, head)
        if head == apple:
            apple = (random.randrange(1, height - 1), random.randrange(1, width - 1))
        else:
            screen.addch(*snake.pop(), " ")
        screen.addch(*apple, "o")
        screen.addch(*head, "#")


print("length:", curses.wrapper(play))
