"""A mesh with one of everything, and a proxy of every kind."""

from typing import Any

from steersman.model.config import MeshConfig
from steersman.model.facts import Leaf, LeafKey, Origin, Root, Upsert
from steersman.model.objects import GatewayServer, Kind, Protocol, ServiceType, SliceEndpoint, TLSMode
from steersman.model.proxy import Interception, Proxy
from steersman.names import SESSION_LABEL, spiffe_id
from tests.support.mesh import MTLS, V6, Mesh, cluster, gateway, gateway_service, node, pod, port, service, slice_of
from tests.support.served import bound, router, sidecar

EASTWEST = {"istio": "eastwest"}
APP = {**MTLS, "app": "reviews", "version": "v1", "pod-template-hash": "5b6f"}

CAPTURED = sidecar(labels=(("app", "reviews"),), service_account="client")
FETCHING = sidecar("10.0.0.19", name="fetching", on_demand_clusters=True, service_account="client")
TRANSPARENT = sidecar("10.0.0.10", name="transparent", interception=Interception.TPROXY, service_account="client")
BOUND = bound("10.0.0.1", name="reviews-v1-5b6f-a", outbound_address="127.0.0.9", app_address="127.0.0.1", service_account="reviews")
DUAL = sidecar("10.0.0.11", name="dual", instance_ips=("10.0.0.11", "fd00::11"), service_account="client")
LOST = sidecar("", name="lost", cluster="", namespace="default", service_account="client")
BARE = Proxy(id="envoy", bare=True, interception=Interception.NONE)
EASTWEST_GATEWAY = router(labels=tuple(EASTWEST.items()), service_account="eastwest")
INGRESS = router("10.0.0.12", name="ingress", labels=(("istio", "ingress"),), service_account="ingress")
GRPC = sidecar("10.0.0.13", name="grpc", generator="grpc", service_account="client")

PROXIES: dict[str, Proxy] = {
    "captured": CAPTURED,
    "captured, with clusters on demand": FETCHING,
    "transparent": TRANSPARENT,
    "bound": BOUND,
    "dual-stack": DUAL,
    "of no known cluster": LOST,
    "bare": BARE,
    "an east-west gateway": EASTWEST_GATEWAY,
    "an ingress gateway": INGRESS,
    "a gRPC client": GRPC,
}


def everything() -> Mesh:
    """Two networks with a gateway each, services of every type and protocol, and all of PROXIES connected."""
    return Mesh(
        MeshConfig(),
        cluster("east", "network-east"),
        cluster("west", "network-west", "west.example"),
        node("east", "n1", "europe", "a"),
        node("east", "n2", "europe", "b"),
        node("west", "n1", "asia", "c", "rack"),
        *_reviews(),
        *_others(),
        *_gateways(),
        *PROXIES.values(),
    )


def _reviews() -> list[Any]:
    ports = (
        port(9080, "http", Protocol.HTTP, 9080),
        port(9081, "grpc", Protocol.GRPC, 9081),
        port(9082, "http2-x", Protocol.HTTP2, 9082),
        port(9083, "tcp-x", Protocol.TCP, 9083),
        port(9084, "udp-x", Protocol.UDP, 9084),
    )
    numbers = tuple((one.name, one.port) for one in ports)
    return [
        service("east", "reviews", cluster_ips=("10.96.0.1", "fd00:96::1"), ports=ports, selector={"app": "reviews"}),
        slice_of("east", "reviews", "10.0.0.1=reviews-v1-5b6f-a", "10.0.0.2=reviews-v1-5b6f-b", "10.0.0.3", ports=numbers),
        slice_of("east", "reviews", "fd00::1=reviews-v1-5b6f-a", name="reviews-6", ports=numbers, family=V6),
        pod("east", "reviews-v1-5b6f-a", "10.0.0.1", "fd00::1", labels=APP, node="n1", service_account="reviews"),
        pod("east", "reviews-v1-5b6f-b", "10.0.0.2", labels=APP, node="n2", service_account="reviews"),
        service("west", "reviews", cluster_ips=("10.96.0.1",), ports=ports),
        slice_of("west", "reviews", "10.0.0.1=reviews-a", "10.0.0.4=reviews-plain", ports=numbers),
        pod("west", "reviews-a", "10.0.0.1", labels=APP, node="n1", service_account="western"),
        pod("west", "reviews-plain", "10.0.0.4", labels={}, node="n1"),
    ]


def _others() -> list[Any]:
    lasting = {SESSION_LABEL: "cookie"}
    db = (port(3306, "tcp", Protocol.TCP, 3306),)
    return [
        service("east", "db", headless=True, ports=db),
        slice_of("east", "db", "10.0.1.1=db-0", "10.0.1.2=db-1", ports=(("tcp", 3306),)),
        pod("east", "db-0", "10.0.1.1", node="n1"),
        pod("east", "db-1", "10.0.1.2", node="n2"),
        service("east", "outside", type=ServiceType.EXTERNAL_NAME, external_name="www.example.com"),
        service("east", "empty", cluster_ips=("10.96.0.9",)),
        service("west", "western", cluster_ips=("10.96.7.7",)),
        service("east", "lasting", cluster_ips=("10.96.0.10",), labels=lasting),
        slice_of("east", "lasting", SliceEndpoint.of("10.0.2.1", pod="l-0", ready=False, serving=True, terminating=True)),
        pod("east", "l-0", "10.0.2.1", labels={**MTLS, "app": "lasting"}, terminating=True),
        service("east", "private", namespace="hidden", cluster_ips=("10.96.0.11",), export_to=(".",)),
        service("east", "here", cluster_ips=("10.96.0.12",), node_local=True),
        slice_of("east", "here", "10.0.3.1=here-0"),
        pod("east", "here-0", "10.0.3.1", node="n1"),
        service("east", "dns", namespace="kube-system", cluster_ips=("10.96.0.13",), ports=(port(53, "dns-tcp", Protocol.TCP, 53),)),
        slice_of("east", "dns", "10.0.4.1", namespace="kube-system", ports=(("dns-tcp", 53),)),
    ]


def _gateways() -> list[Any]:
    passthrough = GatewayServer(port=15443, port_name="tls", protocol="TLS", hosts=("*.local",), tls_mode=TLSMode.AUTO_PASSTHROUGH)
    plain = GatewayServer(port=80, port_name="http", protocol="HTTP", hosts=("*",))
    mutual = GatewayServer(port=443, port_name="https", protocol="HTTPS", hosts=("*/*.example.com",), tls_mode=TLSMode.ISTIO_MUTUAL)
    return [
        gateway_service("east", "network-east", "192.0.2.1", selector=EASTWEST),
        gateway_service("west", "network-west", "192.0.2.2", "192.0.2.3", selector=EASTWEST),
        gateway("east", "eastwest", passthrough, selector=EASTWEST),
        gateway("east", "ingress", plain, mutual, selector={"istio": "ingress"}),
    ]


def certified(mesh: Mesh, root: bytes, chain: bytes, key: bytes) -> Mesh:
    """The mesh with this root, and this leaf for everyone; PEM."""
    origin = Origin(source="ca")
    facts = [Upsert(kind=Kind.ROOT, key="", value=Root(bundle=root), origin=origin)]
    for proxy in PROXIES.values():
        domain = "west.example" if proxy.cluster == "west" else "cluster.local"
        leaf = LeafKey(proxy.cluster, spiffe_id(domain, proxy.namespace, proxy.service_account or "default"))
        facts.append(Upsert(kind=Kind.LEAF, key=leaf, value=Leaf(chain=chain, key=key), origin=origin))
    mesh.tell(*facts)
    return mesh
