"""Random meshes: objects from pools so small that they meet, in any order, with anything in them that decides something."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from steersman.model.clusters import ClusterState, OutagePolicy
from steersman.model.config import MeshConfig, MissingGateway, NetworkConfig, NetworkEndpoints, NetworkGatewayConfig
from steersman.model.facts import Delete, Origin, Resolved, Upsert
from steersman.model.ids import ClusterID, NetworkID, labels_of
from steersman.model.objects import EndpointSlice, GatewayServer, Kind, Protocol, Row, ServiceType, SliceEndpoint, TLSMode
from steersman.model.proxy import Proxy
from steersman.names import GATEWAY_PORT_LABEL, NETWORK_LABEL, SESSION_LABEL
from tests.support.mesh import MTLS, V4, V6, cluster, fact, gateway, gateway_service, namespace, node, outage, pod, port, service, slice_of
from tests.support.served import bound, router, sidecar

CLUSTERS = ["east", "west", "south"]
NETWORKS = ["net-1", "net-2", "net-3"]
SERVICES = [("reviews", "default"), ("ratings", "default"), ("dns", "kube-system")]
PODS = ["p1", "p2", "p3", "p4"]
ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.1.0.1", "fd00::1", "192.0.2.1", "239.0.0.1"]
GATEWAYS = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "gw.example", "10.0.0.3"]
TIMES = ["", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]
PORTS = [
    (port(80, "http"),),
    (port(80, "web", target="web"), port(81, "tcp", Protocol.TCP)),
    (port(80, "tcp", Protocol.TCP), port(53, "dns", Protocol.UDP), port(53, "dns-tcp", Protocol.TCP)),
    (),
]

cluster_names = st.sampled_from(CLUSTERS)
networks = st.sampled_from(["", *NETWORKS])
times = st.sampled_from(TIMES)


def _subset(pool: Sequence[Any], max_size: int | None = None) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(pool), unique=True, max_size=max_size).map(tuple)


@st.composite
def services(draw: st.DrawFn) -> Row:
    name, in_namespace = draw(st.sampled_from(SERVICES))
    kind = draw(st.sampled_from([*[ServiceType.CLUSTER_IP] * 4, ServiceType.EXTERNAL_NAME]))
    return service(
        draw(cluster_names),
        name,
        namespace=in_namespace,
        created=draw(times),
        type=kind,
        external_name="example.com" if kind is ServiceType.EXTERNAL_NAME else "",
        ports=draw(st.sampled_from(PORTS)),
        cluster_ips=draw(_subset(["10.96.0.1", "10.96.0.2", "fd00:96::1"], max_size=2)),
        headless=draw(st.booleans()),
        families=draw(st.sampled_from([(), (V4,), (V6, V4), (V4, V6)])),
        selector=draw(st.sampled_from([None, {"app": "a"}, {"app": "a", "v": "1"}])),
        labels=draw(st.sampled_from([{}, {SESSION_LABEL: "cookie"}])),
        export_to=draw(st.sampled_from([(), (), ("default",), ("~",)])),
        node_local=draw(st.sampled_from([False, False, True])),
        publish_not_ready=draw(st.sampled_from([False, False, True])),
    )


@st.composite
def gateway_services(draw: st.DrawFn) -> Row:
    return gateway_service(
        draw(cluster_names),
        draw(st.sampled_from(NETWORKS)),
        *draw(_subset(GATEWAYS, max_size=3)),
        name=draw(st.sampled_from(["eastwest", "other"])),
        created=draw(times),
        type=draw(st.sampled_from([ServiceType.LOAD_BALANCER, ServiceType.LOAD_BALANCER, ServiceType.NODE_PORT])),
        labels=draw(st.sampled_from([{}, {}, {GATEWAY_PORT_LABEL: "443"}, {GATEWAY_PORT_LABEL: "x"}])),
        selector={"istio": "eastwest"},
    )


slice_entries = st.builds(
    SliceEndpoint.of,
    address=st.sampled_from(ADDRESSES),
    ready=st.sampled_from([True, True, True, False]),
    serving=st.booleans(),
    terminating=st.booleans(),
    node=st.sampled_from(["", "n1", "n2"]),
    zone=st.sampled_from(["", "z9"]),
    pod=st.sampled_from(["", *PODS, *PODS]),
)


@st.composite
def slices(draw: st.DrawFn) -> EndpointSlice:
    of, in_namespace = draw(st.sampled_from(SERVICES))
    return slice_of(
        draw(cluster_names),
        of,
        *draw(st.lists(slice_entries, max_size=5)),
        name=draw(st.sampled_from([f"{of}-1", f"{of}-2", f"{of}-6"])),
        namespace=in_namespace,
        ports=draw(st.sampled_from([[("http", 8080), ("tcp", 3306)], [("web", 8081)], [("", None)], []])),
        family=draw(st.sampled_from([V4, V4, V6])),
        created=draw(times),
    )


@st.composite
def pods(draw: st.DrawFn) -> Row:
    labels = {"app": "a", "v": draw(st.sampled_from("12")), **draw(st.sampled_from([{}, MTLS, MTLS]))}
    if network := draw(st.sampled_from(["", "", *NETWORKS])):
        labels[NETWORK_LABEL] = network
    return pod(
        draw(cluster_names),
        draw(st.sampled_from(PODS)),
        *draw(_subset(ADDRESSES[:5], max_size=2)),
        namespace=draw(st.sampled_from(["default", "default", "kube-system"])),
        labels=labels,
        created=draw(times),
        node=draw(st.sampled_from(["", "n1", "n2"])),
        locality_label=draw(st.sampled_from(["", "", "r9/z9"])),
        service_account=draw(st.sampled_from(["default", "bob"])),
        ports=draw(st.sampled_from([(), (("web", 8081),)])),
        ready=draw(st.booleans()),
        active=draw(st.sampled_from([True, True, True, False])),
    )


nodes = st.builds(
    lambda where, name, region, zone, addresses: node(where, name, region, zone, addresses=addresses),
    cluster_names,
    st.sampled_from(["n1", "n2"]),
    st.sampled_from(["", "r1", "r2"]),
    st.sampled_from(["", "z1", "z2"]),
    _subset(["192.0.2.30", "192.0.2.31"]),
)
namespaces = st.builds(lambda where, network: namespace(where, "istio-system", **{NETWORK_LABEL: network}), cluster_names, networks)
cluster_configs = st.builds(cluster, cluster_names, networks, st.sampled_from(["", "own.example"]))

_gateway_configs = st.sampled_from(
    [
        NetworkGatewayConfig(address="192.0.2.9"),
        NetworkGatewayConfig(address="gw.example"),
        NetworkGatewayConfig(registry_service_name="other.istio-system.svc.cluster.local"),
    ]
)
network_configs = st.builds(
    lambda name, claims, gateways, missing: NetworkConfig(name=name, endpoints=claims, gateways=gateways, missing_gateway=missing),
    st.sampled_from([NetworkID(name) for name in NETWORKS]),
    _subset([NetworkEndpoints(from_registry=ClusterID("south")), NetworkEndpoints(from_cidr="10.1.0.0/16")]),
    st.lists(_gateway_configs, max_size=2).map(tuple),
    st.sampled_from([None, *MissingGateway]),
)
mesh_configs = st.builds(
    lambda networks, missing: MeshConfig(networks=tuple(networks), missing_gateway=missing),
    st.lists(network_configs, max_size=2, unique_by=lambda one: one.name),
    st.sampled_from(MissingGateway),
)

SERVER = GatewayServer(port=15443, port_name="tls", protocol="TLS", hosts=("*.local",), tls_mode=TLSMode.AUTO_PASSTHROUGH)
PLAIN = GatewayServer(port=80, port_name="http", protocol="HTTP", hosts=("*",))
gateways = st.builds(lambda where, servers: gateway(where, "cross", *servers), cluster_names, _subset([SERVER, PLAIN]))


def _proxies() -> list[Proxy]:
    eastwest = labels_of({"istio": "eastwest"})
    found = []
    for where in ("east", "west"):
        found += [
            sidecar("10.0.0.1", cluster=where),
            sidecar("10.0.0.1", cluster=where, instance_ips=("10.0.0.1", "fd00::1")),
            sidecar("10.0.0.1", cluster=where, network=NetworkID("net-1"), network_view=(NetworkID("net-1"), NetworkID("net-2"))),
            sidecar("fd00::1", cluster=where, name="six"),
            bound("10.0.0.2", cluster=where, name="bound"),
            router(cluster=where, labels=eastwest),
            router(cluster=where),
            sidecar("10.0.0.3", cluster=where, name="grpc", generator="grpc"),
            sidecar("10.0.0.7", cluster=where, name="machine"),
        ]
    return [*found, sidecar("10.0.0.9", cluster="moon", name="lost")]


PROXIES = _proxies()

_ROWS = st.one_of(services(), slices(), pods(), gateway_services(), st.sampled_from(PROXIES)) | st.one_of(
    nodes, namespaces, cluster_configs, mesh_configs, gateways
)
_ANSWERS = st.builds(
    lambda addresses: Upsert(kind=Kind.RESOLVED, key="gw.example", value=Resolved(addresses=addresses), origin=Origin(source="dns")),
    _subset(["192.0.2.50", "2001:db8::50"]),
)
_HEALTHS = st.builds(outage, cluster_names, st.sampled_from(OutagePolicy), st.sampled_from(ClusterState))
upserts: st.SearchStrategy[Upsert] = st.one_of(_ROWS.map(fact), _ROWS.map(fact), _ROWS.map(fact), _ANSWERS, _HEALTHS)

Event = Upsert | Delete


def _beginning() -> list[Event]:
    """A mesh that works, so that what comes then finds something to change."""
    claims = (NetworkEndpoints(from_cidr="10.1.0.0/16"),)
    rows: list[Row] = [MeshConfig(networks=(NetworkConfig(name=NetworkID("net-2"), endpoints=claims),))]
    for where, network in zip(CLUSTERS, NETWORKS, strict=True):
        rows += [
            cluster(where, network),
            node(where, "n1", "r1", "z1", addresses=("192.0.2.30",)),
            service(where, "reviews", cluster_ips=("10.96.0.1",), selector={"app": "a"}),
            service(where, "ratings", selector={"app": "a"}) if where == "east" else service(where, "ratings"),
            slice_of(where, "reviews", "10.0.0.1=p1", "10.0.0.2=p2"),
            pod(where, "p1", "10.0.0.1", labels={**MTLS, "app": "a"}, node="n1"),
            pod(where, "p2", "10.0.0.2", labels={"app": "a"}),
        ]
    rows += [
        gateway_service("east", "net-1", "192.0.2.1", selector={"istio": "eastwest"}),
        gateway_service("west", "net-2", "192.0.2.2", "gw.example"),
        gateway_service("south", "net-3", type=ServiceType.NODE_PORT),
        slice_of("west", "ratings", "10.0.0.1=p1", "10.0.0.7"),
        slice_of("west", "ratings", "fd00::1=p1", name="ratings-6", family=V6),
        gateway("east", "cross", SERVER, PLAIN),
        sidecar("10.0.0.1", cluster="east"),
        sidecar("fd00::1", cluster="west", name="six"),
        bound("10.0.0.2", cluster="west", name="bound"),
        router(cluster="east"),
        sidecar("10.0.0.3", cluster="east", name="grpc", generator="grpc"),
        sidecar("10.0.0.7", cluster="west", name="machine"),
    ]
    return [fact(row) for row in rows]


BEGINNING = _beginning()


@st.composite
def histories(draw: st.DrawFn, size: int = 40) -> list[list[Event]]:
    """Batches of facts upon BEGINNING, some of which take back earlier ones, as often as not before they were settled."""
    told = draw(st.lists(upserts, min_size=1, max_size=size))
    events: list[Event] = []
    for number, one in enumerate(told):
        events.append(one)
        if draw(st.integers(0, 4)) == 0:
            back = told[draw(st.integers(0, number))]
            events.append(Delete(kind=back.kind, key=back.key))
    cuts = sorted({*draw(st.lists(st.integers(0, len(events)), max_size=6)), 0, len(events)})
    return [events[start:end] for start, end in pairwise(cuts)]


def final(batches: Iterable[Iterable[Event]]) -> list[Upsert]:
    """What stands in the end of a history."""
    held: dict[tuple[Kind, Any], Upsert] = {}
    for batch in (BEGINNING, *batches):
        for one in batch:
            if isinstance(one, Upsert):
                held[one.kind, one.key] = one
            else:
                held.pop((one.kind, one.key), None)
    return list(held.values())
