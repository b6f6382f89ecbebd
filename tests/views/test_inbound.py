"""On which ports a workload is called."""

from typing import Any

import pytest

from steersman.model.config import MeshConfig
from steersman.model.objects import Protocol
from steersman.model.proxy import Interception
from steersman.views.collections import INBOUNDS, TRUST_DOMAINS
from steersman.views.listeners import InboundPorts, Refusal
from steersman.views.scopes import InboundPort
from tests.support.mesh import V4, V6, Mesh, cluster, pod, port, port_key, service, slice_of
from tests.support.served import bound, router, sidecar

WEB = {"app": "web"}


def inbound(mesh: Mesh, proxy: Any) -> InboundPorts:
    mesh.put(proxy)
    found = mesh.ask(INBOUNDS, proxy.id)
    assert found is not None
    return found


def east(*rows: Any) -> Mesh:
    return Mesh(MeshConfig(), cluster("east"), *rows)


def web(name: str = "web", *ports: Any, **fields: Any) -> Any:
    fields.setdefault("selector", WEB)
    return service("east", name, ports=ports or (port(80, target=8080),), **fields)


def test_a_workload_is_called_at_the_target_ports_of_the_services_that_select_it() -> None:
    mesh = east(
        web("web", port(80, target=8080), port(9090, "grpc", Protocol.GRPC, "grpc")),
        web("raw", port(3306, "tcp", Protocol.TCP, 3306)),
        web("another", selector={"app": "another"}),
        web("elsewhere", namespace="shop"),
        web("narrower", port(81, target=8081), selector={"app": "web", "version": "v2"}),
        service("west", "web", ports=(port(82, target=8082),), selector=WEB),
        pod("east", "web-1", "10.0.0.9", labels={**WEB, "version": "v1"}, ports=(("grpc", 9999),)),
    )
    found = inbound(mesh, sidecar())
    assert found.scope.ports == (
        InboundPort(3306, Protocol.TCP, (port_key("raw", 3306),)),
        InboundPort(8080, Protocol.HTTP, (port_key("web", 80),)),
        InboundPort(9999, Protocol.GRPC, (port_key("web", 9090),)),
    )
    assert found.scope.interception is Interception.REDIRECT
    assert found.scope.families == frozenset({V4})
    assert found.scope.addresses == ()
    assert found.called == (3306, 8080, 9999)
    assert found.refused == ()


def test_the_oldest_service_says_what_a_shared_target_port_speaks_and_the_other_is_refused() -> None:
    mesh = east(
        web("aaa", port(80, "tcp", Protocol.TCP, 8080), created="2025"),
        web("bbb", port(80, target=8080), created="2024"),
        web("ccc", port(81, target=8080), created="2026"),
        pod("east", "web-1", "10.0.0.9", labels=WEB),
    )
    found = inbound(mesh, sidecar())
    assert found.scope.ports == (InboundPort(8080, Protocol.HTTP, (port_key("aaa", 80), port_key("bbb", 80), port_key("ccc", 81))),)
    (refused,) = found.refused
    assert (refused.service, refused.reason, refused.holder) == (port_key("aaa"), Refusal.PROTOCOL_CONFLICT, port_key("bbb"))


def test_a_named_target_port_that_no_container_has_is_refused() -> None:
    found = inbound(east(web("web", port(80, target="http")), pod("east", "web-1", "10.0.0.9", labels=WEB)), sidecar())
    assert found.scope.ports == ()
    assert [(item.service, item.reason) for item in found.refused] == [(port_key("web"), Refusal.NO_TARGET_PORT)]


def test_a_workload_of_no_pod_is_known_by_the_labels_that_it_told_and_by_the_slices_that_list_it() -> None:
    mesh = east(
        web(),
        service("east", "listed", ports=(port(90, "admin"), port(91, "other"))),
        service("east", "unlisted", ports=(port(92, "admin"),)),
        slice_of("east", "listed", "10.0.0.9", "10.0.0.10", ports=(("admin", 9001),)),
        slice_of("east", "unlisted", "10.0.0.11", ports=(("admin", 9002),)),
    )
    found = inbound(mesh, sidecar(labels=(("app", "web"),)))
    assert [(item.port, item.services) for item in found.scope.ports] == [(8080, (port_key("web"),)), (9001, (port_key("listed", 90),))]


