"""`python -m index`."""

from index.server import main

raise SystemExit(main())
