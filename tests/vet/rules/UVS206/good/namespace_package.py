# /// script
# requires-python = ">=3.11"
# dependencies = ["google-cloud-storage>=3,<4"]
# ///
"""Count."""


def count(bucket: str) -> int:
    from google.cloud import storage

    return sum(1 for _ in storage.Client().list_blobs(bucket))
