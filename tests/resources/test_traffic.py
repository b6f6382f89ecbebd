"""Real requests through real Envoys, made of what the pipeline says and nothing else: interception NONE and gateways, on loopback."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from steersman.model.config import MeshConfig, Passthrough
from steersman.model.facts import LeafKey, Origin, Upsert
from steersman.model.ids import ClusterID, SpiffeID
from steersman.model.objects import GatewayServer, Kind, Protocol, TLSMode
from steersman.model.proxy import Proxy
from steersman.names import SHORT_TYPES
from tests.support.ads import FixedADS
from tests.support.mesh import MTLS, Mesh, cluster, gateway, pod, port, service, slice_of
from tests.support.pki import Authority
from tests.support.running import Envoy, http_app, loopback, running_envoy, tcp_app
from tests.support.served import bound, resources_of, router

pytestmark = pytest.mark.envoy

WEB_POD, WEB_APP, CLIENT, CLIENT_OUT, GATEWAY, SNI_GATEWAY, WEB_OUT = (loopback(number) for number in range(1, 8))
HTTP_PORT, TCP_PORT, SERVICE_PORT = 8080, 3306, 9080
FQDN = "web.default.svc.cluster.local"
ALPN = ["istio-peer-exchange", "istio"]


class World(NamedTuple):
    mesh: Mesh
    authority: Authority
    ads: FixedADS
    envoys: dict[str, Envoy]
    directory: Path


def identity(name: str, trust_domain: str = "cluster.local") -> str:
    return f"spiffe://{trust_domain}/ns/default/sa/{name}"


def mesh_of(passthrough: Passthrough) -> Mesh:
    servers = (
        GatewayServer(port=15443, port_name="tls", protocol="TLS", hosts=("*.local",), tls_mode=TLSMode.AUTO_PASSTHROUGH),
        GatewayServer(port=8000, port_name="http", protocol="HTTP", hosts=("*.local",)),
        GatewayServer(port=8443, port_name="https", protocol="HTTPS", hosts=("*.local",), tls_mode=TLSMode.ISTIO_MUTUAL),
    )
    ports = (port(SERVICE_PORT, target=HTTP_PORT), port(TCP_PORT, "tcp", Protocol.TCP, TCP_PORT))
    return Mesh(
        MeshConfig(passthrough=passthrough),
        cluster("east"),
        service("east", "web", cluster_ips=("10.1.0.1", "fd00::1"), ports=ports, selector={"app": "web"}),
        service("east", "plain", ports=(port(SERVICE_PORT, target=HTTP_PORT),)),
        slice_of("east", "web", f"{WEB_POD}=web-1", ports=(("http", HTTP_PORT), ("tcp", TCP_PORT))),
        pod("east", "web-1", WEB_POD, labels={**MTLS, "app": "web"}, service_account="web"),
        pod("east", "client-1", CLIENT, service_account="client"),
        gateway("east", "gw", *servers),
    )


def proxies() -> dict[str, Proxy]:
    return {
        "web": bound(WEB_POD, name="web-1", app_address=WEB_APP, outbound_address=WEB_OUT),
        "client": bound(CLIENT, name="client-1", outbound_address=CLIENT_OUT),
    }


def tables_of(mesh: Mesh, authority: Authority, proxy: Proxy, account: str) -> dict[str, Any]:
    leaf = LeafKey(cluster=ClusterID("east"), identity=SpiffeID(identity(account)))
    mesh.tell(
        Upsert(kind=Kind.LEAF, key=leaf, value=authority.leaf(leaf.identity), origin=Origin(source="ca")),
        Upsert(kind=Kind.ROOT, key="", value=authority.root, origin=Origin(source="ca")),
    )
    mesh.put(proxy)
    return {type_url: resources_of(mesh, proxy, type_url) for type_url in SHORT_TYPES.values()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory, authority = tmp_path_factory.mktemp("envoys"), Authority()
    mesh = mesh_of(Passthrough.FILTER_CHAINS)
    nodes: dict[str, dict[str, Any]] = {}
    addresses: dict[str, tuple[Proxy, str]] = {}
    for account, proxy in proxies().items():
        nodes[proxy.id] = tables_of(mesh, authority, proxy, account)
        addresses[account] = (proxy, proxy.ip)
    for name, address, made in (("gw", GATEWAY, mesh), ("sni-gw", SNI_GATEWAY, mesh_of(Passthrough.SNI_CLUSTER))):
        proxy = router(address, name=name, namespace="default", service_account="gw")
        tables = tables_of(made, authority, proxy, "gw")
        nodes[proxy.id] = tables
        addresses[name] = (proxy, address)
    with ExitStack() as stack:
        stack.enter_context(http_app(WEB_APP, HTTP_PORT))
        stack.enter_context(tcp_app(WEB_APP, TCP_PORT))
        ads = stack.enter_context(FixedADS(nodes))
        envoys = {
            name: stack.enter_context(running_envoy(proxy.id, ads.address, directory, address))
            for name, (proxy, address) in addresses.items()
        }
        yield World(mesh, authority, ads, envoys, directory)
        assert ads.rejected == []
        for name, running in envoys.items():
            refused = {stat: value for stat, value in running.stats(".*update_rejected$").items() if value}
            assert refused == {}, f"{name} rejected updates"
            assert running.log.read_text() == "", f"{name} warned"
