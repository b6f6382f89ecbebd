"""Service ports as clients call them: what lists of resources are made of, worked out once for all who may call."""

from operator import attrgetter

from steersman.graph import Reader
from steersman.model.ids import ServiceKey, ServicePortKey
from steersman.model.mesh import MeshService, ServicePort
from steersman.model.objects import Protocol
from steersman.names import outbound_cluster, short_hosts
from steersman.registry.collections import MESH_SERVICES, VISIBLE_SERVICES
from steersman.registry.mesh import mesh_of
from steersman.views.collections import CALLEES
from steersman.views.listeners import Callee, with_and_without


def callees_of(read: Reader, key: ServiceKey) -> tuple[Callee, ...]:
    """The ports of a service that clients call through their proxies, by number. Stands between a service and the lists of all services:
    addresses, labels, and which clusters have it, change nothing here."""
    service = read(MESH_SERVICES, key)
    if service is None:
        return ()
    hosts = short_hosts(key, mesh_of(read).domain, "")
    return tuple(_callee(service, port, hosts) for port in service.ports if proxied(port))


def callable_in(read: Reader, namespace: str) -> tuple[Callee, ...]:
    """Every port that a client in that namespace may call, sorted by the cluster's name."""
    found = [callee for service in read(VISIBLE_SERVICES, namespace) for callee in read(CALLEES, service)]
    return tuple(sorted(found, key=_CLUSTER))


_CLUSTER = attrgetter("cluster")


def proxied(port: ServicePort) -> bool:
    """Whether a port has clusters at all: UDP goes past the proxies."""
    return port.protocol is not Protocol.UDP


def _callee(service: MeshService, port: ServicePort, hosts: tuple[str, ...]) -> Callee:
    return Callee(
        port=ServicePortKey(service.key.namespace, service.key.name, port.port),
        cluster=outbound_cluster(port.port, service.hostname),
        hosts=tuple(with_and_without(port.port, hosts)) if port.protocol.is_http else (),
        external=bool(service.external_name),
        cluster_local=service.cluster_local,
        node_local=service.node_local,
    )
