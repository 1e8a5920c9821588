"""The bare process in which `jobshelf.interface` runs a script: stubbed imports, no network, no real token, hard limits.

Nothing here is imported by the tool itself; `jobshelf.interface` starts `python -m jobshelf.stub.server`.
"""
