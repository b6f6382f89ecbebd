"""Captured connections through real Envoys: two pods in network namespaces, with Istio's own rules, made of what the pipeline says."""

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from steersman.lab.netns import inside
from steersman.model.config import MeshConfig
from steersman.model.facts import LeafKey, Origin, Upsert
from steersman.model.ids import ClusterID, SpiffeID
from steersman.model.objects import Kind, Protocol
from steersman.model.proxy import Interception, Proxy
from steersman.names import SHORT_TYPES
from tests.support.ads import FixedADS
from tests.support.capture import Wire
from tests.support.mesh import MTLS, V6, Mesh, cluster, pod, port, service, slice_of
from tests.support.pki import Authority
from tests.support.running import Envoy, http_app, tcp_app
from tests.support.served import resources_of, sidecar

pytestmark = [pytest.mark.envoy, pytest.mark.netns]

CLIENT, WEB, KAFKA_0, KAFKA_1 = (f"10.77.0.{number}" for number in range(1, 5))
CLIENT_6, WEB_6 = "fd77::1", "fd77::2"
WEB_VIP, WEB_VIP_6, RAW_VIP = "10.96.0.1", "fd96::1", "10.96.0.2"


class World(NamedTuple):
    wire: Wire
    envoys: dict[str, Envoy]


def mesh() -> Mesh:
    web = (port(9080, target=8080), port(3306, "tcp", Protocol.TCP, 3306))
    numbers = (("http", 8080), ("tcp", 3306))
    raw = (port(9080, "tcp", Protocol.TCP, 3306),)
    kafka = (port(9092, "tcp", Protocol.TCP, 9092),)
    return Mesh(
        MeshConfig(),
        cluster("east", "net-east"),
        service("east", "web", cluster_ips=(WEB_VIP, WEB_VIP_6), ports=web, selector={"app": "web"}),
        slice_of("east", "web", f"{WEB}=web-1", ports=numbers),
        slice_of("east", "web", f"{WEB_6}=web-1", ports=numbers, family=V6, name="web-6"),
        service("east", "raw", cluster_ips=(RAW_VIP,), ports=raw),
        slice_of("east", "raw", f"{WEB}=web-1", ports=(("tcp", 3306),)),
        service("east", "kafka", headless=True, ports=kafka),
        slice_of("east", "kafka", f"{KAFKA_0}=kafka-0", f"{KAFKA_1}=kafka-1", ports=(("tcp", 9092),)),
        pod("east", "web-1", WEB, WEB_6, labels={**MTLS, "app": "web"}, service_account="web"),
        pod("east", "kafka-0", KAFKA_0, service_account="web"),
        pod("east", "kafka-1", KAFKA_1, service_account="web"),
        pod("east", "client-1", CLIENT, CLIENT_6, service_account="client"),
    )


def identity(name: str) -> SpiffeID:
    return SpiffeID(f"spiffe://cluster.local/ns/default/sa/{name}")


def world_with(server: Interception) -> Iterator[World]:
    made, authority = mesh(), Authority()
    proxies: dict[str, Proxy] = {
        "client": sidecar(CLIENT, name="client-1", instance_ips=(CLIENT, CLIENT_6)),
        "web": sidecar(WEB, name="web-1", instance_ips=(WEB, WEB_6), interception=server),
    }
    made.tell(Upsert(kind=Kind.ROOT, key="", value=authority.root, origin=Origin(source="ca")))
    nodes: dict[str, Any] = {}
    for account, proxy in proxies.items():
        leaf = LeafKey(cluster=ClusterID("east"), identity=identity(account))
        made.tell(Upsert(kind=Kind.LEAF, key=leaf, value=authority.leaf(leaf.identity), origin=Origin(source="ca")))
        made.put(proxy)
        nodes[proxy.id] = {type_url: resources_of(made, proxy, type_url) for type_url in SHORT_TYPES.values()}
    with Wire((CLIENT, CLIENT_6), (WEB, KAFKA_0, KAFKA_1, WEB_6)) as wire, ExitStack() as stack:
        ads = stack.enter_context(FixedADS(nodes, f"unix:{wire.directory / 'xds.sock'}"))
        (wire.directory / "xds.sock").chmod(0o777)
        with inside(wire.server.name):
            stack.enter_context(http_app(WEB, 8080))
            stack.enter_context(http_app(WEB_6, 8080))
            stack.enter_context(http_app(WEB, 9999))
            stack.enter_context(tcp_app(WEB, 3306, "web"))
            stack.enter_context(tcp_app(WEB_6, 3306, "web over IPv6"))
            stack.enter_context(tcp_app(WEB, 9080, "nobody's port"))
            stack.enter_context(tcp_app(KAFKA_0, 9092, "kafka-0"))
            stack.enter_context(tcp_app(KAFKA_1, 9092, "kafka-1"))
        wire.client.capture()
        wire.server.capture(transparent=server is Interception.TPROXY)
        pods = {"client": wire.client, "web": wire.server}
        envoys = {name: stack.enter_context(wire.proxied(pods[name], proxy.id, ads.address)) for name, proxy in proxies.items()}
        yield World(wire, envoys)
        assert ads.rejected == []
        for name, running in envoys.items():
            refused = {stat: value for stat, value in running.stats(".*update_rejected$").items() if value}
            assert refused == {}, f"{name} rejected updates"
            assert running.warnings() == [], f"{name} warned"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    yield from world_with(Interception.REDIRECT)


