# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Count.

MIT License

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files, to deal in the Software.
"""
