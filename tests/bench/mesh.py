"""A large mesh in the process that computes it: four networks with a gateway each, seen from twelve standpoints."""

import gc
import random
import time
from collections.abc import Iterable, Iterator

import msgspec

from steersman.model.config import ClusterConfig, MeshConfig
from steersman.model.facts import Fact, Origin, Upsert
from steersman.model.ids import ClusterID, IPFamily, Labels, Locality, NetworkID, ObjectKey, labels_of
from steersman.model.objects import (
    CONDITIONS,
    EndpointSlice,
    Kind,
    Node,
    Pod,
    Port,
    Protocol,
    Service,
    ServiceType,
    SliceEndpoint,
    SlicePort,
    conditions_code,
)
from steersman.model.proxy import Proxy
from steersman.names import EDS, NETWORK_LABEL, TLS_MODE_LABEL
from steersman.pipeline import Pipeline
from steersman.resources.resource import Resource
from steersman.snapshot.cache import Place, SnapshotCache

NETWORKS, REGIONS = 4, 3
ORIGIN = Origin(source="bench")
ADDRESSES = (("10.0.0.1",), ("10.0.0.1", "fd00::1"), ("fd00::1",))
"""Of the proxies on each network: with different families they are different standpoints, twelve in all."""
PER_SLICE = 100
"""Endpoints that Kubernetes puts into one EndpointSlice."""


class Mesh:
    """So many services, each with its endpoints spread evenly over all networks and regions."""

    def __init__(self, services: int, endpoints: int, seed: int = 1) -> None:
        self.pipeline = Pipeline()
        self.cache = SnapshotCache(self.pipeline.graph)
        self.slices: dict[ObjectKey, EndpointSlice] = {}
        self.places: list[Place] = []
        self._random = random.Random(seed)
        for facts in self._facts(services, endpoints):
            self.pipeline.apply(facts)
        self.names = tuple(self.slices)

    def connect(self, views: Iterable[tuple[NetworkID, ...] | None] = (None,)) -> None:
        """Twelve standpoints hold every assignment, for each of `views` (a proxy's REQUESTED_NETWORK_VIEW) anew."""
        for view in views:
            for number in range(NETWORKS):
                for addresses in ADDRESSES:
                    proxy = proxy_of(number, addresses, view)
                    self.pipeline.apply([upsert(Kind.PROXY, proxy.id, proxy)])
                    place = self.cache.join(proxy.id)
                    self.cache.hold(place, EDS, None)
                    self.places.append(place)

    def settle(self) -> list[Resource]:
        """Brings everything up to date; the resources that changed."""
        published = self.cache.publish(self.pipeline.settle(self.cache.absorb))
        assert not published.failed
        return [change.new for told in published.changes for change in told.changes if change.new is not None]

    def freeze(self) -> None:
        """As the server does when it is ready."""
        gc.collect()
        gc.freeze()

    def changed(self) -> Fact:
        """One endpoint becomes unready, or ready again: a fact that moves every view of its service."""
        key = self._random.choice(self.names)
        piece = self.slices[key]
        place = self._random.randrange(len(piece.conditions))
        conditions = bytearray(piece.conditions)
        conditions[place] = conditions_code(not CONDITIONS[conditions[place]].ready, True, False)
        piece = self.slices[key] = msgspec.structs.replace(piece, conditions=bytes(conditions))
        return upsert(Kind.ENDPOINT_SLICE, key, piece)

    def change(self) -> tuple[float, list[Resource]]:
        """Milliseconds of CPU from such a fact to the bytes of all that it changes, and these."""
        fact = self.changed()
        began = time.process_time()
        self.pipeline.apply([fact])
        changed = self.settle()
        for resource in changed:
            assert resource.parts
        taken = time.process_time() - began
        assert changed
        return taken * 1000, changed

    def _facts(self, services: int, endpoints: int) -> Iterator[list[Fact]]:
        yield [upsert(Kind.MESH, "", MeshConfig())]
        for number in range(NETWORKS):
            cluster = ClusterID(f"c{number}")
            yield _cluster(cluster, number)
            share = endpoints // NETWORKS + (number < endpoints % NETWORKS)
            for name in range(services):
                facts = service_facts(cluster, number, name, share)
                self.slices.update({fact.key: fact.value for fact in facts if fact.kind is Kind.ENDPOINT_SLICE})
                yield list(facts)


