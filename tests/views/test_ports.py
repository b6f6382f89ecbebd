"""Who gets which outbound listener, and by which names a service is called."""

from typing import Any

import pytest

from steersman.model.config import MeshConfig, OutboundTrafficPolicy
from steersman.model.ids import ClusterID, NetworkID, ServicePortKey
from steersman.model.objects import Protocol, ServiceType
from steersman.model.proxy import Interception
from steersman.registry.collections import MESH
from steersman.views.collections import OUTBOUND_PORTS, OUTBOUNDS, ROUTE_HOSTS
from steersman.views.listeners import (
    CaptureListener,
    HTTPClaim,
    HTTPListener,
    OutboundPorts,
    Refusal,
    Refused,
    RouteHosts,
    TCPListener,
    VirtualHost,
)
from steersman.views.ports import route_hosts_of, routes_scope
from steersman.views.scopes import Outbound
from tests.support.mesh import BOTH, V4, V6, Mesh, cluster, pod, port, port_key, service, slice_of
from tests.support.served import bound, router, sidecar

ONLY_V4 = frozenset({V4})


def tcp(number: int = 3306, name: str = "tcp") -> Any:
    return port(number, name, Protocol.TCP, number)


def http(number: int = 80, name: str = "http") -> Any:
    return port(number, name, Protocol.HTTP, 8080)


def ports_of(mesh: Mesh, proxy: Any) -> OutboundPorts:
    mesh.put(proxy)
    scope = mesh.ask(OUTBOUNDS, proxy.id)
    assert scope is not None
    return mesh.ask(OUTBOUND_PORTS, scope)


def by_host(ports: OutboundPorts) -> dict[int, list[ServicePortKey]]:
    return {number: [claim.service for claim in claims] for number, claims in ports.http}


def hosts_of(mesh: Mesh, proxy: Any, number: int = 80) -> RouteHosts:
    mesh.put(proxy)
    scope = mesh.ask(OUTBOUNDS, proxy.id)
    assert scope is not None
    return mesh.ask(ROUTE_HOSTS, (routes_scope(scope), number))


def domains(hosts: RouteHosts) -> dict[str, tuple[str, ...]]:
    return {host.name: host.domains for host in hosts.hosts}


def east(*rows: Any) -> Mesh:
    return Mesh(MeshConfig(), cluster("east", "net-east"), *rows)


def test_a_captured_proxy_gets_one_listener_for_each_http_port_and_one_for_each_tcp_address() -> None:
    mesh = east(
        service("east", "web", cluster_ips=("10.1.0.1",), ports=(http(80), http(9080, "http-2"))),
        service("east", "shop", cluster_ips=("10.1.0.2",), ports=(http(80),)),
        service("east", "db", cluster_ips=("10.1.0.3", "10.1.0.4"), ports=(tcp(3306), tcp(33060, "tcp-x"))),
    )
    found = ports_of(mesh, sidecar())
    cluster_of_db = "outbound|3306||db.default.svc.cluster.local"
    assert set(found.listeners) == {
        CaptureListener(ONLY_V4, transparent=False),
        HTTPListener(80, ONLY_V4),
        HTTPListener(9080, ONLY_V4),
        TCPListener("10.1.0.3", 3306, cluster_of_db),
        TCPListener("10.1.0.4", 3306, cluster_of_db),
        TCPListener("10.1.0.3", 33060, "outbound|33060||db.default.svc.cluster.local"),
        TCPListener("10.1.0.4", 33060, "outbound|33060||db.default.svc.cluster.local"),
    }
    assert [listener.name for listener in found.listeners] == sorted(listener.name for listener in found.listeners)
    assert by_host(found) == {80: [port_key("shop", 80), port_key("web", 80)], 9080: [port_key("web", 9080)]}
    assert found.refused == ()


def test_tcp_and_http_services_share_a_port_when_captured() -> None:
    mesh = east(
        service("east", "web", cluster_ips=("10.1.0.1",), ports=(http(8000),)),
        service("east", "raw", cluster_ips=("10.1.0.2",), ports=(tcp(8000),)),
    )
    names = [listener.name for listener in ports_of(mesh, sidecar()).listeners]
    assert names == ["0.0.0.0_8000", "10.1.0.2_8000", "virtualOutbound"]


def test_a_tcp_service_of_another_cluster_is_caught_at_that_clusters_address() -> None:
    mesh = east(cluster("west", "net-west"), service("west", "db", cluster_ips=("10.2.0.3",), ports=(tcp(),)))
    names = [listener.name for listener in ports_of(mesh, sidecar()).listeners]
    assert "10.2.0.3_3306" in names


