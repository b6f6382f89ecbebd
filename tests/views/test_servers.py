"""What a router listens for, and whom its servers' hosts admit."""

from typing import Any

import pytest

from steersman.model.config import MeshConfig, Passthrough
from steersman.model.objects import GatewayServer, Protocol, ServiceType, TLSMode
from steersman.views.collections import ROUTERS, SERVERS
from steersman.views.listeners import HostPattern, MutualServer, PassthroughService, Refusal, ServerKind, Servers
from steersman.views.scopes import Router
from steersman.views.servers import parse_host
from tests.support.mesh import Mesh, cluster, gateway, key, pod, port, port_key, service, slice_of
from tests.support.served import router, sidecar

EASTWEST = {"istio": "eastwest"}
DB = port(3306, "tcp", Protocol.TCP, 3306)


def server(number: int = 15443, *hosts: str, mode: TLSMode = TLSMode.AUTO_PASSTHROUGH, protocol: str = "", **fields: Any) -> GatewayServer:
    protocol = protocol or ("HTTP" if mode is TLSMode.NONE else "TLS")
    return GatewayServer(port=number, port_name=f"port-{number}", protocol=protocol, hosts=hosts or ("*",), tls_mode=mode, **fields)


def http(number: int = 80, *hosts: str, **fields: Any) -> GatewayServer:
    return server(number, *hosts, mode=TLSMode.NONE, **fields)


def mutual(number: int, *hosts: str, **fields: Any) -> GatewayServer:
    return server(number, *hosts, mode=TLSMode.ISTIO_MUTUAL, protocol="HTTPS", **fields)


def meshed(name: str, *ports: Any, address: str = "10.0.0.1", namespace: str = "default", **fields: Any) -> list[Any]:
    """A service with an mTLS endpoint."""
    return [
        service("east", name, ports=ports or (port(),), namespace=namespace, **fields),
        slice_of("east", name, f"{address}={name}-1", namespace=namespace),
        pod("east", f"{name}-1", address, namespace=namespace),
    ]


def east(*rows: Any, mesh: MeshConfig | None = None) -> Mesh:
    return Mesh(mesh or MeshConfig(), cluster("east"), *rows)


def scope_of(mesh: Mesh, proxy: Any) -> Router:
    mesh.put(proxy)
    found = mesh.ask(ROUTERS, proxy.id)
    assert found is not None
    return found


def servers_of(mesh: Mesh, proxy: Any = None) -> Servers:
    return mesh.ask(SERVERS, scope_of(mesh, proxy or router(labels=(("istio", "eastwest"),))))


# -- which Gateways -----------------------------------------------------------------------------------------------------------


def test_gateways_of_the_routers_cluster_select_it_by_its_labels() -> None:
    mesh = east(
        gateway("east", "mine", http(), selector=EASTWEST),
        gateway("east", "everyones", http(81), namespace="default"),
        gateway("east", "others", http(82), selector={"istio": "ingress"}),
        gateway("west", "foreign", http(83), selector=EASTWEST),
    )
    found = scope_of(mesh, router(labels=(("istio", "eastwest"),)))
    assert found.gateways == (key("east", "everyones"), key("east", "mine", "istio-system"))
    mesh.put(pod("east", "gw", "10.0.0.8", namespace="istio-system", labels={"istio": "ingress"}))
    assert scope_of(mesh, router(labels=(("istio", "eastwest"),))).gateways == (
        key("east", "everyones"),
        key("east", "others", "istio-system"),
    )


def test_a_server_listens_on_the_target_of_the_service_port_that_it_names() -> None:
    mesh = east(
        gateway("east", "gw", http(80), http(8000)),
        service("east", "gw", namespace="istio-system", ports=(port(80, target=8080), port(81, target=8081)), selector=EASTWEST),
        pod("east", "gw-1", "10.0.0.8", namespace="istio-system", labels=EASTWEST),
        *meshed("web"),
    )
    assert scope_of(mesh, router()).targets == ((80, 8080),)
    found = servers_of(mesh, router())
    assert [(item.name, item.port, item.route) for item in found.ports] == [
        ("0.0.0.0_8000", 8000, "http.8000"),
        ("0.0.0.0_8080", 8080, "http.8080"),
    ]


