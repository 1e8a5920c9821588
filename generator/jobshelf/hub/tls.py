"""The Hub under its real name, for clients that know no other.

polars and `uv run` write `https://huggingface.co` into their programs. They do honour `HTTPS_PROXY` and `SSL_CERT_FILE`: so
this is a proxy on loopback that ends the TLS connection to the Hub's hosts itself, with a certificate of its own authority,
and hands the bytes to the Hub. It refuses every other host, so nothing leaves the machine through it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jobshelf.errors import EnvironmentFault
from jobshelf.hub.private import private_folder, private_opener

HOST = "huggingface.co"
FILES_HOST = "cdn-lfs.huggingface.co"
VIEWER_HOST = "datasets-server.huggingface.co"
HOSTS = (HOST, FILES_HOST, VIEWER_HOST)
_LOOPBACK = "127.0.0.1"
_CHUNK = 1 << 16
_LONGEST_HEAD = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The running proxy; `bundle` holds the machine's authorities and its own, for `SSL_CERT_FILE`."""

    proxy: str
    bundle: Path

    def environment(self, *, direct: Sequence[str] = ()) -> Mapping[str, str]:
        """The variables by which a process talks to this Hub as to the real one.

        `direct` are hosts that are not to go by the proxy (it would refuse them): a package registry's.
        """
        past = ",".join(filter(None, (os.environ.get("NO_PROXY"), _LOOPBACK, "localhost", *direct)))
        certificates = {name: str(self.bundle) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")}
        return {
            **certificates,
            "HTTPS_PROXY": self.proxy,
            "https_proxy": self.proxy,
            "NO_PROXY": past,
            "no_proxy": past,
        }


@contextmanager
def tls_proxy(folder: Path, hub_port: int) -> Iterator[Tls]:
    """Run the proxy in front of the Hub at `hub_port`. Its certificates live as long as it does.

    Raises EnvironmentFault when the package `trustme` is not installed.
    """
    context = _certificates(folder)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="tls", daemon=True)
    with socket.create_server((_LOOPBACK, 0), backlog=4096) as listener:
        thread.start()
        proxy = _Proxy(context, hub_port)
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(proxy.serve, sock=listener), loop).result()
        try:
            yield Tls(proxy=f"http://{_LOOPBACK}:{listener.getsockname()[1]}", bundle=folder / "bundle.pem")
        finally:
            loop.call_soon_threadsafe(server.close)
            asyncio.run_coroutine_threadsafe(proxy.close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


def _certificates(folder: Path) -> ssl.SSLContext:
    try:
        import trustme
    except ImportError as error:
        raise EnvironmentFault("TLS mode needs the package trustme", fix="uv add --dev trustme") from error
    private_folder(folder)
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*HOSTS).configure_cert(context)
    context.set_alpn_protocols(["http/1.1"])
    known = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    system = Path(known).read_bytes() if known and Path(known).is_file() else b""
    with open(folder / "bundle.pem", "wb", opener=private_opener) as bundle:
        bundle.write(system + b"\n" + authority.cert_pem.bytes())
    return context


class _Proxy:
    """Answers CONNECT."""

    def __init__(self, context: ssl.SSLContext, hub_port: int) -> None:
        self._context = context
        self._hub_port = hub_port
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await self._serve(reader, writer)
        finally:
            # after a reset from the Hub the client is to see one too
            writer.transport.abort()

    async def close(self) -> None:
        """End every connection."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, *_ = head[:_LONGEST_HEAD].split(b" ", 2)
        host, _, port = target.decode("latin-1").rpartition(":")
        if method != b"CONNECT" or host not in HOSTS or port != "443":
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        await writer.start_tls(self._context)
        hub_reader, hub_writer = await asyncio.open_connection(_LOOPBACK, self._hub_port)
        try:
            await _both_ways(reader, writer, hub_reader, hub_writer)
        finally:
            hub_writer.transport.abort()


async def _both_ways(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    hub_reader: asyncio.StreamReader,
    hub_writer: asyncio.StreamWriter,
) -> None:
    up = asyncio.create_task(_pump(reader, hub_writer))
    down = asyncio.create_task(_pump(hub_reader, writer))
    try:
        done, _ = await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        if down in done:
            # what the Hub said last has to arrive
            writer.close()
            await writer.wait_closed()
    finally:
        up.cancel()
        down.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK):
        target.write(chunk)
        await target.drain()