def service_facts(cluster: ClusterID, number: int, name: int, endpoints: int) -> list[Upsert]:
    """A service of one cluster with its pods and slices. Strings are as the sources have them: node, label and account are shared, what
    stands in two objects is there twice."""
    key = ObjectKey(cluster, "default", f"svc{name}")
    port = Port(name="http", port=80, protocol=Protocol.HTTP, target_port=8080)
    facts = [
        upsert(
            Kind.SERVICE,
            key,
            Service(key=key, cluster_ips=(f"10.{96 + name // 62500}.{name // 250 % 250}.{name % 250 + 1}",), ports=(port,)),
        )
    ]
    labels = labels_of_service(key.name)
    entries = []
    for place in range(endpoints):
        address = _address(number, name, place, endpoints)
        node = NODES[place % REGIONS]
        pod = pod_of(ObjectKey(cluster, "default", f"{key.name}-{place}"), address, node, labels)
        facts.append(upsert(Kind.POD, pod.key, pod))
        entries.append(SliceEndpoint.of(_address(number, name, place, endpoints), pod=f"{key.name}-{place}", node=node))
    for first in range(0, len(entries), PER_SLICE):
        piece = EndpointSlice.of(
            ObjectKey(cluster, "default", f"{key.name}-{first}"),
            service=key.name,
            family=IPFamily.IPV4,
            ports=(SlicePort(name="http", port=8080),),
            endpoints=entries[first : first + PER_SLICE],
        )
        facts.append(upsert(Kind.ENDPOINT_SLICE, piece.key, piece))
    return facts


def pod_of(key: ObjectKey, address: str, node: str, labels: Labels) -> Pod:
    """A pod that is ready."""
    return Pod(key=key, ips=(address,), node=node, labels=labels, ready=True)


def labels_of_service(name: str) -> Labels:
    """Those of its pods."""
    return labels_of({"app": name, TLS_MODE_LABEL: "istio"})


NODES = tuple(f"n{region}" for region in range(REGIONS))


def _address(number: int, name: int, place: int, endpoints: int) -> str:
    """The same on no other pod of the network."""
    count = name * endpoints + place
    return f"10.{number * 32 + count // 62500}.{count // 250 % 250}.{count % 250 + 1}"


def proxy_of(number: int, addresses: tuple[str, ...], view: tuple[NetworkID, ...] | None) -> Proxy:
    """A proxy on that network, with these addresses, that wants to see these networks (None: all)."""
    cluster = ClusterID(f"c{number}")
    return Proxy(
        id=f"{cluster}/{addresses}/{view}",
        name="client",
        cluster=cluster,
        ip=addresses[0],
        instance_ips=addresses,
        service_account="client",
        network_view=view,
    )


def _cluster(cluster: ClusterID, number: int) -> list[Fact]:
    """Its configuration, a node in each region, and its gateway."""
    network = NetworkID(f"n{number}")
    facts: list[Fact] = [upsert(Kind.CLUSTER, cluster, ClusterConfig(name=cluster, network=network))]
    facts += [node_fact(cluster, region, f"r{region}-a") for region in range(REGIONS)]
    return [*facts, gateway_fact(cluster, number, (f"192.0.2.{number + 1}", f"2001:db8::{number + 1}"))]


def node_fact(cluster: ClusterID, region: int, zone: str) -> Upsert:
    """A Node, which a third of the cluster's pods run on, in that zone."""
    node = Node(key=ObjectKey(cluster, "", NODES[region]), locality=Locality(f"r{region}", zone))
    return upsert(Kind.NODE, node.key, node)


def gateway_fact(cluster: ClusterID, number: int, ingress: tuple[str, ...]) -> Upsert:
    """The gateway of the cluster's network, at these addresses."""
    gateway = Service(
        key=ObjectKey(cluster, "istio-system", "eastwest"),
        type=ServiceType.LOAD_BALANCER,
        ingress=ingress,
        ports=(Port(name="tls", port=15443, protocol=Protocol.TCP, target_port=15443),),
        labels=labels_of({NETWORK_LABEL: f"n{number}"}),
    )
    return upsert(Kind.SERVICE, gateway.key, gateway)


def upsert(kind: Kind, key: object, value: object) -> Upsert:
    return Upsert(kind=kind, key=key, value=value, origin=ORIGIN)
