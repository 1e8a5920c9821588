"""Print the version.
Reads nothing.
"""