def test_only_routers_have_servers() -> None:
    mesh = east(gateway("east", "gw", http()))
    mesh.put(sidecar())
    assert mesh.ask(ROUTERS, sidecar().id) is None
    assert mesh.ask(ROUTERS, "router~~nobody.default~cluster.local") is None
    assert scope_of(mesh, router(cluster="nowhere")).gateways == ()


# -- hosts --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("*", HostPattern("", "*")),
        ("*.local", HostPattern("", "*.local")),
        ("Reviews.Default.svc.cluster.local", HostPattern("", "reviews.default.svc.cluster.local")),
        ("*/*.local", HostPattern("", "*.local")),
        ("./*", HostPattern("istio-system", "*")),
        ("default/reviews.default.svc.cluster.local", HostPattern("default", "reviews.default.svc.cluster.local")),
        ("", None),
        ("*local", None),
        ("a.*.local", None),
        ("default/", None),
        ("/a.local", None),
        ("a b", None),
        ("-a.local", None),
    ],
)
def test_a_host_is_a_name_or_a_wildcard_perhaps_of_one_namespace(text: str, pattern: HostPattern | None) -> None:
    assert parse_host(text, "istio-system") == pattern


@pytest.mark.parametrize(
    ("text", "host", "covered"),
    [
        ("*", "reviews.default.svc.cluster.local", True),
        ("*.local", "reviews.default.svc.cluster.local", True),
        ("*.default.svc.cluster.local", "reviews.default.svc.cluster.local", True),
        ("*.shop.svc.cluster.local", "reviews.default.svc.cluster.local", False),
        ("reviews.default.svc.cluster.local", "reviews.default.svc.cluster.local", True),
        ("views.default.svc.cluster.local", "reviews.default.svc.cluster.local", False),
        ("*.reviews.default.svc.cluster.local", "reviews.default.svc.cluster.local", False),
        ("default/*", "reviews.default.svc.cluster.local", True),
        ("shop/*", "reviews.default.svc.cluster.local", False),
        ("./*", "reviews.default.svc.cluster.local", False),
        ("*/*", "reviews.default.svc.cluster.local", True),
    ],
)
def test_a_host_covers_what_is_a_subset_of_it(text: str, host: str, covered: bool) -> None:
    pattern = parse_host(text, "istio-system")
    assert pattern is not None
    assert pattern.covers(host, "default") is covered


# -- AUTO_PASSTHROUGH ---------------------------------------------------------------------------------------------------------


def test_passthrough_admits_by_host_exportto_and_mtls() -> None:
    mesh = east(
        gateway("east", "gw", server(15443, "*.default.svc.cluster.local"), selector=EASTWEST),
        *meshed("reviews", port(9080), DB),
        *meshed("private", address="10.0.0.2", export_to=(".",)),
        *meshed("elsewhere", address="10.0.0.3", namespace="shop"),
        service("east", "plain"),
        slice_of("east", "plain", "10.0.0.4=plain-1"),
        pod("east", "plain-1", "10.0.0.4", labels={}),
        service("east", "external", type=ServiceType.EXTERNAL_NAME, external_name="example.com"),
    )
    found = servers_of(mesh)
    (listener,) = found.ports
    assert (listener.name, listener.kind, listener.patterns) == ("0.0.0.0_15443", ServerKind.TLS, None)
    assert listener.passthrough == (
        PassthroughService(port_key("reviews", 3306), "outbound_.3306_._.reviews.default.svc.cluster.local", Protocol.TCP),
        PassthroughService(port_key("reviews", 9080), "outbound_.9080_._.reviews.default.svc.cluster.local", Protocol.HTTP),
    )
    assert found.passthrough == listener.passthrough
    assert [(item.service, item.reason, item.gateway, item.index) for item in found.refused] == [
        (port_key("plain"), Refusal.NOT_MTLS, key("east", "gw", "istio-system"), 0)
    ]


def test_a_namespace_that_exports_to_the_gateways_is_admitted() -> None:
    mesh = east(gateway("east", "gw", server()), *meshed("private", export_to=("istio-system",)))
    assert [item.service.name for item in servers_of(mesh).passthrough] == ["private"]


def test_a_service_is_admitted_from_its_first_mtls_endpoint_on_ready_or_not() -> None:
    mesh = east(gateway("east", "gw", server()), service("east", "web"))
    assert servers_of(mesh).ports == ()
    mesh.put(slice_of("east", "web", "10.0.0.1=web-1"), pod("east", "web-1", "10.0.0.1"))
    assert [item.sni for item in servers_of(mesh).passthrough] == ["outbound_.80_._.web.default.svc.cluster.local"]


