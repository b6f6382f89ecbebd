"""Names on the wire: each is built and parsed in one place, and parse(build(x)) == x.

They are Istio's names, so that its users, gateways and dashboards find what they know.
"""

from functools import lru_cache
from typing import NamedTuple

from steersman.errors import InvalidObject
from steersman.model.ids import Hostname, ServiceKey, SpiffeID
from steersman.model.proxy import ProxyType

_TYPE_PREFIX = "type.googleapis.com/"
CDS = _TYPE_PREFIX + "envoy.config.cluster.v3.Cluster"
EDS = _TYPE_PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = _TYPE_PREFIX + "envoy.config.listener.v3.Listener"
RDS = _TYPE_PREFIX + "envoy.config.route.v3.RouteConfiguration"
SDS = _TYPE_PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"

SHORT_TYPES = {"cds": CDS, "eds": EDS, "lds": LDS, "rds": RDS, "sds": SDS}
"""Type URL by the name that commands and metrics use, in the order in which changes are sent."""
TYPE_NAMES = {url: short for short, url in SHORT_TYPES.items()}

BLACK_HOLE = "BlackHoleCluster"
PASSTHROUGH = "PassthroughCluster"
INBOUND_PASSTHROUGH = "InboundPassthroughCluster"
VIRTUAL_OUTBOUND = "virtualOutbound"
VIRTUAL_INBOUND = "virtualInbound"

SECRET_LEAF = "default"
SECRET_ROOT = "ROOTCA"

NETWORK_LABEL = "topology.istio.io/network"
REGION_LABEL = "topology.kubernetes.io/region"
ZONE_LABEL = "topology.kubernetes.io/zone"
SUBZONE_LABEL = "topology.istio.io/subzone"
GATEWAY_PORT_LABEL = "networking.istio.io/gatewayPort"
TLS_MODE_LABEL = "security.istio.io/tlsMode"
TLS_MODE_ISTIO = "istio"
SESSION_LABEL = "istio.io/persistent-session"

DEFAULT_GATEWAY_PORT = 15443
OUTBOUND_CAPTURE_PORT = 15001
INBOUND_CAPTURE_PORT = 15006

ISTIO_ALPN = ("istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2")
"""What an AUTO_PASSTHROUGH gateway's filter chains accept: only a mesh client offers one of these."""


class TrafficDirection:
    INBOUND = "inbound"
    OUTBOUND = "outbound"


class ClusterName(NamedTuple):
    """`outbound|PORT|SUBSET|HOST`; for inbound the host and subset are empty."""

    direction: str
    port: int
    subset: str
    host: Hostname

    def __str__(self) -> str:
        return f"{self.direction}|{self.port}|{self.subset}|{self.host}"


def outbound_cluster(port: int, host: Hostname, subset: str = "") -> str:
    return str(ClusterName(TrafficDirection.OUTBOUND, port, subset, host))


def inbound_cluster(port: int) -> str:
    return str(ClusterName(TrafficDirection.INBOUND, port, "", Hostname("")))


SNI_PREFIX = f"{TrafficDirection.OUTBOUND}_."
"""With what every SNI name begins, and no other cluster's name."""


def sni_name(port: int, host: Hostname, subset: str = "") -> str:
    """What a client says as SNI to reach a service through a gateway, and the passthrough cluster's name there."""
    return f"{TrafficDirection.OUTBOUND}_.{port}_.{subset}_.{host}"


def parse_cluster(name: str) -> ClusterName | None:
    """What a cluster's name says, in the form with | or the one with `_.`; None for any other name."""
    parts = name.split("|") if "|" in name else name.split("_.")
    if len(parts) != 4 or parts[0] not in (TrafficDirection.INBOUND, TrafficDirection.OUTBOUND) or not parts[1].isdecimal():
        return None
    return ClusterName(parts[0], int(parts[1]), parts[2], Hostname(parts[3]))


def hostname(service: ServiceKey, domain: str) -> Hostname:
    """NAME.NAMESPACE.svc.DOMAIN"""
    return Hostname(f"{service.name}.{service.namespace}.svc.{domain}")


