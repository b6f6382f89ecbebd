"""The oracle: any history of any mesh, in any batches, leaves every value of the graph as a fresh build of the final facts makes it.

Every collection is held to it, those to come as well: all that connected proxies are sent is demanded, and all that this reads is compared.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steersman.explain.explain import explain
from steersman.graph import ComputeFailed
from steersman.model.facts import Upsert
from steersman.model.objects import Kind
from steersman.names import SHORT_TYPES
from steersman.pipeline import Pipeline
from steersman.registry.collections import MESH_SERVICES, PROXIES, SERVICE_KEYS
from steersman.snapshot.cache import Place, SnapshotCache
from steersman.views.collections import STANDPOINTS
from tests.support.examples import examples
from tests.support.strategies import BEGINNING, Event, final, histories

Values = dict[tuple[str, Any], Any]
FOR_HISTORIES = settings(deadline=None, max_examples=examples(30), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


class Server:
    """What a server is without its sockets: every proxy that is a fact has a stream that asks for all there is."""

    def __init__(self) -> None:
        self.pipeline = Pipeline()
        self.cache = SnapshotCache(self.pipeline.graph)
        self.places: dict[str, Place] = {}

    def take(self, batch: Iterable[Event]) -> None:
        facts = list(batch)
        self.pipeline.apply(facts)
        connected = self.pipeline.graph.rows(PROXIES)
        for gone in [node_id for node_id in self.places if node_id not in connected]:
            self.cache.leave(self.places.pop(gone))
        for node_id in connected:
            if node_id not in self.places:
                place = self.places[node_id] = self.cache.join(node_id)
                for type_url in SHORT_TYPES.values():
                    self.cache.hold(place, type_url, None)
        self._settle()

    def _settle(self) -> None:
        assert self.cache.publish(self.pipeline.settle(self.cache.absorb)).failed == ()

    def values(self) -> Values:
        """Every value that is held, by collection and key: what is demanded, and all that it was computed from."""
        self._settle()  # what publishing the last generation made superfluous goes with the next
        return {(plan.collection.name, key): node.value for plan in self.pipeline.graph._plans.values() for key, node in plan.nodes.items()}


def built_at_once(facts: Sequence[Upsert]) -> Server:
    server = Server()
    server.take(facts)
    return server


@FOR_HISTORIES
@given(histories(), st.randoms(use_true_random=False))
def test_any_history_leaves_the_values_of_a_fresh_build(batches: list[list[Event]], shuffled: random.Random) -> None:
    server = Server()
    for batch in (BEGINNING, *batches):
        server.take(batch)
    end = final(batches)
    shuffled.shuffle(end)
    found, wanted = server.values(), built_at_once(end).values()
    assert found.keys() == wanted.keys()
    assert {key: value for key, value in found.items() if value != wanted[key]} == {}


@FOR_HISTORIES
@given(histories())
def test_no_value_fails_and_every_answer_can_be_explained(batches: list[list[Event]]) -> None:
    server = built_at_once(final(batches))
    graph = server.pipeline.graph
    assert [value for value in server.values().values() if isinstance(value, ComputeFailed)] == []
    for proxy in graph.rows(PROXIES):
        assert graph.ask(STANDPOINTS, proxy) is not None
        for service in graph.ask(SERVICE_KEYS, ""):
            explained = explain(graph.ask, proxy, service, origins=server.pipeline.origins, inputs_of=graph.inputs_of)
            mesh_service = graph.ask(MESH_SERVICES, service)
            assert mesh_service is not None
            assert {one.port for one in explained.ports} == {port.port for port in mesh_service.ports}
    assert graph.settled


def test_the_oracle_looks_at_every_layer() -> None:
    """A generator that no longer reached something would prove nothing about it."""
    reached: set[str] = set()
    kinds: set[Kind] = set()

    @settings(deadline=None, max_examples=40, database=None, derandomize=True)
    @given(histories())
    def look(batches: list[list[Event]]) -> None:
        server = built_at_once(final(batches))
        kinds.update(one.kind for batch in batches for one in batch)
        reached.update(name for (name, _), value in server.values().items() if value)

    look()
    graph = Pipeline().graph
    assert {plan.collection.name for plan in graph._plans.values()} - reached == {
        "seen",  # asked by explain, and worked out in the assignments
        "findings",
        "held_removals",  # read by explain alone
        "leaves",
        "roots",
        "root_secrets",
        "leaf_secrets",
    }
    assert set(Kind) - kinds == {Kind.FINDING, Kind.HELD_REMOVAL, Kind.LEAF, Kind.ROOT}