def test_a_service_without_an_address_is_refused_by_address_but_http_keeps_its_host() -> None:
    mesh = east(
        cluster("west"),
        service("west", "db", cluster_ips=("10.2.0.3",), ports=(tcp(), http())),
        service("east", "other", cluster_ips=("10.2.0.3",)),
    )
    found = ports_of(mesh, sidecar())
    assert not [listener for listener in found.listeners if isinstance(listener, TCPListener)]
    assert found.refused == (
        Refused(service=port_key("db", 80), reason=Refusal.NO_ADDRESS),
        Refused(service=port_key("db", 3306), reason=Refusal.NO_ADDRESS),
    )
    assert port_key("db", 80) in by_host(found)[80]


def test_the_older_of_two_services_with_one_address_keeps_it_and_the_other_is_refused_by_name() -> None:
    """VIPS gives one address to one service; a pod of a headless service may have it all the same."""
    mesh = east(
        service("east", "older", cluster_ips=("10.0.0.5",), ports=(tcp(),), created="2024-01-01T00:00:00Z"),
        service("east", "headless", headless=True, ports=(tcp(),), created="2025-01-01T00:00:00Z"),
        slice_of("east", "headless", "10.0.0.5", ports=(("tcp", 3306),)),
    )
    found = ports_of(mesh, sidecar())
    assert TCPListener("10.0.0.5", 3306, "outbound|3306||older.default.svc.cluster.local") in found.listeners
    assert found.refused == (
        Refused(service=port_key("headless", 3306), reason=Refusal.ADDRESS_TAKEN, at="10.0.0.5:3306", holder=port_key("older", 3306)),
    )


def test_a_headless_tcp_service_has_a_listener_for_each_pod_that_is_reached_directly() -> None:
    mesh = east(
        cluster("west", "net-west"),
        service("east", "kafka", headless=True, ports=(tcp(9092),)),
        service("west", "kafka", headless=True, ports=(tcp(9092),)),
        slice_of("east", "kafka", "10.0.0.1=kafka-0", "10.0.0.2=kafka-1", ports=(("tcp", 9092),)),
        slice_of("west", "kafka", "10.0.0.3=kafka-0", ports=(("tcp", 9092),)),
        *(pod("east", f"kafka-{n}", f"10.0.0.{n + 1}") for n in range(2)),
        pod("west", "kafka-0", "10.0.0.3"),
    )
    found = [listener for listener in ports_of(mesh, sidecar()).listeners if isinstance(listener, TCPListener)]
    cluster_of_kafka = "outbound|9092||kafka.default.svc.cluster.local"
    assert found == [TCPListener(f"10.0.0.{n}", 9092, cluster_of_kafka, pod=True) for n in (1, 2)]


def test_a_pod_that_goes_takes_only_its_own_listener_with_it() -> None:
    entries = ["10.0.0.1", "10.0.0.2"]
    mesh = east(service("east", "kafka", headless=True, ports=(tcp(9092),)), slice_of("east", "kafka", *entries, ports=(("tcp", 9092),)))
    before = ports_of(mesh, sidecar())
    mesh.put(slice_of("east", "kafka", entries[0], ports=(("tcp", 9092),)))
    after = ports_of(mesh, sidecar())
    assert [listener.name for listener in before.listeners if listener not in after.listeners] == ["10.0.0.2_9092"]
    assert set(after.listeners) < set(before.listeners)


def test_listeners_are_for_the_families_that_the_proxy_has() -> None:
    rows = (
        service("east", "db", cluster_ips=("10.1.0.3", "fd00::3"), ports=(tcp(),)),
        service("east", "web", cluster_ips=("10.1.0.1", "fd00::1")),
    )
    four, six = ports_of(east(*rows), sidecar()), ports_of(east(*rows), sidecar("fd00::9"))
    both = ports_of(east(*rows), sidecar(instance_ips=("10.0.0.9", "fd00::9")))
    assert [listener.name for listener in four.listeners] == ["0.0.0.0_80", "10.1.0.3_3306", "virtualOutbound"]
    assert [listener.name for listener in six.listeners] == ["0.0.0.0_80", "fd00::3_3306", "virtualOutbound"]
    assert [listener.name for listener in both.listeners] == ["0.0.0.0_80", "10.1.0.3_3306", "fd00::3_3306", "virtualOutbound"]
    assert CaptureListener(frozenset({V6}), transparent=False) in six.listeners
    assert HTTPListener(80, BOTH) in both.listeners