def parse_hostname(host: str, domain: str) -> ServiceKey | None:
    """The service that this host names in that domain; None for any other host."""
    suffix = f".svc.{domain}"
    if not host.endswith(suffix):
        return None
    name, dot, namespace = host[: -len(suffix)].partition(".")
    if not dot or not name or not namespace or "." in namespace:
        return None
    return ServiceKey(namespace, name)


def short_hosts(service: ServiceKey, domain: str, client_namespace: str) -> tuple[str, ...]:
    """Every name by which a client in that namespace may call the service, the full name first: search domains and all."""
    name, namespace = service.name, service.namespace
    hosts = [f"{name}.{namespace}.svc.{domain}", f"{name}.{namespace}.svc", f"{name}.{namespace}"]
    if namespace == client_namespace:
        hosts.append(name)
    return tuple(hosts)


@lru_cache(maxsize=1 << 14)
def spiffe_id(trust_domain: str, namespace: str, service_account: str) -> SpiffeID:
    """Equal ones are one object: replicas have it in common."""
    return SpiffeID(f"spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}")


class Identity(NamedTuple):
    trust_domain: str
    namespace: str
    service_account: str


def parse_spiffe_id(identity: str) -> Identity | None:
    """The parts of a workload's SPIFFE URI; None where it isn't one of ours."""
    rest = identity.removeprefix("spiffe://")
    parts = rest.split("/")
    if rest == identity or len(parts) != 5 or parts[1] != "ns" or parts[3] != "sa" or not all(parts):
        return None
    return Identity(parts[0], parts[2], parts[4])


class NodeID(NamedTuple):
    """`TYPE~IP~NAME.NAMESPACE~DOMAIN`. `ip` may be empty; `name` may hold dots, `namespace` not."""

    type: ProxyType
    ip: str
    name: str
    namespace: str
    domain: str

    def __str__(self) -> str:
        return f"{self.type}~{self.ip}~{self.name}.{self.namespace}~{self.domain}"


def parse_node_id(node_id: str) -> NodeID:
    """The parts of a node id.

    Raises InvalidObject, saying what is missing, for an id of any other form: such a proxy is served as a sidecar.
    """
    parts = node_id.split("~")
    if len(parts) != 4:
        raise InvalidObject(f"node id {node_id!r} has {len(parts)} parts, expected TYPE~IP~NAME.NAMESPACE~DOMAIN")
    kind, ip, workload, domain = parts
    name, dot, namespace = workload.rpartition(".")
    if kind not in ProxyType.__members__.values():
        raise InvalidObject(f"node id {node_id!r} has type {kind!r}, expected sidecar or router")
    if not dot or not name or not namespace:
        raise InvalidObject(f"node id {node_id!r} has workload {workload!r}, expected NAME.NAMESPACE")
    return NodeID(ProxyType(kind), ip, name, namespace, domain)


def node_id(proxy_type: ProxyType, ip: str, name: str, namespace: str, domain: str) -> str:
    return str(NodeID(proxy_type, ip, name, namespace, domain))


def http_listener(port: int) -> str:
    return f"0.0.0.0_{port}"


def tcp_listener(address: str, port: int) -> str:
    """An IPv6 address stands unbracketed, as everywhere in names."""
    return f"{address}_{port}"


def outbound_route(port: int) -> str:
    return str(port)


def gateway_route(port: int, bind: str = "") -> str:
    """`bind`: the address that a Gateway's server names, where it names one."""
    return f"http.{port}.{bind}" if bind else f"http.{port}"


def gateway_tls_route(port: int, port_name: str, gateway: str, namespace: str, bind: str = "") -> str:
    """The route of a Gateway's server that terminates TLS: such servers share a port, each with hosts of its own."""
    name = f"https.{port}.{port_name}.{gateway}.{namespace}"
    return f"{name}.{bind}" if bind else name


def proxyless_listener(host: Hostname, port: int) -> str:
    """What a gRPC client asks for when it dials xds:///HOST:PORT."""
    return f"{host}:{port}"
