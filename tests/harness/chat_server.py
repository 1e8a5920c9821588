"""A chat completions API on loopback that answers with the last message, upside down, or as it is told, and misbehaves."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOO_LONG = 400
BUSY = 429
BROKEN = 500


@dataclass
class ChatServer:
    """What it was asked. `first_answers` are the statuses that each text gets before it is answered.

    `answers` returns the texts of the choices for a request, instead of the last message upside down.
    `most_at_once` is the largest number of requests that were in work at the same time.
    """

    url: str = ""
    pause: float = 0.0
    refuses: int | None = None
    first_answers: dict[str, list[int]] = field(default_factory=dict)
    answers: Callable[[dict[str, Any]], list[str]] | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    asked: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        text = request["messages"][-1]["content"]
        with self.lock:
            self.requests.append(request)
            self.asked[text] += 1
            waiting = self.first_answers.get(text, [])
            status = self.refuses or (waiting.pop(0) if waiting else 200)
        if status != 200:
            return status, {"error": {"message": f"{status} for {text[:20]}", "type": "refusal"}}
        texts = self.answers(request) if self.answers else [text[::-1]] * request.get("n", 1)
        choices = [
            {"index": index, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
            for index, said in enumerate(texts)
        ]
        usage = {"prompt_tokens": len(text), "completion_tokens": 3 * len(choices), "total_tokens": 0}
        return 200, {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": choices,
            "usage": usage,
        }


@contextmanager
def chat_server(**options: Any) -> Iterator[ChatServer]:
    """Serve until the block is left."""
    state = ChatServer(**options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.keys.add(self.headers.get("Authorization", ""))
                state.at_once += 1
                state.most_at_once = max(state.most_at_once, state.at_once)
            time.sleep(state.pause)
            status, document = state.answer(request)
            with state.lock:
                state.at_once -= 1
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if status in {BUSY, BROKEN}:
                self.send_header("retry-after-ms", "10")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
