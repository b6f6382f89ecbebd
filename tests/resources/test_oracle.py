"""The oracle: whatever happened, in whatever order and batches, every proxy is sent what a server that starts now would send it."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steersman.model.config import MeshConfig, MissingGateway, NetworkConfig, NetworkEndpoints, NetworkGatewayConfig, OutboundTrafficPolicy
from steersman.model.config import Passthrough as PassthroughBy
from steersman.model.facts import Delete, Leaf, LeafKey, Origin, Root, Upsert
from steersman.model.ids import ClusterID, NetworkID, SpiffeID
from steersman.model.objects import GatewayServer, Kind, Protocol, Row, ServiceType, SliceEndpoint, TLSMode
from steersman.names import NETWORK_LABEL
from steersman.pipeline import Pipeline
from steersman.snapshot.cache import Place, SnapshotCache
from tests.support.examples import examples
from tests.support.mesh import MTLS, V6, cluster, fact, gateway, gateway_service, namespace, node, pod, port, service, slice_of
from tests.support.served import MESSAGES, bound, router, sidecar

APP = {**MTLS, "app": "reviews"}
DB = port(3306, "tcp", Protocol.TCP, 3306)
SERVER = GatewayServer(port=15443, port_name="tls", protocol="TLS", hosts=("*.local",), tls_mode=TLSMode.AUTO_PASSTHROUGH)
PLAIN = GatewayServer(port=80, port_name="http", protocol="HTTP", hosts=("reviews.default.svc.cluster.local",))
WEST = NetworkConfig(
    name=NetworkID("network-west"),
    endpoints=(NetworkEndpoints(from_registry=ClusterID("west")), NetworkEndpoints(from_cidr="10.9.0.0/16")),
    gateways=(NetworkGatewayConfig(address="192.0.2.9"),),
    missing_gateway=MissingGateway.DIRECT,
)

ROWS: list[Sequence[Row]] = [
    [
        MeshConfig(),
        MeshConfig(missing_gateway=MissingGateway.DIRECT, passthrough=PassthroughBy.SNI_CLUSTER),
        MeshConfig(networks=(WEST,), outbound_traffic_policy=OutboundTrafficPolicy.REGISTRY_ONLY, trust_domain="example"),
    ],
    [cluster("east", "network-east"), cluster("east"), cluster("east", "network-west", "east.example")],
    [cluster("west", "network-west"), cluster("west")],
    [namespace("west", "istio-system"), namespace("west", "istio-system", **{NETWORK_LABEL: "network-north"})],
    [node("east", "n1", "r1", "z1"), node("east", "n1", "r2", "z2")],
    [
        service("east", "reviews", cluster_ips=("10.96.0.1",), selector={"app": "reviews"}),
        service("east", "reviews", ports=(port(), DB), cluster_ips=("10.96.0.1", "fd00::1"), created="2026-01-01T00:00:00Z"),
        service("east", "reviews", headless=True, ports=(DB,), export_to=(".",)),
        service("east", "reviews", type=ServiceType.EXTERNAL_NAME, external_name="example.com"),
        service("east", "reviews", cluster_ips=("10.96.0.1",), node_local=True),
    ],
    [
        service("west", "reviews", cluster_ips=("10.96.0.1",)),
        service("west", "reviews", cluster_ips=("10.96.0.2",), ports=(port(80, "grpc", Protocol.GRPC), DB)),
    ],
    [
        slice_of("east", "reviews", "10.0.0.1=r1", "10.0.0.2=r2", ports=(("http", 8080), ("tcp", 3306))),
        slice_of("east", "reviews", "10.0.0.1=r1", SliceEndpoint.of("10.0.0.2", pod="r2", ready=False)),
        slice_of("east", "reviews", "10.0.0.1"),
    ],
    [slice_of("east", "reviews", "fd00::a=r1", name="reviews-6", family=V6), slice_of("east", "reviews", "10.0.0.2=r1", name="reviews-6")],
    [
        slice_of("west", "reviews", "10.0.0.1=w1", "10.9.0.1=w2"),
        slice_of("west", "reviews", "10.0.0.1=w1", ports=(("grpc", 8080), ("tcp", 3306))),
    ],
    [
        pod("east", "r1", "10.0.0.1", "fd00::a", labels=APP, node="n1", service_account="reviews"),
        pod("east", "r1", "10.0.0.1", labels={**APP, NETWORK_LABEL: "network-west"}, service_account="other"),
        pod("east", "r1", "10.0.0.1", "fd00::a", labels={"app": "reviews"}, node="n1", ready=False),
    ],
    [pod("east", "r2", "10.0.0.2", labels=APP, node="n1"), pod("east", "r2", "10.0.0.2", labels={}, active=False)],
    [pod("west", "w1", "10.0.0.1"), pod("west", "w1", "10.0.0.1", labels={}, service_account="w")],
    [pod("east", "gw", "10.0.0.8", namespace="istio-system", labels={"istio": "eastwest"})],
    [
        gateway_service("east", "network-east", "192.0.2.1", selector={"istio": "eastwest"}),
        gateway_service("east", "network-east", "192.0.2.1", "192.0.2.11", number=443, labels={"networking.istio.io/gatewayPort": "443"}),
    ],
    [
        gateway_service("west", "network-west", "192.0.2.2", "192.0.2.3"),
        gateway_service("west", "network-west", "2001:db8::2", "gw.example"),
    ],
    [
        gateway("east", "gw", SERVER, selector={"istio": "eastwest"}),
        gateway("east", "gw", SERVER, PLAIN),
        gateway("east", "gw", PLAIN),
    ],
    [
        sidecar(),
        sidecar(network=NetworkID("network-west")),
        sidecar(network_view=(NetworkID("network-east"),)),
        sidecar(on_demand_clusters=True),
    ],
    [bound("10.0.0.1", name="r1", outbound_address="127.0.0.7"), bound("10.0.0.1", name="r1", unprivileged_ports=True)],
    [router(labels=(("istio", "eastwest"),)), router()],
    [sidecar("10.0.0.7", name="grpc", generator="grpc")],
]
"""Each entry: what may stand under one key."""

Event = Upsert | Delete
ORIGIN = Origin(source="test")
EVENTS: list[Upsert] = [fact(row) for rows in ROWS for row in rows]
EVENTS += [
    Upsert(kind=Kind.ROOT, key="", value=Root(bundle=b"roots"), origin=ORIGIN),
    Upsert(
        kind=Kind.LEAF,
        key=LeafKey(ClusterID("east"), SpiffeID("spiffe://cluster.local/ns/default/sa/default")),
        value=Leaf(chain=b"chain", key=b"key"),
        origin=ORIGIN,
    ),
]
SIGNED = (Kind.LEAF, Kind.ROOT)
"""Once there, never withdrawn, only replaced: a proxy keeps the certificate that it has."""
DELETES: list[Event] = [
    Delete(kind=kind, key=key) for kind, key in dict.fromkeys((event.kind, event.key) for event in EVENTS) if kind not in SIGNED
]
PROXIES = {event.key for event in EVENTS if event.kind is Kind.PROXY}

Sent = dict[str, dict[str, dict[str, tuple[str, bytes]]]]
"""By node id, type URL and name."""


class Server:
    """A pipeline and the cache above it, with a stream of each proxy that asks for all there is."""

    def __init__(self) -> None:
        self.pipeline = Pipeline()
        self.cache = SnapshotCache(self.pipeline.graph)
        self.places: dict[str, Place] = {}

    def take(self, facts: Sequence[Event]) -> None:
        """A batch of facts. A proxy has a stream for as long as it is a fact."""
        self.pipeline.apply(facts)
        for one in facts:
            if one.kind is Kind.PROXY:
                self._stream(one)
        published = self.cache.publish(self.pipeline.settle(self.cache.absorb))
        assert published.failed == ()

    def _stream(self, one: Any) -> None:
        if isinstance(one, Delete):
            if one.key in self.places:
                self.cache.leave(self.places.pop(one.key))
        elif one.key not in self.places:
            place = self.places[one.key] = self.cache.join(one.key)
            for type_url in MESSAGES:
                self.cache.hold(place, type_url, None)

    def sent(self) -> Sent:
        return {
            node_id: {
                type_url: {resource.name: (resource.version, resource.body) for resource in table.content()}
                for type_url, table in place.tables.items()
            }
            for node_id, place in self.places.items()
        }


def final(batches: Sequence[Sequence[Event]]) -> Iterator[Event]:
    """What stands in the end."""
    held: dict[Any, Event] = {}
    for batch in batches:
        for one in batch:
            held.pop((one.kind, one.key), None)
            if isinstance(one, Upsert):
                held[one.kind, one.key] = one
    yield from held.values()


def built_at_once(facts: Sequence[Event]) -> Sent:
    server = Server()
    server.take(facts)
    return server.sent()


BATCHES = st.lists(st.lists(st.one_of(st.sampled_from(EVENTS), st.sampled_from(DELETES)), min_size=1, max_size=8), min_size=1, max_size=8)
BASE: list[Event] = [fact(rows[0]) for rows in ROWS]


@settings(deadline=None, max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow])
@given(BATCHES, st.randoms(use_true_random=False))
def test_any_history_ends_in_the_bytes_of_a_fresh_start(batches: list[list[Event]], shuffled: Any) -> None:
    history: list[Sequence[Event]] = [BASE, *batches]
    server = Server()
    for batch in history:
        server.take(batch)
    end = list(final(history))
    shuffled.shuffle(end)
    assert server.sent() == built_at_once(end)


@settings(deadline=None, max_examples=examples(30), suppress_health_check=[HealthCheck.too_slow])
@given(BATCHES)
def test_what_happened_and_was_undone_has_not_happened(batches: list[list[Event]]) -> None:
    server = Server()
    server.take([*BASE, *(event for event in EVENTS if event.kind in SIGNED)])
    before, held = server.sent(), server.pipeline.graph.size
    for batch in batches:
        server.take(batch)
    server.take([*DELETES, *BASE])
    assert server.sent() == before
    assert server.pipeline.graph.size == held


@pytest.mark.parametrize("rows", ROWS, ids=lambda rows: f"{type(rows[0]).__name__} {getattr(rows[0], 'key', '')}")
def test_each_change_of_one_object_by_itself_is_followed(rows: Sequence[Row]) -> None:
    """The same for every single step, so that a failure names its object."""
    server = Server()
    server.take(BASE)
    kept = [event for event in BASE if event.key != fact(rows[0]).key or event.kind is not fact(rows[0]).kind]
    for row in (*rows[1:], rows[0]):
        server.take([fact(row)])
        assert server.sent() == built_at_once([*kept, fact(row)])
    server.take([Delete(kind=fact(rows[0]).kind, key=fact(rows[0]).key)])
    assert server.sent() == built_at_once(kept)


def test_everybody_was_asked() -> None:
    sent = built_at_once(BASE)
    assert set(sent) == PROXIES
    for tables in sent.values():
        assert all(name for table in tables.values() for name in table)
        assert any("reviews" in name for table in tables.values() for name in table)
