"""HTTP/1.1 as far as a client of the API server sees it, down to the bytes: what is written here can also be cut short."""

import asyncio
import gzip
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit


class Asked(NamedTuple):
    """A request. `headers`: by names in lower case. `query`: the last value of each name."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


class Connection:
    """One connection of a client. `running`: nothing is written while it is not set."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, running: asyncio.Event) -> None:
        self._reader, self._writer, self._running = reader, writer, running
        self.open = True

    async def asked(self) -> Asked | None:
        """The next request, or None when the client has closed."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        url = urlsplit(target)
        path = tuple(unquote(part) for part in url.path.split("/") if part)
        return Asked(method, path, dict(parse_qsl(url.query, keep_blank_values=True)), headers, body)

    async def closed(self) -> None:
        """Returns when the client closes."""
        with suppress(ConnectionError):
            await self._reader.read(1)

    async def answer(
        self, status: int, body: bytes, content_type: str, headers: Mapping[str, str], *, packed: bool, cut: bool = False
    ) -> None:
        """A whole answer. `packed`: compressed by gzip. `cut`: only half of its body; the caller ends the connection."""
        if packed:
            body = gzip.compress(body, compresslevel=1)
            headers = {**headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        await self.raw(_head(status, {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}))
        await self.raw(body[: len(body) // 2] if cut else body)

    async def begin(self) -> None:
        """The headers of an answer in chunks."""
        await self.raw(_head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}))

    async def chunk(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def cut_chunk(self, data: bytes) -> None:
        """The size of the whole, and half of it."""
        await self.raw(b"%x\r\n%b" % (len(data), data[: len(data) // 2]))

    async def end(self) -> None:
        """The chunk that ends an answer."""
        await self.raw(b"0\r\n\r\n")

    async def raw(self, data: bytes) -> None:
        await self._running.wait()
        self._writer.write(data)
        await self._writer.drain()

    def close(self, *, reset: bool = False) -> None:
        self.open = False
        if self._writer.is_closing():
            return
        if reset:
            sock: socket.socket = self._writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        else:
            self._writer.close()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
