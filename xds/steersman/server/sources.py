"""The sources of a running server: supervised, waited for up to their time-outs, and shown.

source --facts--> noted here (synced?) --> engine
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from steersman.admin.counters import Counters
from steersman.admin.state import CLUSTER_KINDS, SourceState, SourceStatus
from steersman.errors import SteersmanError
from steersman.model.clusters import ClusterHealth, ClusterState
from steersman.model.facts import Delete, Fact, Origin, Synced, Upsert
from steersman.model.objects import Kind
from steersman.pipeline import Cause
from steersman.server.engine import Engine
from steersman.sources.kube.state import ClusterStatus

log = logging.getLogger("steersman.sources")

Emit = Callable[[Sequence[Fact]], None]
Run = Callable[[Emit], Awaitable[None]]

_DEAD = 4.0
"""Seconds for which a cluster is waited for that can't be reached, where another is there."""

_LOOK = 0.5
"""Seconds between looks at how long a source is waited for: that a warm file was of no use is told by no fact."""

_AT_ONCE = 5_000
"""How many objects are looked through at a stretch: about 2 ms."""

_RETRY_FIRST = 0.5
_RETRY_LAST = 30.0
"""Seconds between tries of a source that has failed: doubled each time from the first to the last, each shortened by up to a half."""


class Source:
    """How one source stands.

    `timeout`: seconds that readiness waits for it; None: it doesn't. `ignored`: counts objects that aren't used. `cluster`: how a cluster
    stands that is read from its API. `registered`: by what, for a cluster that the configuration doesn't have. `known`: it has told all
    that it had once, or was waited for long enough. `dead`: its API can't be reached, or takes us for nobody. `resync`: what it has told
    since it was started afresh; None once that is all.
    """

    __slots__ = ("cluster", "dead", "error", "ignored", "kind", "known", "name", "place", "registered", "resync", "state", "timeout")

    def __init__(
        self,
        name: str,
        kind: str,
        place: str,
        timeout: float | None,
        ignored: Callable[[], int] = int,
        cluster: Callable[[], ClusterStatus | None] = lambda: None,
        registered: str = "",
    ) -> None:
        self.name = name
        self.kind = kind
        self.place = place
        self.timeout = timeout
        self.ignored = ignored
        self.cluster = cluster
        self.registered = registered
        self.dead = False
        self.known = timeout is None
        self.state = SourceState.SYNCING if timeout is not None else SourceState.SYNCED
        self.error = ""
        self.resync: set[Cause] | None = None


