def run() -> None:
    """Do nothing."""
