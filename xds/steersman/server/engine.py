"""The engine's room: the one task that owns the pipeline and the tables.

    sources --facts--.
    streams --needs--+--> inbox --> settle in steps --> publish --> streams
    questions -------'                                        '--> wants --> sources

Nothing waits for a fixed time: the first thing after a quiet time settles at once, and what arrives while a settlement runs waits for the
next one, all of it together.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import chain
from typing import Protocol, TypeVar

from steersman.admin.counters import Counters
from steersman.ads.messages import Nacked
from steersman.graph import Reader
from steersman.model.facts import Delete, Fact, LeafKey, Origin, Upsert
from steersman.model.objects import Kind
from steersman.model.proxy import Proxy
from steersman.names import CDS
from steersman.pipeline import Pipeline
from steersman.registry.collections import LEAVES, RESOLVED
from steersman.server.connection import Connection
from steersman.server.refusals import Refusals
from steersman.snapshot.cache import Names, Place, Published, SnapshotCache
from steersman.snapshot.table import LayeredTable

log = logging.getLogger("steersman.engine")

T = TypeVar("T")

STEP = 0.005
"""Seconds of the event loop that a turn takes at a stretch. With what else there is in a round of the loop (a stream puts its response
together, the collector looks at what is young) that makes less than 20 ms."""
_LONG = 20
"""Stretches of a settlement that is uncommonly large."""
_ROUNDS = 4
"""Rounds of the loop between two stretches. A question over HTTP takes that many; with one, each would wait for a stretch."""


class Wants(Protocol):
    """Whoever performs what the pipeline needs from outside. Told whenever the set changed, always the whole set."""

    def want_leaves(self, leaves: frozenset[LeafKey]) -> None: ...

    def want_names(self, names: frozenset[str]) -> None: ...


class Standing:
    """A stream's place in the mesh, as its connection holds it (see server.connection.Standing)."""

    def __init__(self, engine: "Engine", place: Place) -> None:
        self._engine = engine
        self.place = place

    @property
    def tables(self) -> Mapping[str, LayeredTable]:
        return self.place.tables

    def hold(self, type_url: str, names: Names, named: frozenset[str]) -> None:
        """Needs exactly these names of that type from now on; what they hold arrives as changes."""
        self._engine.enter(lambda: self._engine.cache.hold(self.place, type_url, names, named))

    def clusters_elsewhere(self) -> bool:
        """Whether the proxy takes its clusters over a stream of their own."""
        return any(connection.takes(CDS) for connection in self._engine.connections_of(self.place.node_id))

    def warm(self, clusters: Sequence[str]) -> None:
        """The proxy was sent these clusters: its other streams are told."""
        self._engine.warm(self.place, clusters)

    def release(self) -> None:
        """The stream has ended."""
        self._engine.enter(lambda: self._engine.detach(self.place))


class _Stream:
    """A connected stream, from its joining on."""

    __slots__ = ("connection", "proxy")

    def __init__(self, connection: Connection, proxy: Proxy) -> None:
        self.connection = connection
        self.proxy = proxy


