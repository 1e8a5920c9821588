"""Count words.

Reads nothing.
"""
