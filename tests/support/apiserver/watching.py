"""One watch: which events it tells, in which bytes, and how it ends."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.apiserver.answers import encoded
from tests.support.apiserver.faults import Cut, Ends, Fault, Pieces, Silent, Where
from tests.support.apiserver.http import Connection
from tests.support.apiserver.kinds import Object, Resource
from tests.support.apiserver.store import Event, Stored

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Watch:
    """A running watch of a resource in one of its versions.

    `after`: the resourceVersion that its events must be beyond; `ceiling`: that beyond which what there is to tell waits, None: nothing
    does. `backlog`: how many lines may wait for the client; with more, what waits is still told, and then the watch ends.
    """

    def __init__(
        self, resource: Resource, version: str, matches: Callable[[Mapping[str, Any]], bool], *, after: int, bookmarks: bool, backlog: int
    ) -> None:
        self.resource, self.bookmarks, self.after = resource, bookmarks, after
        self.ceiling: int | None = None
        self.fault: Fault | None = None
        self._api_version = resource.api_version(version)
        self._matches, self._backlog = matches, backlog
        self._lines: list[tuple[int, bytes]] = []
        self._told = 0
        self._ended = False
        self._wake = asyncio.Event()

    # -- what it tells --------------------------------------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        """A write. What comes to match the selector is ADDED, what no longer does DELETED, in the state that it was in."""
        if event.resource.id != self.resource.id or event.rv <= self.after or self._ended:
            return
        before = event.before is not None and self._matches(event.before.value)
        now = event.type != "DELETED" and self._matches(event.now.value)
        if not before and not now:
            return
        if now:
            self.line("MODIFIED" if before else "ADDED", event.now.whole(self._api_version), event.rv)
        elif event.type == "DELETED":
            self.line("DELETED", event.now.whole(self._api_version), event.rv)
        else:
            assert event.before is not None
            left = {**event.before.value, "metadata": {**event.before.value["metadata"], "resourceVersion": str(event.rv)}}
            self.line("DELETED", Stored(left, event.rv).whole(self._api_version), event.rv)

    def present(self, stored: Stored, rv: int) -> None:
        """An object that was there before the watch, at this version of the whole."""
        if self._matches(stored.value):
            self.line("ADDED", stored.whole(self._api_version), rv)

    def bookmark(self, rv: int, *, initial_events_end: bool = False) -> None:
        annotations = {"annotations": {INITIAL_EVENTS_END: "true"}} if initial_events_end else {}
        metadata = {"resourceVersion": str(rv), "creationTimestamp": None, **annotations}
        body = {"kind": self.resource.kind, "apiVersion": self._api_version, "metadata": metadata, **self.resource.zeros}
        if self.resource.custom:
            del metadata["creationTimestamp"]
        self.line("BOOKMARK", encoded(body), rv)

    def error(self, status: Object) -> None:
        """The last thing that it tells."""
        self.line("ERROR", encoded(status))
        self.finish()

    def line(self, type_: str, body: bytes, rv: int = 0) -> None:
        """Anything: what real servers say, and what they never should."""
        self._lines.append((rv, b'{"type":"%b","object":%b}\n' % (type_.encode(), body)))
        if len(self._lines) > self._backlog:
            self._ended = True
        self._wake.set()

    def finish(self) -> None:
        """It ends properly when all is told."""
        self._ended = True
        self._wake.set()

    def hold(self, ceiling: int | None) -> None:
        """What waited goes in one chunk when nothing is held any more."""
        self.ceiling = ceiling
        self._wake.set()

    def disturb(self, fault: Fault) -> None:
        self._told = 0
        self.fault = fault
        self._wake.set()

    # -- how it is written ----------------------------------------------------------------------------------------------------

    async def run(self, connection: Connection, seconds: float) -> None:
        """Until the client closes, its time is over or it is finished. Closes the connection where a fault does."""
        await connection.begin()
        closed = asyncio.ensure_future(connection.closed())
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            while connection.open and not closed.done():
                self._wake.clear()
                if await self._written(connection):
                    return
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    await connection.end()
                    return
                waked = asyncio.ensure_future(self._wake.wait())
                try:
                    await asyncio.wait({waked, closed}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waked.cancel()
        finally:
            if closed.done():
                connection.close()
            await _cancelled(closed)

    async def _written(self, connection: Connection) -> bool:
        """Whether that was the end."""
        if isinstance(self.fault, Silent):
            return False
        lines = [line for rv, line in self._lines if self.ceiling is None or rv <= self.ceiling]
        self._lines = self._lines[len(lines) :]
        if self.fault is None:
            if lines:
                await connection.chunk(b"".join(lines))
        else:
            for line in lines:
                if await self._disturbed(connection, line):
                    return True
                self._told += 1
            if isinstance(self.fault, Ends) and self._told >= self.fault.after:
                return await self._end(connection, self.fault)
        if self._ended and not self._lines:
            await connection.end()
            return True
        return False

    async def _disturbed(self, connection: Connection, line: bytes) -> bool:
        """Writes a line as the fault has it; whether that was the end."""
        match self.fault:
            case Pieces(size, pause):
                for start in range(0, len(line), size):
                    await connection.chunk(line[start : start + size])
                    await asyncio.sleep(pause)
                return False
            case Cut(where, after) if self._told >= after:
                await self._cut(connection, line, where)
                return True
            case Ends(after) as fault if self._told >= after:
                return await self._end(connection, fault)
        await connection.chunk(line)
        return False

    async def _end(self, connection: Connection, fault: Ends) -> bool:
        if fault.last is not None:
            await connection.chunk(encoded(fault.last) + b"\n")
        await connection.end()
        return True

    async def _cut(self, connection: Connection, line: bytes, where: Where) -> None:
        match where:
            case Where.LINE:
                await connection.chunk(line[: len(line) // 2])
                await connection.end()
                return
            case Where.UNENDED:
                await connection.chunk(line)
            case Where.CHUNK | Where.RESET:
                await connection.cut_chunk(line)
        connection.close(reset=where is Where.RESET)


async def _cancelled(task: "asyncio.Future[Any]") -> None:
    """Returns when it is: only then may somebody else read where it read."""
    task.cancel()
    await asyncio.wait({task})
