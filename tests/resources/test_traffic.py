"""Real requests through real Envoys, made of what the pipeline says and nothing else: interception NONE and gateways, on loopback."""

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest

from steersman.model.config import MeshConfig, Passthrough
from steersman.model.facts import LeafKey, Origin, Upsert
from steersman.model.ids import ClusterID, SpiffeID
from steersman.model.objects import GatewayServer, Kind, Protocol, TLSMode
from steersman.model.proxy import Proxy
from steersman.names import LDS, SHORT_TYPES
from steersman.resources.collections import OUTBOUND_LISTENERS
from steersman.views.listeners import TCPListener
from tests.support.ads import FixedADS
from tests.support.mesh import MTLS, Mesh, cluster, gateway, pod, port, service, slice_of
from tests.support.pki import Authority
from tests.support.running import Envoy, grpc_app, http_app, loopback, running_envoy, tcp_app
from tests.support.served import bound, resources_of, router, sidecar

pytestmark = pytest.mark.envoy

WEB_POD, WEB_APP, CLIENT, CLIENT_OUT, GATEWAY, SNI_GATEWAY, WEB_OUT = (loopback(number) for number in range(1, 8))
HTTP_PORT, TCP_PORT, GRPC_PORT, SERVICE_PORT = 8080, 3306, 50051, 9080
LATE_PORT = 9099
"""Where the client has a listener for TCP still, though the cluster that it leads to is gRPC's already."""
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


def mesh_of(passthrough: Passthrough, bind: str) -> Mesh:
    servers = (
        GatewayServer(port=15443, port_name="tls", protocol="TLS", hosts=("*.local",), tls_mode=TLSMode.AUTO_PASSTHROUGH, bind=bind),
        GatewayServer(port=8000, port_name="http", protocol="HTTP", hosts=("*.local",), bind=bind),
        GatewayServer(port=8443, port_name="https", protocol="HTTPS", hosts=("*.local",), tls_mode=TLSMode.ISTIO_MUTUAL, bind=bind),
    )
    ports = (
        port(SERVICE_PORT, target=HTTP_PORT),
        port(TCP_PORT, "tcp", Protocol.TCP, TCP_PORT),
        port(GRPC_PORT, "grpc", Protocol.GRPC, GRPC_PORT),
    )
    return Mesh(
        MeshConfig(passthrough=passthrough),
        cluster("east"),
        service("east", "web", cluster_ips=("10.1.0.1", "fd00::1"), ports=ports, selector={"app": "web"}),
        service("east", "plain", ports=(port(SERVICE_PORT, target=HTTP_PORT),)),
        slice_of("east", "web", f"{WEB_POD}=web-1", ports=(("http", HTTP_PORT), ("tcp", TCP_PORT), ("grpc", GRPC_PORT))),
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
    mesh = mesh_of(Passthrough.FILTER_CHAINS, GATEWAY)
    nodes: dict[str, dict[str, Any]] = {}
    addresses: dict[str, tuple[Proxy, str]] = {}
    for account, proxy in proxies().items():
        nodes[proxy.id] = tables = tables_of(mesh, authority, proxy, account)
        if account == "client":
            late = mesh.ask(OUTBOUND_LISTENERS, TCPListener(CLIENT_OUT, LATE_PORT, f"outbound|{GRPC_PORT}||{FQDN}", bound=True))
            tables[LDS][late.name] = late
        addresses[account] = (proxy, proxy.ip)
    for name, address, made in (("gw", GATEWAY, mesh), ("sni-gw", SNI_GATEWAY, mesh_of(Passthrough.SNI_CLUSTER, SNI_GATEWAY))):
        proxy = router(address, name=name, namespace="default", service_account="gw")
        tables = tables_of(made, authority, proxy, "gw")
        nodes[proxy.id] = tables
        addresses[name] = (proxy, address)
    nodes[grpc_client().id] = tables_of(mesh, authority, grpc_client(), "client")
    with ExitStack() as stack:
        stack.enter_context(http_app(WEB_APP, HTTP_PORT))
        stack.enter_context(tcp_app(WEB_APP, TCP_PORT))
        stack.enter_context(grpc_app(WEB_APP, GRPC_PORT))
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
            assert running.warnings() == [], f"{name} warned"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    seen: dict[str, Any]


def get(address: str, number: int, host: str, headers: dict[str, str] | None = None, sock: socket.socket | None = None) -> Answer:
    """GET /, with what the application saw of it."""
    connection = http.client.HTTPConnection(address, number, timeout=5)
    connection.sock = sock
    try:
        connection.request("GET", "/", headers={"Host": host, **(headers or {})})
        answer = connection.getresponse()
        body = answer.read()
        seen = json.loads(body) if answer.status == 200 else {}
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, seen)
    finally:
        connection.close()


