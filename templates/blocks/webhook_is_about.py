"""Starting by a webhook of the Hub."""

import os

from .stop import stop


def webhook_is_about(repo: str, kind: str = "dataset") -> bool:
    """Tell whether the webhook that started this, if one did, is about new content of `repo`."""
    from huggingface_hub import WebhookPayload

    if not (payload := os.environ.get("WEBHOOK_PAYLOAD")):
        return True
    try:
        event = WebhookPayload.model_validate_json(payload)
    except ValueError as error:
        stop(2, f"WEBHOOK_PAYLOAD is no event of a webhook: {error}", "start this from a webhook of the Hub")
    return event.event.scope.startswith("repo.content") and (event.repo.type, event.repo.name) == (kind, repo)
