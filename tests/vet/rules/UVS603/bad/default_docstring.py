"""My script.

Reads nothing.
"""