def peer_of(answer: Answer) -> str:
    """The client's URI, as the application was told."""
    told: str = {name.lower(): value for name, value in answer.seen["headers"].items()}.get("x-forwarded-client-cert", "")
    return dict(part.split("=", 1) for part in told.split(";") if part).get("URI", "")


def tls(world: World, uri: str, authority: Authority | None = None, alpn: list[str] | None = None) -> ssl.SSLContext:
    """A client with a certificate for this URI, that looks at no one else's."""
    leaf = (authority or world.authority).leaf(uri)
    chain = world.directory / "client.pem"
    chain.write_bytes(leaf.chain + leaf.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(chain)
    context.set_alpn_protocols(ALPN if alpn is None else alpn)
    return context


def connected(context: ssl.SSLContext, address: str, number: int, sni: str = FQDN) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection((address, number), timeout=10), server_hostname=sni)


GET = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"


def answered(sock: socket.socket, said: bytes = GET) -> bytes:
    """All that comes back; nothing where the peer closes or resets."""
    got = b""
    try:
        sock.sendall(said)
        while data := sock.recv(4096):
            got += data
    except OSError:
        pass
    return got


# -- outbound -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", [form for name in ("web", "web.default", "web.default.svc", FQDN, "10.1.0.1", "WEB.Default") for form in (name, f"{name}:9080")]
)
def test_every_name_reaches_the_service_and_the_application_learns_who_calls(world: World, host: str) -> None:
    answer = get(CLIENT_OUT, SERVICE_PORT, host)
    assert answer.status == 200
    assert peer_of(answer) == identity("client")
    assert answer.headers["server"] == "the-application"


def test_an_absolute_name_with_its_dot_is_the_same_name(world: World) -> None:
    assert get(CLIENT_OUT, SERVICE_PORT, f"{FQDN}.").status == 200


def test_a_client_cant_say_who_it_is_by_a_header(world: World) -> None:
    forged = {"x-forwarded-client-cert": f"URI={identity('admin')}"}
    assert peer_of(get(CLIENT_OUT, SERVICE_PORT, "web", forged)) == identity("client")


def test_an_unknown_host_is_answered_502_since_nobody_knows_where_it_is(world: World) -> None:
    assert get(CLIENT_OUT, SERVICE_PORT, "example.com").status == 502
    assert get(CLIENT_OUT, SERVICE_PORT, "web:1234").status == 502


def test_http_1_0_is_served(world: World) -> None:
    with socket.create_connection((CLIENT_OUT, SERVICE_PORT), timeout=5) as sock:
        assert answered(sock, b"GET / HTTP/1.0\r\nHost: web\r\n\r\n").startswith(b"HTTP/1.0 200 OK")


def test_a_tcp_service_is_reached_by_its_port_over_mtls(world: World) -> None:
    before = handshakes(world)
    with socket.create_connection((CLIENT_OUT, TCP_PORT), timeout=5) as sock:
        assert sock.recv(100) == b"hello\n"
        sock.sendall(b"to and fro")
        assert sock.recv(100) == b"to and fro"
    assert handshakes(world) == before + 1


@pytest.mark.parametrize("authority", ["web:50051", f"{FQDN}:50051", "web.default"])
def test_grpc_goes_as_http_2_all_the_way(world: World, authority: str) -> None:
    with grpc.insecure_channel(f"{CLIENT_OUT}:{GRPC_PORT}", options=[("grpc.default_authority", authority)]) as channel:
        call: Any = channel.unary_unary("/echo/Metadata")
        told = call(b"", timeout=5)
    assert f"URI={identity('client')}" in json.loads(told)["x-forwarded-client-cert"]


