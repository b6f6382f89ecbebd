"""The network between a client and an API server, which can be cut while both go on."""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Self


class Link:
    """Passes on what comes, in a thread of its own. `url`: where clients find the server at the other end, at that one's address: its
    certificate is for it."""

    def __init__(self, address: str, port: int) -> None:
        self._target = address, port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link", daemon=True)
        self._up = True
        self._flowing = asyncio.Event()
        self._pipes: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return f"https://{self._target[0]}:{self.port}"

    def cut(self) -> None:
        """Connections end, and new ones do at once."""
        self._do(self._set(up=False))

    def stall(self) -> None:
        """Connections stay, and new ones come about; nothing passes."""
        self._do(self._set(flowing=False))

    def mend(self) -> None:
        """What was stalled arrives."""
        self._do(self._set())

    async def _set(self, *, up: bool = True, flowing: bool = True) -> None:
        self._up = up
        (self._flowing.set if flowing else self._flowing.clear)()
        if not up:
            for pipe in list(self._pipes):
                pipe.cancel()
            await asyncio.gather(*self._pipes, return_exceptions=True)

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _listen(self) -> None:
        self._flowing.set()
        self._server = await asyncio.start_server(self._connected, self._target[0], 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        self._server.close()
        await self._set(up=False)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = asyncio.current_task()
        assert own is not None
        self._pipes.add(own)
        other: asyncio.StreamWriter | None = None
        try:
            if self._up:
                there, other = await asyncio.open_connection(*self._target)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._pass(reader, other))
                    tasks.create_task(self._pass(there, writer))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._pipes.discard(own)
            for end in (writer, other):
                if end is not None:
                    end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()