def get(world: World, address: str, number: int, host: str) -> dict[str, Any]:
    """GET / by the client pod's application: status, the peer's URI as the application was told, and its address as it saw it."""
    connection = http.client.HTTPConnection(address, number, timeout=10)
    connection.sock = world.wire.client.connect(address, number)
    try:
        connection.request("GET", "/", headers={"Host": host})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    seen: Any = json.loads(body) if answer.status == 200 else {"headers": {}, "client": ""}
    certificate = {name.lower(): value for name, value in seen["headers"].items()}.get("x-forwarded-client-cert", "")
    parts = dict(part.split("=", 1) for part in certificate.split(";") if part)
    return {"status": answer.status, "peer": parts.get("URI", ""), "client": seen["client"]}


def greeting(world: World, address: str, number: int, said: bytes = b"") -> bytes:
    """What a TCP server says first."""
    with world.wire.client.connect(address, number) as sock:
        if said:
            sock.sendall(said)
        try:
            return sock.recv(100)
        except ConnectionError:
            return b""


@pytest.mark.parametrize("address", [WEB_VIP, WEB_VIP_6, "203.0.113.9"])
@pytest.mark.parametrize("host", ["web", "web.default.svc.cluster.local:9080"])
def test_http_goes_by_host_whatever_the_address_over_mtls(world: World, address: str, host: str) -> None:
    answer = get(world, address, 9080, host)
    assert (answer["status"], answer["peer"]) == (200, identity("client"))


@pytest.mark.parametrize(("address", "says"), [(WEB_VIP, b"hello from web\n"), (WEB_VIP_6, b"hello from web\n")])
def test_tcp_goes_by_address_over_mtls(world: World, address: str, says: bytes) -> None:
    before = handshakes(world)
    assert greeting(world, address, 3306) == says
    assert handshakes(world) == before + 1


def handshakes(world: World) -> int:
    """Completed ones at the web pod."""
    return sum(world.envoys["web"].stats(r"^listener\.0\.0\.0\.0_15006\.ssl\.handshake$").values())


def test_a_tcp_service_on_a_port_of_http_services_is_told_by_its_address_even_where_the_server_speaks_first(world: World) -> None:
    assert greeting(world, RAW_VIP, 9080) == b"hello from web\n"


def test_what_is_not_http_on_an_http_port_passes_to_where_it_was_sent(world: World) -> None:
    assert greeting(world, WEB, 9080, said=b"\x00\x01 no HTTP\r\n\r\n").startswith(b"hello from nobody's port\n")


def test_an_unknown_host_passes_to_where_it_was_sent(world: World) -> None:
    answer = get(world, WEB, 9999, "example.com")
    assert (answer["status"], answer["peer"]) == (200, "")


@pytest.mark.parametrize(("address", "says"), [(KAFKA_0, b"hello from kafka-0\n"), (KAFKA_1, b"hello from kafka-1\n")])
def test_whoever_dials_one_pod_of_a_headless_service_gets_that_pod_over_mtls(world: World, address: str, says: bytes) -> None:
    before = handshakes(world)
    assert [greeting(world, address, 9092) for _ in range(4)] == [says] * 4
    assert handshakes(world) == before + 4


@pytest.mark.parametrize(("address", "number"), [(CLIENT, 15001), (CLIENT, 15006)])
def test_a_connection_to_a_capture_port_itself_goes_nowhere(world: World, address: str, number: int) -> None:
    assert greeting(world, address, number, said=b"GET / HTTP/1.1\r\nHost: web\r\n\r\n") == b""


@pytest.fixture
def transparent() -> Iterator[World]:
    yield from world_with(Interception.TPROXY)


def test_tproxy_shows_the_application_the_address_of_its_caller(world: World, transparent: World) -> None:
    redirected, kept = get(world, WEB_VIP, 9080, "web"), get(transparent, WEB_VIP, 9080, "web")
    assert redirected["client"] == "127.0.0.6"
    assert (kept["status"], kept["peer"], kept["client"]) == (200, identity("client"), CLIENT)