def test_a_networks_gateway_is_never_let_in_by_sni_since_its_own_chain_would_lead_back_to_it() -> None:
    labelled = {"topology.istio.io/network": "network-east"}
    gateways = meshed("eastwest", port(15443), namespace="istio-system", selector=EASTWEST, labels=labelled, external_ips=("192.0.2.1",))
    again = meshed("again", port(15443), address="10.0.0.2", namespace="istio-system", selector={"app": "gw", **EASTWEST})
    beside = meshed("beside", port(15443), address="10.0.0.3", namespace="istio-system", selector={"app": "gw"})
    mesh = east(gateway("east", "gw", server()), *gateways, *again, *beside)
    found = servers_of(mesh)
    assert [item.service.name for item in found.passthrough] == ["beside"]
    assert [(item.service.name, item.reason) for item in found.refused if item.service] == [
        ("again", Refusal.NETWORK_GATEWAY),
        ("eastwest", Refusal.NETWORK_GATEWAY),
    ]


def test_servers_of_several_gateways_on_one_port_are_one_listener() -> None:
    mesh = east(
        gateway("east", "first", server(15443, "web.default.svc.cluster.local")),
        gateway("east", "second", server(15443, "db.default.svc.cluster.local", "web.default.svc.cluster.local")),
        *meshed("web"),
        *meshed("db", DB, address="10.0.0.2"),
    )
    (listener,) = servers_of(mesh).ports
    assert [item.service.name for item in listener.passthrough] == ["db", "web"]


@pytest.mark.parametrize(
    ("hosts", "patterns"),
    [
        (("*",), ("*",)),
        (("*.local",), ("*.local",)),
        (("reviews.default.svc.cluster.local",), ("*.reviews.default.svc.cluster.local",)),
        (("default/*",), ("*.default.svc.cluster.local",)),
        (("default/*.local",), ("*.default.svc.cluster.local",)),
        (("default/*.reviews.default.svc.cluster.local",), ("*.reviews.default.svc.cluster.local",)),
        (("default/reviews.default.svc.cluster.local",), ("*.reviews.default.svc.cluster.local",)),
        (("shop/reviews.default.svc.cluster.local", "shop/*.com", "b.local"), ("*.b.local",)),
    ],
)
def test_with_sni_cluster_the_hosts_themselves_say_which_sni_may_pass(hosts: tuple[str, ...], patterns: tuple[str, ...]) -> None:
    mesh = east(gateway("east", "gw", server(15443, *hosts)), *meshed("reviews"), mesh=MeshConfig(passthrough=Passthrough.SNI_CLUSTER))
    (listener,) = servers_of(mesh).ports
    assert listener.patterns == patterns


# -- HTTP ---------------------------------------------------------------------------------------------------------------------


def test_http_servers_route_to_services_by_those_of_their_names_that_the_hosts_admit() -> None:
    mesh = east(
        gateway("east", "gw", http(80, "*.default.svc.cluster.local", "shop.default")),
        service("east", "web", ports=(port(80), port(8080, "http-2"))),
        service("east", "shop", ports=(port(9080),)),
        service("east", "db", ports=(DB,)),
        service("east", "elsewhere", namespace="shop"),
    )
    found = servers_of(mesh)
    assert [(item.name, item.kind, item.route) for item in found.ports] == [("0.0.0.0_80", ServerKind.HTTP, "http.80")]
    assert {host.name: (host.cluster, host.domains) for host in dict(found.routes)["http.80"]} == {
        "web.default.svc.cluster.local:80": ("outbound|80||web.default.svc.cluster.local", ("web.default.svc.cluster.local",)),
        "shop.default.svc.cluster.local:9080": (
            "outbound|9080||shop.default.svc.cluster.local",
            ("shop.default.svc.cluster.local", "shop.default"),
        ),
    }
    assert found.refused == ()


def test_an_http_server_prefers_the_service_port_of_its_own_number() -> None:
    mesh = east(gateway("east", "gw", http(8080)), service("east", "web", ports=(port(80), port(8080, "http-2"))))
    (host,) = dict(servers_of(mesh).routes)["http.8080"]
    assert host.cluster == "outbound|8080||web.default.svc.cluster.local"