@pytest.mark.parametrize("target", [f"{FQDN}:{GRPC_PORT}", f"web:{GRPC_PORT}"])
def test_a_grpc_client_without_a_proxy_dials_a_service_by_any_of_its_names(world: World, target: str) -> None:
    node = {"id": grpc_client().id, "cluster": "test"}
    server = {"server_uri": world.ads.address, "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}
    dialling = (
        "import grpc, sys\n"
        "channel = grpc.insecure_channel('xds:///' + sys.argv[1])\n"
        "sys.stdout.buffer.write(channel.unary_unary('/echo/Metadata')(b'', timeout=10))\n"
    )
    bootstrap = json.dumps({"xds_servers": [server], "node": node})
    ran = subprocess.run(
        [sys.executable, "-c", dialling, target],
        env={**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": bootstrap},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "user-agent" in json.loads(ran.stdout)


def test_bytes_are_not_called_http_2_though_their_cluster_is(world: World) -> None:
    """Clusters change before listeners do. Were they called so, the workload would close on whatever else they are."""
    with socket.create_connection((CLIENT_OUT, LATE_PORT), timeout=10) as sock:
        assert answered(sock).startswith(b"HTTP/1.1 ")


def grpc_client() -> Proxy:
    return sidecar(name="grpc-client", generator="grpc")


def handshakes(world: World) -> int:
    """Completed ones at the web's TCP listener."""
    found = world.envoys["web"].stats(f"^listener.{WEB_POD}_{TCP_PORT}.ssl.handshake$")
    return sum(found.values())


# -- inbound ------------------------------------------------------------------------------------------------------------------


def test_plaintext_is_taken_and_nobodys_word_for_who_calls(world: World) -> None:
    forged = {"x-forwarded-client-cert": f"URI={identity('admin')}"}
    answer = get(WEB_POD, HTTP_PORT, "whatever", forged)
    assert answer.status == 200
    assert peer_of(answer) == ""


def test_a_client_with_a_certificate_of_the_mesh_is_told_by_its_uri(world: World) -> None:
    with connected(tls(world, identity("anyone")), WEB_POD, HTTP_PORT) as sock:
        assert sock.selected_alpn_protocol() is None
        assert peer_of(get(WEB_POD, HTTP_PORT, "whatever", sock=sock)) == identity("anyone")


@pytest.mark.parametrize("number", [HTTP_PORT, TCP_PORT])
def test_a_foreign_root_another_trust_domain_and_no_certificate_are_refused(world: World, number: int) -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    bare.set_alpn_protocols(ALPN)
    for context in (
        tls(world, identity("anyone"), authority=Authority("another")),
        tls(world, identity("anyone", "elsewhere.example")),
        tls(world, identity("anyone", "cluster.local.example")),
        bare,
    ):
        assert refused(context, number)
    assert not refused(tls(world, identity("anyone")), number)


def refused(context: ssl.SSLContext, number: int) -> bool:
    """Whether the peer closes instead of answering (HTTP) or saying hello (TCP)."""
    try:
        with connected(context, WEB_POD, number) as sock:
            if number == HTTP_PORT:
                sock.sendall(GET)
            return sock.recv(100) == b""
    except OSError:
        return True


def test_tls_that_is_not_the_meshs_goes_to_a_tcp_application_as_it_is_and_to_no_http_one(world: World) -> None:
    hello = b"\x16\x03\x01"  # the application says hello in plaintext where it should answer in TLS
    with socket.create_connection((WEB_POD, TCP_PORT), timeout=5) as sock:
        client_hello = hello_of(tls(world, identity("anyone"), alpn=["h2"]))
        assert client_hello.startswith(hello)
        sock.sendall(client_hello)
        assert sock.recv(6) == b"hello\n"
    with socket.create_connection((WEB_POD, HTTP_PORT), timeout=5) as sock:
        assert answered(sock, client_hello) == b""


def hello_of(context: ssl.SSLContext) -> bytes:
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=FQDN)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def test_a_plaintext_client_that_waits_for_the_server_to_speak_first_is_served_after_a_while(world: World) -> None:
    with socket.create_connection((WEB_POD, TCP_PORT), timeout=10) as sock:
        assert sock.recv(100) == b"hello\n"


# -- gateways -----------------------------------------------------------------------------------------------------------------

GATEWAYS = [pytest.param(GATEWAY, id="filterChains"), pytest.param(SNI_GATEWAY, id="sniCluster")]


def sni(number: int = SERVICE_PORT, name: str = "web") -> str:
    return f"outbound_.{number}_._.{name}.default.svc.cluster.local"


@pytest.mark.parametrize("address", GATEWAYS)
def test_a_gateway_passes_mtls_on_by_sni_and_the_application_learns_who_calls(world: World, address: str) -> None:
    with connected(tls(world, identity("faraway")), address, 15443, sni()) as sock:
        assert peer_of(get(address, 15443, "web", sock=sock)) == identity("faraway")


@pytest.mark.parametrize("address", GATEWAYS)
@pytest.mark.parametrize(
    ("name", "alpn"),
    [
        pytest.param(sni(name="plain"), ALPN, id="a service without mTLS"),
        pytest.param(sni(1), ALPN, id="no such port"),
        pytest.param(sni(name="nobody"), ALPN, id="no such service"),
        pytest.param("www.example.com", ALPN, id="a name outside the hosts"),
        pytest.param(FQDN, ALPN, id="the service's own name"),
        pytest.param(sni(), ["h2"], id="another ALPN"),
        pytest.param(sni(), [], id="no ALPN"),
    ],
)
def test_a_gateway_closes_on_everything_else(world: World, address: str, name: str, alpn: list[str]) -> None:
    with socket.create_connection((address, 15443), timeout=5) as raw, pytest.raises(OSError, match=r"(?i)eof|reset|closed"):
        tls(world, identity("faraway"), alpn=alpn).wrap_socket(raw, server_hostname=name)


@pytest.mark.parametrize("address", GATEWAYS)
def test_a_gateway_closes_on_plaintext(world: World, address: str) -> None:
    with socket.create_connection((address, 15443), timeout=5) as sock:
        assert answered(sock) == b""


@pytest.mark.parametrize("address", GATEWAYS)
def test_no_sni_makes_a_gateway_vouch_for_its_caller(world: World, address: str) -> None:
    """The gateway has clusters that speak mTLS by its own certificate; a name of one of those as SNI must lead nowhere."""
    name = f"outbound|{SERVICE_PORT}||{FQDN}"
    context = tls(world, identity("faraway"))
    with socket.create_connection((address, 15443), timeout=5) as sock:
        sock.sendall(hello_of_any(context, name))
        assert answered(sock, b"") == b""


def hello_of_any(context: ssl.SSLContext, name: str) -> bytes:
    """A ClientHello with an SNI that no library would send: one of equal length is made, then rewritten."""
    stand_in = "a" * (len(name) - len(".local")) + ".local"
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=stand_in)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    said = out.read()
    assert said.count(stand_in.encode()) == 1
    return said.replace(stand_in.encode(), name.encode())


def test_an_http_server_routes_admitted_hosts_whatever_their_port_and_answers_404_to_others(world: World) -> None:
    assert get(GATEWAY, 8000, FQDN).status == 200
    assert get(GATEWAY, 8000, f"{FQDN}:31380").status == 200
    assert peer_of(get(GATEWAY, 8000, FQDN)) == identity("gw")
    assert get(GATEWAY, 8000, "web.default").status == 404
    assert get(GATEWAY, 8000, "example.com").status == 404


def test_an_istio_mutual_server_ends_mtls_and_takes_nobody_without_a_certificate_of_the_mesh(world: World) -> None:
    with connected(tls(world, identity("faraway")), GATEWAY, 8443) as sock:
        assert get(GATEWAY, 8443, FQDN, sock=sock).status == 200
    foreign = tls(world, identity("faraway"), authority=Authority("another"))
    with pytest.raises(OSError, match=r"(?i)alert|eof|reset"), connected(foreign, GATEWAY, 8443) as sock:
        get(GATEWAY, 8443, FQDN, sock=sock)
