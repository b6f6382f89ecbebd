"""The wiring: every table, index and derived collection, and which may read which. Data flows down this page, never up.

facts -> tables -> registry (one mesh) -> views (by standpoint) -> resources (bytes) -> manifests (what each proxy is sent)
"""

from collections.abc import Callable, Generator, Iterable
from typing import Any

import msgspec

from steersman.graph import Graph, NodeRef
from steersman.model.facts import Delete, Fact, Origin, Synced, Upsert
from steersman.model.objects import Kind
from steersman.registry.collections import INDEXES, TABLES

Absorb = Callable[[tuple[NodeRef, ...]], None]

Cause = tuple[Kind, Any]
"""A fact that changed something: its kind and key. Its origin is in `Pipeline.origins`."""


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """A complete state. `changed`: the demanded values that are new or different. `causes`: the facts taken together, each once, with
    their origins as of then (None for one that was deleted). `computed`: how many values it took."""

    number: int
    causes: tuple[tuple[Cause, Origin | None], ...]
    changed: tuple[NodeRef, ...]
    computed: int


class Pipeline:
    """The graph, wired, and what stands beside it: where each object came from, which only explain and history read."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.origins: dict[Cause, Origin] = {}
        self.synced: frozenset[str] = frozenset()
        self.generation = 0
        self._causes: dict[Cause, None] = {}
        wire_inputs(self.graph)
        wire_registry(self.graph)
        wire_views(self.graph)
        wire_resources(self.graph)

    def apply(self, facts: Iterable[Fact]) -> None:
        """Writes facts; the next settlement takes them together. Not while one runs."""
        for fact in facts:
            match fact:
                case Upsert():
                    cause = (fact.kind, fact.key)
                    if self.graph.put(TABLES[fact.kind], fact.key, fact.value):
                        self._causes[cause] = None
                    self.origins[cause] = fact.origin
                case Delete():
                    cause = (fact.kind, fact.key)
                    if self.graph.delete(TABLES[fact.kind], fact.key):
                        self._causes[cause] = None
                    self.origins.pop(cause, None)
                case Synced():
                    self.synced |= {fact.source}

    def settling(self, absorb: Absorb | None = None) -> Generator[None, None, Generation]:
        """Settles in steps (see Graph.settling) into the next generation.

        After each pass `absorb` is told what changed and may demand what has thereby turned out to be needed; passes go on until nothing waits,
        so that a generation never names a resource that it does not hold.
        """
        changed: dict[NodeRef, None] = {}
        computed = 0
        while True:
            settled = yield from self.graph.settling()
            computed += settled.computed
            changed.update(dict.fromkeys(settled.changed))
            if absorb is not None:
                absorb(settled.changed)
            if self.graph.settled:
                break
        self.generation += 1
        causes = tuple((cause, self.origins.get(cause)) for cause in self._causes)
        self._causes.clear()
        return Generation(number=self.generation, causes=causes, changed=tuple(changed), computed=computed)

    def settle(self, absorb: Absorb | None = None) -> Generation:
        """Settles in one go."""
        run = self.settling(absorb)
        while True:
            try:
                next(run)
            except StopIteration as end:
                generation: Generation = end.value
                return generation


def wire_inputs(graph: Graph) -> None:
    """sources -> tables -> indexes"""
    for table in TABLES.values():
        graph.table(table)
    for index in INDEXES:
        graph.index(index)


def wire_registry(graph: Graph) -> None:
    """tables, indexes -> one mesh"""


def wire_views(graph: Graph) -> None:
    """mesh x standpoint -> what is seen"""


def wire_resources(graph: Graph) -> None:
    """what is seen -> bytes -> manifests"""
