"""A listener to a source: what stands after all that it emitted, and a way to wait for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from steersman.model.facts import Delete, Fact, Finding, Origin, Synced, Upsert
from steersman.model.objects import Kind


class Listener:
    """`batches`: as emitted. `values` and `origins`: by (kind, key). `synced`: sources, in order."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Fact]] = []
        self.values: dict[tuple[Kind, Any], Any] = {}
        self.origins: dict[tuple[Kind, Any], Origin] = {}
        self.synced: list[str] = []
        self._heard = asyncio.Event()

    def emit(self, facts: Sequence[Fact]) -> None:
        assert facts, "an empty batch says nothing"
        self.batches.append(facts)
        self.apply(facts)
        self._heard.set()

    def apply(self, facts: Iterable[Fact]) -> None:
        for fact in facts:
            match fact:
                case Upsert():
                    self.values[fact.kind, fact.key] = fact.value
                    self.origins[fact.kind, fact.key] = fact.origin
                case Delete():
                    del self.values[fact.kind, fact.key]  # KeyError: nothing stood there, so nothing was to be told
                    del self.origins[fact.kind, fact.key]
                case Synced():
                    assert fact.source not in self.synced
                    self.synced.append(fact.source)

    async def until(self, what: Callable[[], object], timeout: float = 8.0) -> None:
        """Waits for the condition to hold, after any batch."""
        async with asyncio.timeout(timeout):
            while not what():
                await self.next(timeout)

    async def next(self, timeout: float = 8.0) -> None:
        """Waits for a batch."""
        async with asyncio.timeout(timeout):
            self._heard.clear()
            await self._heard.wait()

    async def quiet(self, seconds: float = 0.3) -> list[Sequence[Fact]]:
        """The batches that come while nothing should."""
        before = len(self.batches)
        await asyncio.sleep(seconds)
        return self.batches[before:]

    def names(self, kind: Kind) -> list[str]:
        """Names of the objects of a kind, sorted."""
        return sorted(key.name for of, key in self.values if of is kind)

    def findings(self) -> list[Finding]:
        return sorted(
            (value for (kind, _), value in self.values.items() if kind is Kind.FINDING), key=lambda finding: (finding.place, finding.id)
        )

    def finding_ids(self) -> list[str]:
        return sorted(finding.id for finding in self.findings())


async def polled(what: Callable[[], object]) -> None:
    """Waits for what no fact tells."""
    for _ in range(400):
        if what():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it is not so")


@asynccontextmanager
async def running(source: Callable[[Callable[[Sequence[Fact]], None]], Coroutine[Any, Any, None]]) -> AsyncIterator[Listener]:
    """A listener to a source that runs meanwhile; an error of the source ends the test."""
    listener = Listener()
    task = asyncio.create_task(source(listener.emit))
    try:
        yield listener
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is not None:
            raise task.exception() or AssertionError
