"""Kubernetes and Istio objects, flattened to the fields that decide what a proxy sees.

What decides nothing (status churn, managed fields, most annotations) is not kept, so that a change of it is no change here. Every
sequence is a tuple in a stated order, so that equal objects are equal values. `created` is metadata.creationTimestamp as written
(RFC 3339, UTC), "" where absent; it comes first in every tie-break.
"""

from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from sys import intern
from typing import Self

import msgspec

from steersman.model.ids import IPFamily, Labels, Locality, ObjectKey


class Row(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Base of everything that exists by the thousand.

    Subclasses repeat `frozen=True, kw_only=True`: the first is for type checkers, the second is not inherited.
    """


class Kind(StrEnum):
    """The kinds of fact; each is one input table of the pipeline. The first six are Kubernetes' or Istio's own kind names."""

    SERVICE = "Service"
    ENDPOINT_SLICE = "EndpointSlice"
    POD = "Pod"
    NODE = "Node"
    NAMESPACE = "Namespace"
    GATEWAY = "Gateway"
    MESH = "Mesh"
    CLUSTER = "Cluster"
    CLUSTER_STATE = "ClusterState"
    HELD_REMOVAL = "HeldRemoval"
    PROXY = "Proxy"
    RESOLVED = "Resolved"
    LEAF = "Leaf"
    ROOT = "Root"
    FINDING = "Finding"


class Protocol(StrEnum):
    """What a service port speaks, as far as listeners and clusters care. HTTPS and TLS are passed through as TCP."""

    HTTP = "HTTP"
    HTTP2 = "HTTP2"
    GRPC = "GRPC"
    TCP = "TCP"
    UDP = "UDP"

    @property
    def is_http(self) -> bool:
        return self in (Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC)

    @property
    def is_http2(self) -> bool:
        return self in (Protocol.HTTP2, Protocol.GRPC)


class ServiceType(StrEnum):
    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"
    EXTERNAL_NAME = "ExternalName"


class Port(Row, frozen=True, kw_only=True):
    """A port of a Service. `protocol`: appProtocol, else the name's prefix, else TCP. `target_port`: a number, or the name of a
    container's port; `node_port`: 0 where there is none."""

    name: str
    port: int
    protocol: Protocol
    target_port: int | str
    node_port: int = 0


class Service(Row, frozen=True, kw_only=True):
    """A v1 Service. `cluster_ips`: canonical addresses in the order of spec.ipFamilies, none when headless. `ingress`: the load balancer's
    IPs and hostnames in order. `export_to`: the annotation networking.istio.io/exportTo, sorted; empty means every namespace."""

    key: ObjectKey
    created: str = ""
    type: ServiceType = ServiceType.CLUSTER_IP
    headless: bool = False
    cluster_ips: tuple[str, ...] = ()
    families: tuple[IPFamily, ...] = ()
    external_name: str = ""
    ports: tuple[Port, ...] = ()
    selector: Labels = ()
    labels: Labels = ()
    export_to: tuple[str, ...] = ()
    node_selector: Labels = ()
    publish_not_ready: bool = False
    node_local: bool = False
    ingress: tuple[str, ...] = ()
    external_ips: tuple[str, ...] = ()


class SlicePort(Row, frozen=True, kw_only=True):
    """A port of an EndpointSlice. `port` None means all ports of the endpoint."""

    name: str
    port: int | None


class EndpointConditions(Row, frozen=True, kw_only=True):
    """The conditions of an entry of an EndpointSlice, filled in by Kubernetes' defaults."""

    ready: bool = True
    serving: bool = True
    terminating: bool = False

    @property
    def code(self) -> int:
        """By which an EndpointSlice keeps them: their place in CONDITIONS."""
        return conditions_code(self.ready, self.serving, self.terminating)


def conditions_code(ready: bool, serving: bool, terminating: bool) -> int:
    """A bit for each condition; under 8."""
    return ready | serving << 1 | terminating << 2


CONDITIONS = tuple(EndpointConditions(ready=bool(code & 1), serving=bool(code & 2), terminating=bool(code & 4)) for code in range(8))
"""All that there are, by code."""

READY = conditions_code(ready=True, serving=True, terminating=False)
"""Of nearly all entries."""


class EndpointPlace(Row, frozen=True, kw_only=True, array_like=True):
    """What an entry of an EndpointSlice says of where it is, beside its address. `flaw`: why nobody can be reached at that, "" if all is
    well."""

    node: str = ""
    zone: str = ""
    flaw: str = ""


@lru_cache(maxsize=1 << 14)
def endpoint_place(node: str, zone: str, flaw: str = "") -> EndpointPlace:
    """Equal ones are one object."""
    return EndpointPlace(node=intern(node), zone=intern(zone), flaw=flaw)


class SliceEndpoint(Row, frozen=True, kw_only=True):
    """One entry of an EndpointSlice; the first address stands for all (Kubernetes calls them fungible). `pod` is targetRef's name, of a
    Pod, or "". An address with a flaw is kept as written; its source has reported it.

    No slice holds any: it has columns, which this is a line of.
    """

    address: str
    pod: str = ""
    place: EndpointPlace = endpoint_place("", "")
    conditions: EndpointConditions = CONDITIONS[READY]

    @classmethod
    def of(
        cls,
        address: str,
        *,
        pod: str = "",
        node: str = "",
        zone: str = "",
        flaw: str = "",
        ready: bool = True,
        serving: bool = True,
        terminating: bool = False,
    ) -> Self:
        conditions = CONDITIONS[conditions_code(ready, serving, terminating)]
        return cls(address=address, pod=pod, place=endpoint_place(node, zone, flaw), conditions=conditions)

    @property
    def ready(self) -> bool:
        return self.conditions.ready

    @property
    def terminating(self) -> bool:
        return self.conditions.terminating

    @property
    def flaw(self) -> str:
        return self.place.flaw


class SliceMembers(Row, frozen=True, kw_only=True):
    """An EndpointSlice without its entries' conditions: whose it is, and of each entry, in order, what SliceEndpoint says of it. Side by
    side, since there are more entries than of anything else, and a value for each would take more than all else that is kept of them."""

    service: str
    family: IPFamily
    ports: tuple[SlicePort, ...] = ()
    addresses: tuple[str, ...] = ()
    pods: tuple[str, ...] = ()
    places: tuple[EndpointPlace, ...] = ()


class EndpointSlice(Row, frozen=True, kw_only=True):
    """A discovery.k8s.io/v1 EndpointSlice. `members`: who stands in it, the same object for as long as nothing but conditions changes.
    `conditions`: of each entry, in order, a byte (EndpointConditions.code). `service`: label kubernetes.io/service-name. FQDN slices are
    not kept."""

    key: ObjectKey
    created: str = ""
    members: SliceMembers
    conditions: bytes = b""

    @classmethod
    def of(
        cls,
        key: ObjectKey,
        *,
        service: str,
        family: IPFamily,
        created: str = "",
        ports: tuple[SlicePort, ...] = (),
        endpoints: Sequence[SliceEndpoint] = (),
    ) -> Self:
        """The slice that lists these."""
        members = SliceMembers(
            service=service,
            family=family,
            ports=ports,
            addresses=tuple([listed.address for listed in endpoints]),
            pods=tuple([listed.pod for listed in endpoints]),
            places=tuple([listed.place for listed in endpoints]),
        )
        return cls(key=key, created=created, members=members, conditions=bytes([listed.conditions.code for listed in endpoints]))

    def listing(self, endpoints: Sequence[SliceEndpoint]) -> Self:
        """The same, but it lists these."""
        return self.of(self.key, created=self.created, service=self.service, family=self.family, ports=self.ports, endpoints=endpoints)

    @property
    def service(self) -> str:
        return self.members.service

    @property
    def family(self) -> IPFamily:
        return self.members.family

    @property
    def ports(self) -> tuple[SlicePort, ...]:
        return self.members.ports

    @property
    def endpoints(self) -> tuple[SliceEndpoint, ...]:
        """Its entries one by one, made for whoever asks: what is done for each event looks at the columns."""
        return tuple([self.endpoint(number) for number in range(len(self.conditions))])

    def endpoint(self, number: int) -> SliceEndpoint:
        """The entry at this place."""
        of = self.members
        conditions = CONDITIONS[self.conditions[number]]
        return SliceEndpoint(address=of.addresses[number], pod=of.pods[number], place=of.places[number], conditions=conditions)


class Pod(Row, frozen=True, kw_only=True):
    """A v1 Pod. `ips`: canonical status.podIPs, the primary first. `ports`: (name, number) of named container ports. `active`: phase
    neither Succeeded nor Failed. `ready`: the Ready condition, and active and not being deleted."""

    key: ObjectKey
    created: str = ""
    ips: tuple[str, ...] = ()
    labels: Labels = ()
    locality_label: str = ""
    node: str = ""
    service_account: str = "default"
    ports: tuple[tuple[str, int], ...] = ()
    active: bool = True
    ready: bool = False
    terminating: bool = False


class Node(Row, frozen=True, kw_only=True):
    """A v1 Node, key without namespace. `addresses`: ExternalIP addresses, else InternalIP ones, in order, for gateways of type
    NodePort."""

    key: ObjectKey
    locality: Locality = Locality()
    labels: Labels = ()
    addresses: tuple[str, ...] = ()


class Namespace(Row, frozen=True, kw_only=True):
    """A v1 Namespace, key without namespace."""

    key: ObjectKey
    labels: Labels = ()


class TLSMode(StrEnum):
    """tls.mode of an Istio Gateway's server; NONE where the server has no tls."""

    NONE = ""
    PASSTHROUGH = "PASSTHROUGH"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    AUTO_PASSTHROUGH = "AUTO_PASSTHROUGH"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"
    OPTIONAL_MUTUAL = "OPTIONAL_MUTUAL"


class GatewayServer(Row, frozen=True, kw_only=True):
    """A server of an Istio Gateway. `protocol`: upper case, as Istio writes it (HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP, TLS).
    `hosts`: as written, each `[NAMESPACE/]DNSNAME`, sorted."""

    port: int
    port_name: str
    protocol: str
    hosts: tuple[str, ...]
    tls_mode: TLSMode = TLSMode.NONE
    bind: str = ""


class Gateway(Row, frozen=True, kw_only=True):
    """A networking.istio.io Gateway (v1, v1beta1, v1alpha3)."""

    key: ObjectKey
    created: str = ""
    selector: Labels = ()
    servers: tuple[GatewayServer, ...] = ()