class Sources:
    """All sources by name. What they emit goes through here to the engine."""

    def __init__(self, engine: Engine, counters: Counters) -> None:
        self._engine = engine
        self._counters = counters
        self._sources: dict[str, Source] = {}
        self._told = asyncio.Event()
        self._whole = asyncio.Event()

    def add(self, source: Source) -> None:
        self._sources[source.name] = source

    async def remove(self, name: str) -> None:
        """Takes back all that this source told; what fed it has ended."""
        del self._sources[name]
        self._told.set()
        now: asyncio.Future[list[tuple[Kind, list[tuple[Any, Origin]]]]] = asyncio.get_running_loop().create_future()
        # By way of the inbox: what it emitted last is in the pipeline by then.
        self._engine.enter(lambda: now.set_result(self._engine.pipeline.origins.all()))
        gone: list[Fact] = []
        for kind, held in await now:
            for start in range(0, len(held), _AT_ONCE):
                gone += [Delete(kind=kind, key=key) for key, origin in held[start : start + _AT_ONCE] if origin.source == name]
                await asyncio.sleep(0)
        self._engine.submit(gone)

    def state(self, name: str) -> SourceState:
        return self._sources[name].state

    def is_given_up(self, name: str) -> bool:
        """Whether it is not waited for, or can't run for now."""
        source = self._sources[name]
        return source.known or source.state is SourceState.FAILED

    def moved(self, name: str, place: str) -> None:
        """A registered cluster is registered by something else now."""
        source = self._sources[name]
        source.place = source.registered = place

    def afresh(self, name: str) -> None:
        """This source starts again: what it doesn't tell again until it is synced is gone."""
        self._sources[name].resync = set()

    def statuses(self) -> tuple[SourceStatus, ...]:
        """In the order of adding; those that the configuration doesn't have among the clusters."""
        held: Mapping[str, int] = self._engine.pipeline.held
        return tuple(
            SourceStatus(
                name=source.name,
                kind=source.kind,
                place=source.place,
                state=source.state,
                objects=held.get(source.name, 0),
                ignored=source.ignored(),
                error=source.error,
                cluster=source.cluster(),
                registered=source.registered,
            )
            for source in sorted(self._sources.values(), key=lambda one: one.kind not in CLUSTER_KINDS)
        )

    def waited_for(self) -> tuple[str, ...]:
        """Why the mesh isn't known yet, in sentences."""
        return tuple(
            f"{source.kind} source {source.name} ({source.place}) has not told everything yet; it is waited for {source.timeout:g} s"
            for source in self._sources.values()
            if not source.known
        )

    async def synced(self) -> None:
        """Returns when every source has told what it had, or was waited for as long as it may take; such a one is marked."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        while waiting := [source for source in self._sources.values() if not source.known]:
            for source in waiting:
                patience = self._patience(source)
                if loop.time() >= started + patience:
                    source.known = True
                    if source.state is SourceState.SYNCING:
                        source.state = SourceState.TIMED_OUT
                    log.warning("source %s (%s) is not waited for after %g s: served without it", source.name, source.place, patience)
            left = min(started + self._patience(source) - loop.time() for source in waiting)
            self._told.clear()
            try:
                async with asyncio.timeout(max(0.0, min(left, _LOOK))):
                    await self._told.wait()
            except TimeoutError:
                continue

    async def another(self) -> None:
        """Returns when one more source has told all that it had."""
        await self._whole.wait()
        self._whole.clear()

    def _patience(self, source: Source) -> float:
        """Seconds for which readiness waits for it. A cluster that is dead is no reason to keep those waiting that others are there for;
        where no other is, it might be all that the mesh has. One whose warm file is read, or will be, will have told in a moment."""
        assert source.timeout is not None
        cluster = source.cluster()
        if cluster is not None and cluster.reading:
            return source.timeout
        others = any(other.known for other in self._sources.values() if other.kind in CLUSTER_KINDS and other is not source)
        return min(source.timeout, _DEAD) if source.dead and others else source.timeout

    async def supervise(self, names: Sequence[str], run: Run) -> None:
        """Runs what feeds these sources for ever. What it raises costs these sources' changes until it is started afresh, nothing else."""
        wait = _RETRY_FIRST
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await run(self.emit)
                error = "it ended by itself"
            except SteersmanError as failure:
                error = str(failure)
                log.error("source %s failed: %s; what it told stays served, it is tried again", "/".join(names), failure)
            except Exception as failure:  # the loop that owns this radius: one source
                error = _described(failure)
                self._counters.internal_errors += 1
                log.exception("source %s failed; what it told stays served, it is started afresh", "/".join(names))
            for name in names:
                source = self._sources[name]
                source.state, source.error, source.resync = SourceState.FAILED, error, set()
            if asyncio.get_running_loop().time() - began > _RETRY_LAST:
                wait = _RETRY_FIRST
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(wait * 2, _RETRY_LAST)

    def emit(self, facts: Sequence[Fact]) -> None:
        """Takes a batch. After a restart, what a source does not tell again until it is synced is gone."""
        gone: list[Fact] = []
        source, name, state = None, "", Kind.CLUSTER_STATE
        for fact in facts:  # of a cluster that comes back a hundred thousand at once, in one go: little is done for each
            if isinstance(fact, Upsert):
                if fact.kind is state:
                    self._stands(self._sources[fact.key], fact.value)
                if fact.origin.source != name:
                    name = fact.origin.source
                    source = self._sources.get(name)
                if source is not None and source.resync is not None:
                    source.resync.add((fact.kind, fact.key))
            elif isinstance(fact, Synced):
                gone += self._synced(self._sources[fact.source])
        self._engine.submit([*facts, *gone] if gone else facts)

    def _stands(self, source: Source, health: ClusterHealth) -> None:
        """How a cluster's API does. What its warm file has is told together with all that it told itself: more is not waited for."""
        source.dead = health.state in (ClusterState.UNREACHABLE, ClusterState.UNAUTHORISED)
        if health.warm:
            source.known = True
            if source.state in (SourceState.SYNCING, SourceState.TIMED_OUT):
                source.state = SourceState.WARM
        self._told.set()

    def _synced(self, source: Source) -> list[Fact]:
        told, source.resync = source.resync, None
        source.known, source.state, source.error = True, SourceState.SYNCED, ""
        self._told.set()
        self._whole.set()
        if told is None:
            return []
        origins = self._engine.pipeline.origins
        return [Delete(kind=cause[0], key=cause[1]) for cause in origins.of(source.name) if cause not in told]


def _described(failure: Exception) -> str:
    """Of several that came together, the first."""
    while isinstance(failure, ExceptionGroup):
        failure = failure.exceptions[0]
    return f"{type(failure).__name__}: {failure}"
