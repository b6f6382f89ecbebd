"""Two clusters on two networks, with one of each kind of service, for real Envoys on loopback."""

from typing import NamedTuple

from steersman.server.bootstrap import Mode
from tests.support.live import ControlPlane, Workload
from tests.support.objects import NETWORK, Object, Objects, eastwest, endpoint, node, passthrough, pod, service, slice_of

CLUSTERS = {"east": {"network": "network-east"}, "west": {"network": "network-west"}}
PASSTHROUGH_PORT = 15443
HTTP, TCP, GRPC = 9080, 3306, 50051
TARGETS = {"http": 18080, "tcp-db": 13306, "grpc": 15051}


class Side(NamedTuple):
    """What runs in one cluster. The numbers make its addresses."""

    cluster: str
    web: Workload
    client: Workload
    gateway: Workload

    @property
    def network(self) -> str:
        return f"network-{self.cluster}"


def side(cluster: str, first: int, mode: Mode, kind: type[Workload] = Workload) -> Side:
    return Side(
        cluster,
        web=kind("web-1" if cluster == "east" else "web-2", first, cluster, mode=mode),
        client=kind(f"client-{cluster}", first + 1, cluster, mode=mode, account="client"),
        gateway=kind(f"eastwest-{cluster}", first + 2, cluster, "router", mode=mode, account="eastwest", namespace="istio-system"),
    )


EAST, WEST = side("east", 0, Mode.DELTA), side("west", 3, Mode.SOTW)


def fill(plane: ControlPlane) -> None:
    """The clusters that it has: web in each, the others in east only."""
    for one in (EAST, WEST):
        directory = plane.clusters.get(one.cluster)
        if directory is None:
            continue
        base(directory, one)
        web(directory, one)
    _others(plane.clusters["east"])


def base(directory: Objects, one: Side) -> None:
    """What a cluster has beside its services: its gateway, and a client."""
    directory.put(
        "base.yaml",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system", "labels": {NETWORK: one.network}}},
        node(f"{one.cluster}-1", one.cluster, f"{one.cluster}-1a"),
        eastwest(one.network, one.gateway.ip, PASSTHROUGH_PORT),
        passthrough(one.gateway.ip, PASSTHROUGH_PORT),
        pod(one.gateway.name, one.gateway.ip, app="eastwest", node=f"{one.cluster}-1", namespace="istio-system"),
        pod(one.client.name, one.client.ip, app="client", node=f"{one.cluster}-1"),
    )


def web(directory: Objects, one: Side, *, http: int = HTTP) -> None:
    """A service of three ports, with a pod that speaks mTLS."""
    ports = {"http": (http, TARGETS["http"]), "tcp-db": (TCP, TARGETS["tcp-db"]), "grpc": (GRPC, TARGETS["grpc"])}
    directory.put("web.yaml", service("web", ports, ip="10.96.0.11"), pod(one.web.name, one.web.ip, node=f"{one.cluster}-1"))
    directory.put("web-slice.json", slice_of("web", TARGETS, [endpoint(one.web.name, one.web.ip)]))


def _others(directory: Objects) -> None:
    directory.put(
        "others.yaml",
        service("store", {"http": (9081, 18081)}, ip="None"),
        pod("store-1", "10.0.3.1"),
        slice_of("store", {"http": 18081}, [endpoint("store-1", "10.0.3.1")]),
        service("plain", {"http": (9082, 18082)}, ip="10.96.0.3"),
        pod("plain-1", "10.0.4.1", labels={}),
        slice_of("plain", {"http": 18082}, [endpoint("plain-1", "10.0.4.1")]),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "outside", "namespace": "demo"},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"name": "http", "port": 9083}]},
        },
    )


def extra(name: str, number: int, *, port: int = 9090) -> list[Object]:
    """One more service with a pod."""
    ip = f"10.0.9.{number}"
    target = {"http": 18090}
    return [
        service(name, {"http": (port, 18090)}, ip=f"10.96.9.{number}"),
        pod(f"{name}-1", ip),
        slice_of(name, target, [endpoint(f"{name}-1", ip)]),
    ]


def fqdn(name: str) -> str:
    return f"{name}.demo.svc.cluster.local"


def outbound(name: str, port: int) -> str:
    return f"outbound|{port}||{fqdn(name)}"


def through(name: str, port: int) -> str:
    """The cluster by which a gateway passes on."""
    return f"outbound_.{port}_._.{fqdn(name)}"