class Engine:
    """Everything enters by `submit`, `enter`, `attach` or `ask`, and takes effect with the next generation.

    `ready` is set from outside, once the sources have told what they had: until then streams wait.
    """

    def __init__(self, pipeline: Pipeline, wants: Wants, counters: Counters) -> None:
        self.pipeline = pipeline
        self.cache = SnapshotCache(pipeline.graph)
        self.ready = asyncio.Event()
        self.refusals = Refusals(self.ask, pipeline)
        self._wants = wants
        self._counters = counters
        self._inbox: list[Callable[[], None] | Sequence[Fact]] = []
        self._questions: list[Callable[[], None]] = []
        self._arrived = asyncio.Event()
        self._streams: dict[Place, _Stream] = {}
        self._of_node: dict[str, list[Place]] = {}
        self._joining: list[tuple[Place, asyncio.Future[Standing]]] = []

    # -- in -------------------------------------------------------------------------------------------------------------------

    def submit(self, facts: Sequence[Fact]) -> None:
        """Facts, taken together in one generation."""
        self._inbox.append(facts)
        self._arrived.set()

    def enter(self, change: Callable[[], None]) -> None:
        """A change of needs, made between settlements."""
        self._inbox.append(change)
        self._arrived.set()

    async def ask(self, question: Callable[[Reader], T]) -> T:
        """Puts a question to the settled pipeline. What it has to compute for the answer is not kept."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def put() -> None:
            if answer.done():
                return
            try:
                answer.set_result(question(self.pipeline.graph.ask))
            except Exception as error:  # noqa: BLE001 - it is the asker's, and is raised there
                answer.set_exception(error)

        self._questions.append(put)
        self._arrived.set()
        return await answer

    async def attach(self, proxy: Proxy, connection: Connection) -> Standing:
        """A proxy's stream begins: waits until the mesh is known, then until the proxy's tables are.

        Raises ComputeFailed where those can't be computed: a bug, which costs this proxy.
        """
        await self.ready.wait()
        joined: asyncio.Future[Standing] = asyncio.get_running_loop().create_future()
        self.enter(lambda: self._join(_Stream(connection, proxy), joined))
        try:
            return await joined
        except asyncio.CancelledError:
            if joined.done() and not joined.cancelled() and joined.exception() is None:
                joined.result().release()
            raise

    def refused(self, proxy: Proxy, peer: str, nacked: Nacked) -> None:
        """A client refused something."""
        self.refusals.note(proxy.id, peer, nacked)

    def _join(self, stream: _Stream, joined: "asyncio.Future[Standing]") -> None:
        if joined.done():
            return
        place = self.cache.join(stream.proxy.id)
        self._streams[place] = stream
        self._of_node.setdefault(stream.proxy.id, []).append(place)
        self._joining.append((place, joined))
        self._tell_proxy(stream)

    def detach(self, place: Place) -> None:
        """A stream has ended. Where a proxy has several (an old half-open one, say), the youngest that is left describes it."""
        self.cache.leave(place)
        del self._streams[place]
        places = self._of_node[place.node_id]
        places.remove(place)
        if places:
            self._tell_proxy(self._streams[places[-1]])
        else:
            del self._of_node[place.node_id]
            self.pipeline.apply([Delete(kind=Kind.PROXY, key=place.node_id)])

    def warm(self, place: Place, clusters: Sequence[str]) -> None:
        """The stream that stands here has sent its proxy these clusters. Of that stream itself nothing follows."""
        for connection in self.connections_of(place.node_id):
            connection.warm(clusters)

    def connections_of(self, node_id: str) -> Sequence[Connection]:
        """Of the streams of one proxy, in the order in which they joined."""
        return [self._streams[place].connection for place in self._of_node.get(node_id, ())]

    def _tell_proxy(self, stream: _Stream) -> None:
        origin = Origin(source="proxy", place=stream.connection.peer, seen=time.time())
        self.pipeline.apply([Upsert(kind=Kind.PROXY, key=stream.proxy.id, value=stream.proxy, origin=origin)])

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Of all streams that stand somewhere, in the order in which they joined."""
        return tuple(stream.connection for stream in self._streams.values())

    # -- turning --------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Turns for ever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await self._turn()

    async def _turn(self) -> None:
        """One generation: takes in all that waits, settles, publishes, answers."""
        loop = asyncio.get_running_loop()
        inbox, self._inbox = self._inbox, []
        if inbox:
            started = loop.time()
            published = await self._settled(inbox)
            self._counters.settling.observe(loop.time() - started)
            self._count(published)
            told = self._tell(published)
            self._answer()
            await self._wake(told)
        self._answer()

    def _answer(self) -> None:
        questions, self._questions = self._questions, []
        for put in questions:
            put()

    async def _settled(self, inbox: list[Callable[[], None] | Sequence[Fact]]) -> Published:
        stretch = _Stretch()
        try:
            await stretch.through(self._taking_in(inbox))
            generation = await stretch.through(self.pipeline.settling(self.cache.absorb))
            drafts = await stretch.through(self.cache.drafting())
            if drafts.large:
                await stretch.end()  # to move many and to tell of them takes a stretch
            return self.cache.enter(generation, drafts)
        finally:
            stretch.last()

    def _taking_in(self, inbox: list[Callable[[], None] | Sequence[Fact]]) -> Generator[None, None, None]:
        """Step by step: thousands of streams may leave at once."""
        for entry in inbox:
            if callable(entry):
                entry()
                yield
            else:
                for fact in entry:
                    self.pipeline.apply((fact,))
                    yield

    def _count(self, published: Published) -> None:
        counters, generation = self._counters, published.generation
        counters.generations += 1
        counters.computed += generation.computed
        counters.failures += len(published.failed)
        for kind, causes in generation.causes.items():
            deleted = sum([origin is None for origin in causes.values()])
            for event, count in (("upsert", len(causes) - deleted), ("delete", deleted)):
                if count:
                    counters.facts[kind, event] += count

    def _tell(self, published: Published) -> list[Connection]:
        """Tells the streams what became of their tables, before anything else can look at those. Returns whom it told; they don't write
        yet."""
        origins = chain.from_iterable([causes.values() for causes in published.generation.causes.values()])
        since = min([origin.seen for origin in origins if origin is not None and origin.seen], default=None)
        connections: dict[Connection, None] = {}
        for told in published.changes:
            connection = self._streams[told.place].connection
            connections[connection] = None
            if told.changes:
                connection.changed(told.type_url, told.changes, since)
            if told.moved:
                connection.retabled(told.type_url, told.place.tables[told.type_url])
        joining, self._joining = self._joining, []
        for place, joined in joining:
            if place.failure is None and not joined.cancelled():
                joined.set_result(Standing(self, place))
                continue
            self.enter(lambda gone=place: self.detach(gone))  # type: ignore[misc]
            if place.failure is not None and not joined.cancelled():
                joined.set_exception(place.failure)
        for failure in published.failed:
            log.error("a value could not be computed; what was sent of it before stays: %s", failure, exc_info=failure.__cause__)
        if self.pipeline.graph.take_wants_changed():
            self._wants.want_leaves(self.pipeline.graph.wanted(LEAVES))
            self._wants.want_names(self.pipeline.graph.wanted(RESOLVED))
        return list(connections)

    async def _wake(self, connections: list[Connection]) -> None:
        """Lets streams write, as many in a round of the loop as are done in about a step: all at once they would hold it for as long as
        they take together."""
        loop = asyncio.get_running_loop()
        first, at_once = 0, 1
        await asyncio.sleep(0)
        while first < len(connections):
            began = loop.time()
            for connection in connections[first : first + at_once]:
                connection.wake()
            first += at_once
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # a large response takes two rounds
            took = loop.time() - began
            if took > STEP / 2:
                at_once = max(1, at_once // 2)
            elif took < STEP / 4:
                at_once *= 2


class _Stretch:
    """How long the loop is held at a stretch. A settlement of very many makes objects by the ten thousand, which stay: the collector would
    hold the loop for 20 ms and more to look at them, and is kept from it. Otherwise it looks at what was made in each stretch at its end:
    by itself it waits until more was made than went, and in a mesh that changes as much goes as is made, so that it came to look at what
    was made in several seconds, for 100 ms."""

    __slots__ = ("_count", "_loop", "_uncollected", "_until")

    def __init__(self) -> None:
        self._count = 0
        self._uncollected = False
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + STEP

    async def end(self) -> None:
        """Gives way, and begins the next."""
        self._count += 1
        if self._count == _LONG and gc.isenabled():
            gc.disable()
            self._uncollected = True
        _look_at_young()
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
        self._until = self._loop.time() + STEP

    def last(self) -> None:
        """There are no more."""
        if self._uncollected:
            gc.freeze()
            gc.enable()
        else:
            _look_at_young()

    async def through(self, steps: Generator[None, None, T]) -> T:
        """Takes these steps, and gives way as often as it must; what they return. Nothing is awaited after the last of them."""
        time = self._loop.time
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            if time() >= self._until:
                await self.end()


def _look_at_young() -> None:
    if gc.isenabled():
        gc.collect(0)