def test_a_slice_that_begins_to_list_a_machine_gives_it_a_port() -> None:
    mesh = east(service("east", "listed", ports=(port(90, "admin"),)), slice_of("east", "listed", ports=(("admin", 9001),)))
    assert inbound(mesh, sidecar()).scope.ports == ()
    mesh.put(slice_of("east", "listed", "10.0.0.9", ports=(("admin", 9001),)))
    assert [item.port for item in inbound(mesh, sidecar()).scope.ports] == [9001]


def test_replicas_share_the_scope_and_a_new_replica_changes_none() -> None:
    mesh = east(web(), pod("east", "web-1", "10.0.0.1", labels=WEB), pod("east", "web-2", "10.0.0.2", labels=WEB))
    first, second = sidecar("10.0.0.1", name="web-1"), sidecar("10.0.0.2", name="web-2")
    assert inbound(mesh, first) == inbound(mesh, second)
    before = inbound(mesh, first)
    generation = mesh.put(pod("east", "web-3", "10.0.0.3", labels=WEB))
    assert not [ref for ref in generation.changed if ref.collection is INBOUNDS]
    assert inbound(mesh, first) == before


def test_callers_may_come_from_every_trust_domain_of_the_mesh() -> None:
    mesh = Mesh(MeshConfig(trust_domain="mesh.example"), cluster("east"), cluster("west", trust_domain="west.example"))
    assert mesh.ask(TRUST_DOMAINS, "") == ("mesh.example", "west.example")
    assert inbound(mesh, sidecar()).scope.trust_domains == ("mesh.example", "west.example")
    mesh.put(cluster("north", trust_domain="a.example"))
    assert inbound(mesh, sidecar()).scope.trust_domains == ("a.example", "mesh.example", "west.example")


def test_without_capture_each_of_the_workloads_addresses_is_bound() -> None:
    mesh = east(web(), pod("east", "web-1", "10.0.0.9", "fd00::9", labels=WEB))
    found = inbound(mesh, bound(app_address="127.0.0.2"))
    assert found.scope.addresses == ("10.0.0.9", "fd00::9")
    assert found.scope.app == "127.0.0.2"
    assert found.scope.families == frozenset()
    podless = inbound(east(web()), bound(labels=(("app", "web"),), instance_ips=("10.0.0.9", "fd00::9")))
    assert podless.scope.addresses == ("10.0.0.9", "fd00::9")
    assert inbound(east(web()), bound(labels=(("app", "web"),))).scope.addresses == ("10.0.0.9",)


def test_an_address_where_the_application_itself_listens_is_not_bound() -> None:
    """The listener would call itself, or keep the application from starting."""
    mesh = east(web(), pod("east", "web-1", "127.0.0.1", labels=WEB))
    found = inbound(mesh, bound("127.0.0.1"))
    assert found.scope.ports == ()
    assert found.called == (8080,)
    assert [(item.reason, item.at) for item in found.refused] == [(Refusal.OWN_PORT, "127.0.0.1:8080")]


def test_a_bound_port_under_1024_needs_the_right_to_bind_it() -> None:
    mesh = east(web("web", port(80, target=80)), pod("east", "web-1", "10.0.0.9", labels=WEB))
    assert [(item.reason, item.at) for item in inbound(mesh, bound()).refused] == [(Refusal.LOW_PORT, "10.0.0.9:80")]
    assert [item.port for item in inbound(mesh, bound(unprivileged_ports=True)).scope.ports] == [80]
    assert [item.port for item in inbound(mesh, sidecar()).scope.ports] == [80]


@pytest.mark.parametrize("number", [15001, 15006])
def test_the_capture_ports_are_nobodys_target(number: int) -> None:
    mesh = east(web("web", port(80, target=number)), pod("east", "web-1", "10.0.0.9", labels=WEB))
    found = inbound(mesh, sidecar())
    assert found.scope.ports == ()
    assert [item.reason for item in found.refused] == [Refusal.OWN_PORT]


def test_captured_families_are_the_proxys() -> None:
    assert inbound(east(), sidecar("fd00::9")).scope.families == frozenset({V6})


def test_nobody_calls_a_bare_envoy_a_router_or_a_grpc_client() -> None:
    mesh = east(web())
    for proxy in (sidecar(bare=True), router(), sidecar(name="grpc", generator="grpc")):
        mesh.put(proxy)
        assert mesh.ask(INBOUNDS, proxy.id) is None
    assert mesh.ask(INBOUNDS, "sidecar~~nobody.default~cluster.local") is None
