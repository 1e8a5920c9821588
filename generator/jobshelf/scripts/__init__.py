"""A script as data. `files` and `download` read its bytes, within limits of size and time, from wherever it is."""
