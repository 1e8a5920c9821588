# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
import tkinter

root = tkinter.Tk()
for number in range(9):
    tkinter.Button(root, text=number, command=lambda: print(number)).pack()  # expect: UVS505
root.mainloop()
