"""The HTTP routes, one file a family. Each exports `ROUTES`."""
