"""Print the version of the interpreter Print the version of the interpreter Print the version of the interpreter Print the version of the interpreter 

Reads nothing.
"""
