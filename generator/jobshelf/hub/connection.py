"""A client's connection, which a planned fault can break."""

from __future__ import annotations

import asyncio
import socket
import struct

from uvicorn.protocols.http.h11_impl import H11Protocol

STATE_KEY = "connection"
_NO_LINGER = struct.pack("ii", 1, 0)


class Connection:
    """The way from the Hub to one client."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def reset(self) -> None:
        """End the connection at once: the client sees `ECONNRESET`; one that is gone already sees nothing."""
        if self._transport.is_closing():
            return
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()

    @property
    def is_gone(self) -> bool:
        """Whether the client has left."""
        return self._transport.is_closing()

    def close(self) -> None:
        """End the connection when what was written has left."""
        self._transport.close()


class HubProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, which also tells the application what it is connected by."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a new client (asyncio)."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, STATE_KEY: Connection(transport)}
