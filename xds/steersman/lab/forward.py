"""Ports of this machine that lead into the lab's networks."""

import asyncio
import contextlib

import msgspec

from steersman.lab import netns


class Destination(msgspec.Struct, frozen=True):
    """Where connections go. `namespace`: the network from which it is dialled, None: this machine's."""

    address: str
    port: int
    namespace: str | None = None


class Forward:
    """Passes connections on. `port`: where it listens on 127.0.0.1, once it does."""

    def __init__(self, name: str, destination: Destination) -> None:
        self.name = name
        self.port = 0
        self._destination = destination
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    async def open(self, wanted: int) -> None:
        """Listen on the wanted port, or on a free one if somebody has it."""
        try:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", wanted)
        except OSError:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass_on(reader, writer), name=f"forward {self.name}")
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to = self._destination
        with contextlib.closing(writer), contextlib.suppress(OSError):
            inner = netns.stream_socket(to.namespace)
            inner.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(inner, (to.address, to.port))
            except OSError:
                inner.close()
                raise
            inner_reader, inner_writer = await asyncio.open_connection(sock=inner)
            with contextlib.closing(inner_writer):
                await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything from one to the other, then the end of it."""
    while chunk := await reader.read(64 * 1024):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
