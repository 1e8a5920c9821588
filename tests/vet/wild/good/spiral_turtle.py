# /// script
# requires-python = ">=3.9"
# ///
import turtle

pen = turtle.Turtle()
pen.speed(0)
for step in range(180):
    pen.color(("red", "green", "blue")[step % 3])
    pen.forward(step * 2)
    pen.left(121)
turtle.done()
