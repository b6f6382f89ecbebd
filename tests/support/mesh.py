"""A mesh of a few lines: rows with sensible defaults, and a pipeline to put them in and ask."""

from collections.abc import Hashable, Iterable
from typing import Any, TypeVar

from steersman.graph import Collection
from steersman.model.clusters import ClusterHealth, ClusterState, OutagePolicy
from steersman.model.config import ClusterConfig, MeshConfig
from steersman.model.facts import Delete, Fact, Origin, Resolved, Upsert
from steersman.model.ids import ClusterID, IPFamily, Labels, Locality, NetworkID, ObjectKey, ServiceKey, ServicePortKey, labels_of
from steersman.model.mesh import ObjectRef
from steersman.model.objects import (
    EndpointSlice,
    Gateway,
    GatewayServer,
    Kind,
    Namespace,
    Node,
    Pod,
    Port,
    Protocol,
    Row,
    Service,
    ServiceType,
    SliceEndpoint,
    SlicePort,
)
from steersman.model.proxy import Proxy
from steersman.names import NETWORK_LABEL, TLS_MODE_LABEL
from steersman.pipeline import Generation, Pipeline

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

V4 = IPFamily.IPV4
V6 = IPFamily.IPV6
BOTH = frozenset(IPFamily)

MTLS = {TLS_MODE_LABEL: "istio"}


def key(cluster: str, name: str, namespace: str = "default") -> ObjectKey:
    return ObjectKey(ClusterID(cluster), namespace, name)


def port_key(name: str, port: int = 80, namespace: str = "default") -> ServicePortKey:
    return ServicePortKey(namespace, name, port)


def service_key(name: str, namespace: str = "default") -> ServiceKey:
    return ServiceKey(namespace, name)


def port(number: int = 80, name: str = "http", protocol: Protocol = Protocol.HTTP, target: int | str = 8080, node_port: int = 0) -> Port:
    return Port(name=name, port=number, protocol=protocol, target_port=target, node_port=node_port)


def service(cluster: str, name: str, *, namespace: str = "default", labels: dict[str, str] | None = None, **fields: Any) -> Service:
    """A ClusterIP Service with port 80 "http" and no selector."""
    fields.setdefault("ports", (port(),))
    fields["selector"] = labels_of(fields.get("selector"))
    return Service(key=key(cluster, name, namespace), labels=labels_of(labels), **fields)


def gateway_service(cluster: str, network: str, *addresses: str, name: str = "eastwest", number: int = 15443, **fields: Any) -> Service:
    """A LoadBalancer Service in istio-system that is a network's gateway."""
    labels = {NETWORK_LABEL: network, **fields.pop("labels", {})}
    fields.setdefault("type", ServiceType.LOAD_BALANCER)
    fields.setdefault("ports", (port(number, "tls", Protocol.TCP, 15443),))
    return service(cluster, name, namespace="istio-system", labels=labels, ingress=addresses, **fields)


def slice_of(
    cluster: str,
    of: str,
    *entries: SliceEndpoint | str,
    name: str = "",
    namespace: str = "default",
    ports: Iterable[tuple[str, int | None]] = (("http", 8080),),
    family: IPFamily = V4,
    created: str = "",
) -> EndpointSlice:
    """An EndpointSlice. An entry given as text is ADDRESS, or ADDRESS=POD."""
    return EndpointSlice.of(
        key(cluster, name or f"{of}-1", namespace),
        created=created,
        service=of,
        family=family,
        ports=tuple(SlicePort(name=port_name, port=number) for port_name, number in ports),
        endpoints=tuple(entry if isinstance(entry, SliceEndpoint) else _entry(entry) for entry in entries),
    )


def _entry(text: str) -> SliceEndpoint:
    address, _, pod_name = text.partition("=")
    return SliceEndpoint.of(address, pod=pod_name)


def pod(cluster: str, name: str, *ips: str, namespace: str = "default", labels: dict[str, str] | None = None, **fields: Any) -> Pod:
    """A ready Pod with mTLS."""
    fields.setdefault("ready", True)
    return Pod(key=key(cluster, name, namespace), ips=ips, labels=labels_of(MTLS if labels is None else labels), **fields)