def test_udp_is_not_proxied_and_says_so() -> None:
    found = ports_of(east(service("east", "dns", cluster_ips=("10.1.0.1",), ports=(port(53, "dns", Protocol.UDP, 53),))), sidecar())
    assert found.refused == (Refused(service=port_key("dns", 53), reason=Refusal.NOT_PROXIED),)
    assert [listener.name for listener in found.listeners] == ["virtualOutbound"]


def test_an_external_name_is_called_by_host_and_has_no_address() -> None:
    row = service("east", "api", type=ServiceType.EXTERNAL_NAME, external_name="api.example.com", ports=(http(80), tcp(443)))
    found = ports_of(east(row), sidecar())
    assert [listener.name for listener in found.listeners] == ["0.0.0.0_80", "virtualOutbound"]
    assert found.refused == (Refused(service=port_key("api", 443), reason=Refusal.NO_ADDRESS),)
    assert [listener.name for listener in ports_of(east(row), bound(unprivileged_ports=True)).listeners] == ["0.0.0.0_80", "127.0.0.1_443"]


@pytest.mark.parametrize("number", [15001, 15006])
def test_an_http_port_that_is_the_proxys_own_is_refused_as_envoy_would_refuse_the_second_listener(number: int) -> None:
    found = ports_of(east(service("east", "odd", cluster_ips=("10.1.0.1",), ports=(http(number),))), sidecar())
    assert found.http == ()
    assert found.refused == (Refused(service=port_key("odd", number), reason=Refusal.OWN_PORT, at=f"0.0.0.0:{number}"),)


def test_tproxy_makes_the_capturing_listener_transparent() -> None:
    found = ports_of(east(), sidecar(interception=Interception.TPROXY))
    assert found.listeners == (CaptureListener(ONLY_V4, transparent=True),)


def test_services_of_other_namespaces_need_exportto() -> None:
    mesh = east(
        service("east", "ours", namespace="default", cluster_ips=("10.1.0.1",), ports=(tcp(),)),
        service("east", "theirs", namespace="secret", cluster_ips=("10.1.0.2",), ports=(tcp(),), export_to=(".",)),
    )
    assert [listener.name for listener in ports_of(mesh, sidecar()).listeners] == ["10.1.0.1_3306", "virtualOutbound"]


# -- interception NONE --------------------------------------------------------------------------------------------------------


def test_bound_listeners_stand_on_one_address_and_know_services_by_port() -> None:
    mesh = east(
        service("east", "web", ports=(http(9080),)),
        service("east", "shop", ports=(http(9080),)),
        service("east", "db", headless=True, ports=(tcp(),)),
    )
    found = ports_of(mesh, bound(outbound_address="127.0.0.7"))
    assert found.listeners == (
        HTTPListener(9080, frozenset(), "127.0.0.7"),
        TCPListener("127.0.0.7", 3306, "outbound|3306||db.default.svc.cluster.local", bound=True),
    )
    assert by_host(found) == {9080: [port_key("shop", 9080), port_key("web", 9080)]}
    assert found.refused == ()


@pytest.mark.parametrize("make", [sidecar, bound])
def test_who_fetches_clusters_on_demand_differs_by_its_listeners_alone(make: Any) -> None:
    mesh = east(service("east", "web", ports=(http(9080),)), service("east", "db", cluster_ips=("10.1.0.3",), ports=(tcp(),)))
    plain, fetching = make(), make("10.0.0.8", on_demand_clusters=True)
    of_all, found = ports_of(mesh, plain), ports_of(mesh, fetching)
    asking = [listener for listener in found.listeners if not isinstance(listener, CaptureListener)]
    assert [listener.on_demand for listener in asking] == [True, True]
    assert [listener.name for listener in found.listeners] == [listener.name for listener in of_all.listeners]
    assert found.http == of_all.http
    here, there = mesh.ask(OUTBOUNDS, plain.id), mesh.ask(OUTBOUNDS, fetching.id)
    assert here is not None
    assert there is not None
    assert here != there
    assert routes_scope(here) == routes_scope(there)