def test_a_server_with_an_address_has_a_listener_and_a_route_of_its_own() -> None:
    mesh = east(gateway("east", "gw", http(80, bind="127.0.0.5"), http(80), http(81, bind="unix://x")))
    found = servers_of(mesh)
    assert [(item.name, item.bind, item.route) for item in found.ports] == [
        ("0.0.0.0_80", "", "http.80"),
        ("127.0.0.5_80", "127.0.0.5", "http.80.127.0.0.5"),
    ]
    assert [(item.index, item.reason) for item in found.refused] == [(2, Refusal.BAD_BIND)]


# -- mTLS that ends here ------------------------------------------------------------------------------------------------------


def test_istio_mutual_servers_end_tls_and_route_by_host() -> None:
    mesh = east(
        gateway("east", "gw", mutual(443, "web.default.svc.cluster.local", "*.com"), server(443, "*.local")),
        *meshed("web"),
    )
    found = servers_of(mesh)
    (listener,) = found.ports
    route = "https.443.port-443.gw.istio-system"
    assert listener.mutual == (MutualServer(route, ("*.com", "web.default.svc.cluster.local")),)
    assert [item.service.name for item in listener.passthrough] == ["web"]
    assert [host.domains for host in dict(found.routes)[route]] == [("web.default.svc.cluster.local",)]


def test_two_istio_mutual_servers_cant_have_one_name_on_a_port() -> None:
    """Envoy refuses a listener with two filter chains of one match."""
    mesh = east(
        gateway("east", "younger", mutual(443, "a.com", "b.com"), created="2025"),
        gateway("east", "older", mutual(443, "a.com"), created="2024"),
    )
    found = servers_of(mesh)
    assert [item.server_names for item in found.ports[0].mutual] == [("a.com",), ("b.com",)]
    assert [(item.gateway.name, item.host, item.reason, item.holder) for item in found.refused] == [
        ("younger", "a.com", Refusal.SERVER_CONFLICT, key("east", "older", "istio-system"))
    ]


# -- refused ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (server(443, mode=TLSMode.SIMPLE, protocol="HTTPS"), Refusal.UNSUPPORTED_TLS),
        (server(443, mode=TLSMode.MUTUAL, protocol="HTTPS"), Refusal.UNSUPPORTED_TLS),
        (server(443, mode=TLSMode.OPTIONAL_MUTUAL, protocol="HTTPS"), Refusal.UNSUPPORTED_TLS),
        (server(443, mode=TLSMode.PASSTHROUGH), Refusal.UNSUPPORTED_TLS),
        (server(443, mode=TLSMode.ISTIO_MUTUAL), Refusal.UNSUPPORTED_PROTOCOL),
        (server(443, protocol="TCP"), Refusal.UNSUPPORTED_PROTOCOL),
        (http(443, protocol="HTTPS"), Refusal.UNSUPPORTED_PROTOCOL),
        (http(443, protocol="TCP"), Refusal.UNSUPPORTED_PROTOCOL),
        (http(443, protocol="MONGO"), Refusal.UNSUPPORTED_PROTOCOL),
    ],
)
def test_what_is_not_supported_is_refused_as_a_whole(refused: GatewayServer, reason: Refusal) -> None:
    found = servers_of(east(gateway("east", "gw", http(80), refused), *meshed("web")))
    assert [item.name for item in found.ports] == ["0.0.0.0_80"]
    assert [(item.index, item.reason) for item in found.refused] == [(1, reason)]


def test_a_bad_host_costs_only_itself() -> None:
    found = servers_of(east(gateway("east", "gw", http(80, "a.*.b", "*.local"), http(81, "*x")), service("east", "web")))
    assert [item.name for item in found.ports] == ["0.0.0.0_80"]
    assert [(item.index, item.host, item.reason) for item in found.refused] == [
        (0, "a.*.b", Refusal.BAD_HOST),
        (1, "*x", Refusal.BAD_HOST),
    ]


def test_http_and_tls_servers_cant_share_a_port() -> None:
    mesh = east(gateway("east", "young", server(80), created="2025"), gateway("east", "old", http(80), created="2024"), *meshed("web"))
    found = servers_of(mesh)
    assert [(item.name, item.kind) for item in found.ports] == [("0.0.0.0_80", ServerKind.HTTP)]
    assert [(item.gateway.name, item.reason, item.holder) for item in found.refused] == [
        ("young", Refusal.SERVER_CONFLICT, key("east", "old", "istio-system"))
    ]
