# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
def first[T](items: list[T]) -> T:
    return items[0]
