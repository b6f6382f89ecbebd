"""Requests without end, from a thread of its own: what an application sees while everything under it changes."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

_TIMEOUT = 10.0
_PAUSE = 0.02


class Target(NamedTuple):
    """Where a request goes. `host`: its Host."""

    address: str
    port: int
    host: str


class Failed(NamedTuple):
    """A request that was not answered 200. `at`: time.monotonic() of its end; `took`: seconds; `said`: status and body, or the error."""

    lane: str
    target: Target
    at: float
    took: float
    said: str

    def __str__(self) -> str:
        return f"{self.at:.3f} {self.lane} after {self.took * 1000:.0f} ms at {self.target.host} ({self.target.port}): {self.said}"


class Lane:
    """One caller, one request after the other. `kept`: over one connection for as long as the server keeps it, else each over its own.
    `slow`: milliseconds that the application takes for an answer, which it is asked for."""

    def __init__(self, name: str, target: Target, *, kept: bool = True, slow: int = 0, pause: float = _PAUSE) -> None:
        self.name = name
        self.target = target
        self.kept = kept
        self.slow = slow
        self.pause = pause
        self.answered = 0
        self.current = target
        self.renewed = False


class Load:
    """Runs its lanes while entered."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.lanes = list(lanes)
        self.failed: list[Failed] = []
        self._stopped = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")

    @property
    def answered(self) -> int:
        return sum(lane.answered for lane in self.lanes)

    @property
    def requests(self) -> int:
        return self.answered + len(self.failed)

    def by_lane(self) -> dict[str, int]:
        """How many of each lane were answered 200."""
        return dict(Counter({lane.name: lane.answered for lane in self.lanes}))

    def move(self, target: Target, *lanes: Lane) -> None:
        """These ask there from now on. Returns when no request to where they asked before is under way."""
        for lane in lanes:
            lane.target = target
        end = time.monotonic() + _TIMEOUT + 1
        while any(lane.current != target for lane in lanes):
            assert time.monotonic() < end, "a lane hasn't moved"
            time.sleep(0.002)

    def renew(self, *lanes: Lane) -> None:
        """These take new connections. Returns when they have closed the old ones."""
        for lane in lanes:
            lane.renewed = True
        end = time.monotonic() + _TIMEOUT + 1
        while any(lane.renewed for lane in lanes):
            assert time.monotonic() < end, "a lane hasn't closed its connection"
            time.sleep(0.002)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped = True
        self._thread.join()

    async def _run(self) -> None:
        await asyncio.gather(*(self._drive(lane) for lane in self.lanes))

    async def _drive(self, lane: Lane) -> None:
        connection: _Connection | None = None
        while not self._stopped:
            target = lane.current = lane.target
            if connection is not None and (lane.renewed or connection.target != target):
                connection.close()
                connection = None
            lane.renewed = False
            began = time.monotonic()
            try:
                async with asyncio.timeout(_TIMEOUT):
                    if connection is None:
                        connection = await _Connection.to(target)
                    said, open_ = await connection.get(lane.slow)
            except (OSError, EOFError, ValueError, TimeoutError) as error:
                said, open_ = repr(error), False
            if said:
                now = time.monotonic()
                self.failed.append(Failed(lane.name, target, now, now - began, said))
            else:
                lane.answered += 1
            if connection is not None and not (open_ and lane.kept):
                connection.close()
                connection = None
            await asyncio.sleep(lane.pause)
        if connection is not None:
            connection.close()


class _Connection:
    """HTTP/1.1, as much of it as answers of Envoy's need."""

    def __init__(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.target = target
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, target: Target) -> Self:
        return cls(target, *await asyncio.open_connection(target.address, target.port))

    async def get(self, slow: int) -> tuple[str, bool]:
        """What was wrong with the answer ("" nothing), and whether the connection may be used again."""
        delay = f"x-envoy-fault-delay-request: {slow}\r\n" if slow else ""
        self._writer.write(f"GET / HTTP/1.1\r\nhost: {self.target.host}\r\n{delay}\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = head.split(" ", 2)[1]
        length = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")), 0)
        body = await self._reader.readexactly(length)
        said = "" if status == "200" else f"{status} {body.decode(errors='replace')}"
        return said, "\r\nconnection: close" not in head

    def close(self) -> None:
        self._writer.close()