def test_a_bound_tcp_listener_is_named_by_the_first_address_that_the_proxy_knows_its_service_by() -> None:
    mesh = east(
        service("east", "db", cluster_ips=("fd00::3", "10.1.0.3", "10.1.0.4"), ports=(tcp(3306),)),
        service("east", "queue", headless=True, ports=(tcp(9092),)),
        cluster("west"),
        service("west", "cache", cluster_ips=("10.2.0.3",), ports=(tcp(6379),)),
    )
    found = {listener.name: listener for listener in ports_of(mesh, bound(outbound_address="127.0.0.7")).listeners}
    assert sorted(found) == ["10.1.0.3_3306", "10.2.0.3_6379", "127.0.0.7_9092"]
    assert found["10.1.0.3_3306"] == TCPListener(
        "127.0.0.7", 3306, "outbound|3306||db.default.svc.cluster.local", bound=True, vip="10.1.0.3"
    )
    six = ports_of(mesh, bound(instance_ips=("fd00::9",), outbound_address="127.0.0.7"))
    assert sorted(listener.name for listener in six.listeners) == ["127.0.0.7_6379", "127.0.0.7_9092", "fd00::3_3306"]


def test_of_two_bound_tcp_services_on_one_port_the_older_keeps_it() -> None:
    mesh = east(
        service("east", "aaa", ports=(tcp(),), created="2025-01-01T00:00:00Z"),
        service("east", "zzz", ports=(tcp(),), created="2024-01-01T00:00:00Z"),
    )
    found = ports_of(mesh, bound())
    assert found.listeners == (TCPListener("127.0.0.1", 3306, "outbound|3306||zzz.default.svc.cluster.local", bound=True),)
    assert found.refused == (
        Refused(service=port_key("aaa", 3306), reason=Refusal.PORT_TAKEN, at="127.0.0.1:3306", holder=port_key("zzz", 3306)),
    )


@pytest.mark.parametrize(("http_created", "winner"), [("2023", "web"), ("2025", "raw")])
def test_a_bound_port_is_either_http_or_tcp_whichever_is_older(http_created: str, winner: str) -> None:
    mesh = east(
        service("east", "web", ports=(http(8000),), created=http_created),
        service("east", "shop", ports=(http(8000),), created="2026"),
        service("east", "raw", ports=(tcp(8000),), created="2024"),
    )
    found = ports_of(mesh, bound())
    (listener,) = found.listeners
    assert listener.name == ("0.0.0.0_8000" if winner == "web" else "127.0.0.1_8000")
    losers = {"web": ["raw"], "raw": ["web", "shop"]}[winner]
    assert [(item.service.name, item.reason, item.holder) for item in found.refused] == [
        (loser, Refusal.PORT_TAKEN, ServicePortKey("default", winner, 8000)) for loser in losers
    ]


def test_ports_under_1024_are_bound_only_where_the_proxy_says_that_it_can() -> None:
    rows = (service("east", "web", ports=(http(80),)), service("east", "ldap", ports=(tcp(389),)))
    plain, able = ports_of(east(*rows), bound()), ports_of(east(*rows), bound(unprivileged_ports=True))
    assert plain.listeners == ()
    assert plain.http == ()
    assert [(item.service, item.reason, item.at) for item in plain.refused] == [
        (port_key("ldap", 389), Refusal.LOW_PORT, "127.0.0.1:389"),
        (port_key("web", 80), Refusal.LOW_PORT, "127.0.0.1:80"),
    ]
    assert [listener.name for listener in able.listeners] == ["0.0.0.0_80", "127.0.0.1_389"]


def test_a_port_on_which_the_workload_itself_listens_is_not_bound_a_second_time() -> None:
    """Outbound and application are both on 127.0.0.1 unless told otherwise: whoever starts second could not bind."""
    rows = (
        service("east", "web", ports=(http(8080), http(9090, "http-2")), selector={"app": "web"}),
        pod("east", "client", "127.0.0.9", labels={"app": "web"}),
    )
    shared = ports_of(east(*rows), bound("127.0.0.9"))
    apart = ports_of(east(*rows), bound("127.0.0.9", outbound_address="127.0.0.10"))
    assert [(item.service, item.reason) for item in shared.refused] == [(port_key("web", 8080), Refusal.OWN_PORT)]
    assert [listener.name for listener in shared.listeners] == ["0.0.0.0_9090"]
    assert [listener.name for listener in apart.listeners] == ["0.0.0.0_8080", "0.0.0.0_9090"]


def test_a_bare_envoy_is_bound_and_routers_and_grpc_clients_have_no_outbound_listeners() -> None:
    mesh = east(service("east", "web", ports=(http(8080),)))
    bare = sidecar(bare=True)
    assert [listener.name for listener in ports_of(mesh, bare).listeners] == ["0.0.0.0_8080"]
    for proxy in (router(), sidecar(name="grpc", generator="grpc")):
        mesh.put(proxy)
        assert mesh.ask(OUTBOUNDS, proxy.id) is None
    assert mesh.ask(OUTBOUNDS, "sidecar~~nobody.default~cluster.local") is None


