"""One endpoint changes: from the fact to the bytes of every assignment that it changed, in the process that computes them."""

import gc
import random
import time
from collections.abc import Sequence

import msgspec

from steersman.graph import Graph
from steersman.model.config import ClusterConfig, MeshConfig
from steersman.model.facts import Fact, Origin, Upsert
from steersman.model.ids import ClusterID, IPFamily, Locality, NetworkID, ObjectKey, labels_of
from steersman.model.objects import EndpointSlice, Kind, Node, Pod, Port, Protocol, Service, ServiceType, SliceEndpoint, SlicePort
from steersman.model.proxy import Proxy
from steersman.names import EDS, NETWORK_LABEL, TLS_MODE_LABEL
from steersman.pipeline import Pipeline
from steersman.snapshot.cache import SnapshotCache
from tests.bench.figures import Figure, Reference

NETWORKS, REGIONS = 4, 3
ROUNDS = 200
ORIGIN = Origin(source="bench")
ADDRESSES = (("10.0.0.1",), ("10.0.0.1", "fd00::1"), ("fd00::1",))
"""Of the proxies on each network: with different families they are different standpoints, twelve in all."""


def run() -> Sequence[Figure]:
    """A small mesh and a large one, changed by turns: the cost of a change must not grow with the mesh."""
    small, large = Bench(100, 12), Bench(1000, 12)
    broad = Bench(200, 100)
    for bench in (small, large, broad):
        bench.settle()
        gc.collect()
        gc.freeze()
    times: dict[Bench, list[float]] = {small: [], large: [], broad: []}
    for _ in range(ROUNDS):
        for bench, taken in times.items():
            taken.append(bench.change())
    few = (Reference("the same in 100 services x 12 endpoints", tuple(times[small])),)
    return [
        Figure(name="event to bytes: 1000 services x 12 endpoints, 12 views", values=tuple(times[large]), references=few),
        Figure(name="event to bytes: 200 services x 100 endpoints, 12 views", values=tuple(times[broad]), references=few),
    ]


class Bench:
    """A mesh of so many services, each with its endpoints spread evenly over all networks and regions, seen from twelve standpoints."""

    def __init__(self, services: int, endpoints: int) -> None:
        self._pipeline = Pipeline()
        self._cache = SnapshotCache(self.graph)
        self._random = random.Random(1)
        self._slices: dict[ObjectKey, EndpointSlice] = {}
        facts = [upsert(Kind.MESH, "", MeshConfig())]
        for number in range(NETWORKS):
            cluster = ClusterID(f"c{number}")
            facts += _cluster(cluster, number)
            for name in range(services):
                facts += self._service(cluster, number, name, endpoints // NETWORKS)
        self._pipeline.apply(facts)
        for number in range(NETWORKS):
            for addresses in ADDRESSES:
                self._connect(ClusterID(f"c{number}"), addresses)

    @property
    def graph(self) -> Graph:
        return self._pipeline.graph

    def settle(self) -> int:
        """Brings everything up to date; how many bytes of assignments changed."""
        published = self._cache.publish(self._pipeline.settle(self._cache.absorb))
        assert not published.failed
        return sum(len(change.new.body) for told in published.changes for change in told.changes if change.new is not None)

    def change(self) -> float:
        """Milliseconds that one endpoint's readiness takes, which changes every view of its service."""
        key = self._random.choice(list(self._slices))
        piece = self._slices[key]
        place = self._random.randrange(len(piece.endpoints))
        entry = msgspec.structs.replace(piece.endpoints[place], ready=not piece.endpoints[place].ready)
        entries = (*piece.endpoints[:place], entry, *piece.endpoints[place + 1 :])
        piece = self._slices[key] = msgspec.structs.replace(piece, endpoints=entries)
        fact = upsert(Kind.ENDPOINT_SLICE, key, piece)
        began = time.perf_counter()
        self._pipeline.apply([fact])
        changed = self.settle()
        taken = time.perf_counter() - began
        assert changed
        return taken * 1000

    def _service(self, cluster: ClusterID, number: int, name: int, endpoints: int) -> list[Fact]:
        key = ObjectKey(cluster, "default", f"svc{name}")
        port = Port(name="http", port=80, protocol=Protocol.HTTP, target_port=8080)
        facts = [upsert(Kind.SERVICE, key, Service(key=key, cluster_ips=(f"10.96.{name // 250}.{name % 250 + 1}",), ports=(port,)))]
        labels = labels_of({"app": key.name, TLS_MODE_LABEL: "istio"})
        entries = []
        for place in range(endpoints):
            address = f"10.{number * 32 + name // 250}.{name % 250}.{place + 1}"
            pod = Pod(
                key=ObjectKey(cluster, "default", f"{key.name}-{place}"),
                ips=(address,),
                node=f"n{place % REGIONS}",
                labels=labels,
                ready=True,
            )
            facts.append(upsert(Kind.POD, pod.key, pod))
            entries.append(SliceEndpoint(address=address, pod=pod.key.name, node=pod.node))
        piece = EndpointSlice(
            key=key, service=key.name, family=IPFamily.IPV4, ports=(SlicePort(name="http", port=8080),), endpoints=tuple(entries)
        )
        self._slices[key] = piece
        return [*facts, upsert(Kind.ENDPOINT_SLICE, key, piece)]

    def _connect(self, cluster: ClusterID, addresses: tuple[str, ...]) -> None:
        proxy = Proxy(
            id=f"{cluster}/{addresses}", name="client", cluster=cluster, ip=addresses[0], instance_ips=addresses, service_account="client"
        )
        self._pipeline.apply([upsert(Kind.PROXY, proxy.id, proxy)])
        self._cache.hold(self._cache.join(proxy.id), EDS, None)


def _cluster(cluster: ClusterID, number: int) -> list[Fact]:
    """Its configuration, a node in each region, and its gateway."""
    network = NetworkID(f"n{number}")
    facts = [upsert(Kind.CLUSTER, cluster, ClusterConfig(name=cluster, network=network))]
    for region in range(REGIONS):
        node = Node(key=ObjectKey(cluster, "", f"n{region}"), locality=Locality(f"r{region}", f"r{region}-a"))
        facts.append(upsert(Kind.NODE, node.key, node))
    gateway = Service(
        key=ObjectKey(cluster, "istio-system", "eastwest"),
        type=ServiceType.LOAD_BALANCER,
        ingress=(f"192.0.2.{number + 1}", f"2001:db8::{number + 1}"),
        ports=(Port(name="tls", port=15443, protocol=Protocol.TCP, target_port=15443),),
        labels=labels_of({NETWORK_LABEL: network}),
    )
    return [*facts, upsert(Kind.SERVICE, gateway.key, gateway)]


def upsert(kind: Kind, key: object, value: object) -> Fact:
    return Upsert(kind=kind, key=key, value=value, origin=ORIGIN)
