"""What a proxy is sent, as messages: asked of the pipeline by the way that streams take."""

from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from steersman.model.ids import ClusterID
from steersman.model.proxy import Interception, Proxy, ProxyType
from steersman.names import CDS, EDS, LDS, RDS, SDS, node_id
from steersman.resources.collections import MANIFESTS, TABLES_OF
from steersman.resources.resource import Resource
from tests.support.mesh import Mesh

MESSAGES: dict[str, Any] = {CDS: Cluster, EDS: ClusterLoadAssignment, LDS: Listener, RDS: RouteConfiguration, SDS: Secret}


def sidecar(ip: str = "10.0.0.9", *, name: str = "client", cluster: str = "east", namespace: str = "default", **fields: Any) -> Proxy:
    """A captured sidecar, unless `interception` says otherwise."""
    return _proxy(ProxyType.SIDECAR, ip, name, cluster, namespace, fields)


def router(ip: str = "10.0.0.8", *, name: str = "gw", cluster: str = "east", namespace: str = "istio-system", **fields: Any) -> Proxy:
    return _proxy(ProxyType.ROUTER, ip, name, cluster, namespace, fields)


def bound(ip: str = "10.0.0.9", **fields: Any) -> Proxy:
    """A sidecar with interception NONE."""
    return sidecar(ip, interception=Interception.NONE, **fields)


def _proxy(kind: ProxyType, ip: str, name: str, cluster: str, namespace: str, fields: dict[str, Any]) -> Proxy:
    identity = node_id(kind, ip, name, namespace, "cluster.local")
    return Proxy(id=identity, type=kind, ip=ip, name=name, namespace=namespace, cluster=ClusterID(cluster), **fields)


def resources_of(mesh: Mesh, proxy: Proxy, type_url: str) -> dict[str, Resource]:
    """All of a type that this proxy is sent, by name."""
    found: dict[str, Resource] = {}
    for table in mesh.ask(TABLES_OF, proxy.id):
        for part in table:
            if part.type_url == type_url:
                for name, ref in mesh.ask(MANIFESTS, part):
                    assert name not in found, f"{name} stands in two parts of one table"
                    resource = mesh.ask(ref.collection, ref.key)
                    if resource is not None:
                        assert resource.name == name
                        found[name] = resource
    return found


def served(mesh: Mesh, proxy: Proxy, type_url: str) -> dict[str, Any]:
    """The same as messages."""
    return {name: parsed(type_url, resource) for name, resource in resources_of(mesh, proxy, type_url).items()}


def parsed(type_url: str, resource: Resource) -> Any:
    return MESSAGES[type_url].FromString(resource.body)