# -- names --------------------------------------------------------------------------------------------------------------------


def test_a_service_is_called_by_every_name_and_address_with_and_without_the_port() -> None:
    mesh = east(service("east", "web", cluster_ips=("10.1.0.1", "fd00::1"), ports=(http(80),)))
    found = domains(hosts_of(mesh, sidecar(instance_ips=("10.0.0.9", "fd00::9"))))
    assert found == {
        "web.default.svc.cluster.local:80": tuple(
            form
            for name in (
                "web.default.svc.cluster.local",
                "web.default.svc",
                "web.default",
                "10.1.0.1",
                "[fd00::1]",
                "web",
            )
            for form in (name, f"{name}:80")
        )
    }


def test_the_bare_name_means_the_service_of_the_clients_own_namespace() -> None:
    mesh = east(service("east", "web", ports=(http(80),)), service("east", "web", namespace="shop", ports=(http(80),)))
    ours, theirs = domains(hosts_of(mesh, sidecar())), domains(hosts_of(mesh, sidecar(namespace="shop")))
    assert "web" in ours["web.default.svc.cluster.local:80"]
    assert "web" not in ours["web.shop.svc.cluster.local:80"]
    assert "web" in theirs["web.shop.svc.cluster.local:80"]


def test_no_domain_stands_twice_in_a_route_even_where_two_clusters_use_one_address() -> None:
    """Envoy refuses the whole route otherwise."""
    mesh = east(
        cluster("north"),
        cluster("west"),
        service("north", "first", cluster_ips=("10.9.0.1",), ports=(http(80),), created="2024"),
        service("west", "second", cluster_ips=("10.9.0.1",), ports=(http(80),), created="2023"),
    )
    found = hosts_of(mesh, sidecar())
    every = [domain for host in found.hosts for domain in host.domains]
    assert len(every) == len(set(every))
    assert sum(domain == "10.9.0.1" for domain in every) <= 1


def test_unknown_hosts_pass_by_the_meshs_policy_but_never_where_nobody_knows_their_destination() -> None:
    web = service("east", "web", ports=(http(8080),))
    registry_only = MeshConfig(outbound_traffic_policy=OutboundTrafficPolicy.REGISTRY_ONLY)
    assert hosts_of(east(web), sidecar(), 8080).unknown_passes
    assert not hosts_of(Mesh(registry_only, cluster("east"), web), sidecar(), 8080).unknown_passes
    assert not hosts_of(east(web), bound(), 8080).unknown_passes


def test_routes_do_not_depend_on_the_address_that_listeners_bind() -> None:
    mesh = east(service("east", "web", ports=(http(8080),)))
    scopes = []
    for address in ("127.0.0.3", "127.0.0.4"):
        proxy = bound(name=address.replace(".", "-"), outbound_address=address)
        mesh.put(proxy)
        scope = mesh.ask(OUTBOUNDS, proxy.id)
        assert scope is not None
        scopes.append(scope)
    assert scopes[0] != scopes[1]
    assert routes_scope(scopes[0]) == routes_scope(scopes[1])


def test_a_domain_claimed_twice_is_the_older_services_and_the_other_keeps_its_own_names() -> None:
    """The registry gives an address to one service; were it ever to slip, one host would be lost instead of the whole route."""
    scope = Outbound("default", ClusterID("east"), NetworkID(""), ONLY_V4, Interception.REDIRECT)
    claims = tuple(
        HTTPClaim(port_key(name), VirtualHost(f"{name}:80", f"to {name}", (f"{name}.default", "10.1.0.1", "10.1.0.1:80")))
        for name in ("older", "younger")
    )
    values: dict[Any, Any] = {(MESH, ""): None, (OUTBOUND_PORTS, scope): OutboundPorts(listeners=(), http=((80, claims),))}
    found = route_hosts_of(lambda collection, key: values[collection, key], (scope, 80))
    assert [host.name for host in found.hosts if "10.1.0.1" in host.domains] == ["older:80"]
    assert domains(found)["younger:80"] == ("younger.default", "younger", "younger:80")
    assert [(item.at, item.service, item.holder) for item in found.refused] == [
        (domain, port_key("younger"), port_key("older")) for domain in ("10.1.0.1", "10.1.0.1:80")
    ]
