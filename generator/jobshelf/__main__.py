"""`python -m jobshelf`."""

from jobshelf.cli import main

raise SystemExit(main())