def node(cluster: str, name: str, region: str = "", zone: str = "", subzone: str = "", *, labels: Labels = (), **fields: Any) -> Node:
    return Node(key=ObjectKey(ClusterID(cluster), "", name), locality=Locality(region, zone, subzone), labels=labels, **fields)


def namespace(cluster: str, name: str, **labels: str) -> Namespace:
    return Namespace(key=ObjectKey(ClusterID(cluster), "", name), labels=labels_of(labels))


def gateway(cluster: str, name: str, *servers: GatewayServer, namespace: str = "istio-system", **fields: Any) -> Gateway:
    """An Istio Gateway; without a selector it's for every router of its cluster."""
    fields["selector"] = labels_of(fields.get("selector"))
    return Gateway(key=key(cluster, name, namespace), servers=servers, **fields)


def cluster(name: str, network: str = "", trust_domain: str = "") -> ClusterConfig:
    return ClusterConfig(name=ClusterID(name), network=NetworkID(network), trust_domain=trust_domain)


def health(name: str, state: ClusterState = ClusterState.SYNCED, **fields: Any) -> ClusterHealth:
    """How a cluster stands that is read from its API."""
    return ClusterHealth(cluster=ClusterID(name), state=state, since=0.0, **fields)


def outage(name: str, policy: OutagePolicy, state: ClusterState = ClusterState.UNREACHABLE) -> Upsert:
    """What the source of a cluster says whose API is silent, and has been for as long as that policy waits."""
    return fact(health(name, state, problem="no answer", outage=policy))


_KINDS: dict[type[Row], Kind] = {
    Service: Kind.SERVICE,
    EndpointSlice: Kind.ENDPOINT_SLICE,
    Pod: Kind.POD,
    Node: Kind.NODE,
    Namespace: Kind.NAMESPACE,
    Gateway: Kind.GATEWAY,
}


def fact(row: Row) -> Upsert:
    """The fact that this row stands under its own key."""
    origin = Origin(source="test")
    match row:
        case MeshConfig():
            return Upsert(kind=Kind.MESH, key="", value=row, origin=origin)
        case ClusterConfig():
            return Upsert(kind=Kind.CLUSTER, key=row.name, value=row, origin=origin)
        case ClusterHealth():
            return Upsert(kind=Kind.CLUSTER_STATE, key=row.cluster, value=row, origin=origin)
        case Proxy():
            return Upsert(kind=Kind.PROXY, key=row.id, value=row, origin=origin)
        case Service() | EndpointSlice() | Pod() | Node() | Namespace() | Gateway():
            return Upsert(kind=_KINDS[type(row)], key=row.key, value=row, origin=origin)
    raise TypeError(f"no kind of fact for {row!r}")


class Mesh:
    """A pipeline with these rows."""

    def __init__(self, *rows: Row) -> None:
        self.pipeline = Pipeline()
        self.put(*rows)

    def put(self, *rows: Row) -> Generation:
        return self.tell(*(fact(row) for row in rows))

    def tell(self, *facts: Fact) -> Generation:
        self.pipeline.apply(facts)
        return self.pipeline.settle()

    def delete(self, *rows: Row) -> Generation:
        return self.tell(*(Delete(kind=upsert.kind, key=upsert.key) for upsert in map(fact, rows)))

    def resolve(self, hostname: str, *addresses: str) -> Generation:
        answer = Resolved(addresses=tuple(sorted(addresses)))
        return self.tell(Upsert(kind=Kind.RESOLVED, key=hostname, value=answer, origin=Origin(source="dns")))

    def ask(self, collection: Collection[K, V], asked: K) -> V:
        """The value, held from now on, so that later changes are followed incrementally."""
        self.pipeline.graph.demand(collection, asked)
        self.pipeline.settle()
        return self.pipeline.graph.value(collection, asked)


def ref(kind: Kind, cluster_name: str, name: str, in_namespace: str = "default") -> ObjectRef:
    return ObjectRef(kind, ObjectKey(ClusterID(cluster_name), in_namespace, name))
