"""Services of all clusters as one: ports, VIPs, visibility, conflicts."""

import pytest

from steersman.model.ids import ClusterID
from steersman.model.mesh import Conflict, MeshService
from steersman.model.objects import Protocol, Row, ServiceType
from steersman.names import SESSION_LABEL
from steersman.registry.collections import MESH_SERVICES, SERVICE_KEYS, VIPS, VISIBLE_SERVICES
from tests.support.mesh import Mesh, cluster, key, pod, port, service, service_key


def merged(*rows: Row, name: str = "reviews", namespace: str = "default") -> MeshService:
    found = Mesh(*rows).ask(MESH_SERVICES, service_key(name, namespace))
    assert found is not None
    return found


def vips(mesh: Mesh, name: str, cluster_name: str) -> tuple[str, ...]:
    return mesh.ask(VIPS, (service_key(name), ClusterID(cluster_name)))


def test_the_services_of_one_name_are_one_service_with_a_vip_a_cluster() -> None:
    found = merged(
        service("west", "reviews", cluster_ips=("10.2.0.1", "fd00::1")),
        service("east", "reviews", cluster_ips=("10.1.0.1",)),
        service("east", "ratings", cluster_ips=("10.1.0.2",)),
        service("east", "reviews", namespace="other", cluster_ips=("10.1.0.3",)),
    )
    assert found.clusters == ("east", "west")
    assert found.vips == (("east", ("10.1.0.1",)), ("west", ("10.2.0.1", "fd00::1")))
    assert found.hostname == "reviews.default.svc.cluster.local"


def test_a_service_that_no_cluster_has_is_none() -> None:
    assert Mesh().ask(MESH_SERVICES, service_key("reviews")) is None


def test_ports_are_merged_by_number_and_the_oldest_service_says_what_they_are() -> None:
    found = merged(
        service("a", "reviews", created="2026-02-01T00:00:00Z", ports=(port(80, "tcp-web", Protocol.TCP), port(81, "more"))),
        service("b", "reviews", created="2026-01-01T00:00:00Z", ports=(port(80, "http"), port(79, "less"))),
    )
    assert [(one.port, one.name, one.protocol) for one in found.ports] == [
        (79, "less", Protocol.HTTP),
        (80, "http", Protocol.HTTP),
        (81, "more", Protocol.HTTP),
    ]
    assert found.created == "2026-01-01T00:00:00Z"
    assert found.conflicts == (Conflict(port=80, what="protocol HTTP, not TCP", winner=key("b", "reviews"), loser=key("a", "reviews")),)


def test_of_equally_old_services_the_lowest_cluster_wins() -> None:
    found = merged(service("b", "reviews", ports=(port(80, "b"),)), service("a", "reviews", ports=(port(80, "a"),)))
    assert [one.name for one in found.ports] == ["a"]
    assert found.conflicts == ()


def test_a_number_used_for_udp_and_tcp_is_the_tcp_port() -> None:
    dns = (port(53, "dns", Protocol.UDP), port(53, "dns-tcp", Protocol.TCP))
    found = merged(service("a", "reviews", ports=dns), service("b", "reviews", ports=dns[:1]))
    assert [(one.name, one.protocol) for one in found.ports] == [("dns-tcp", Protocol.TCP)]
    assert found.conflicts == ()
    only_newer = merged(service("a", "reviews", ports=dns[:1]), service("b", "reviews", ports=dns[1:]))
    assert [one.protocol for one in only_newer.ports] == [Protocol.TCP]


def test_what_the_oldest_says_of_the_whole_service_stands_and_the_others_are_conflicts() -> None:
    found = merged(
        service("a", "reviews", type=ServiceType.EXTERNAL_NAME, external_name="example.com", ports=()),
        service("b", "reviews", headless=True, export_to=("b",), labels={SESSION_LABEL: "cookie"}),
    )
    assert (found.external_name, found.headless, found.export_to, found.session) == ("example.com", False, (), False)
    assert {conflict.what for conflict in found.conflicts} == {"ExternalName example.com, not headless", "exportTo *, not exportTo b"}
    assert {(conflict.winner, conflict.loser) for conflict in found.conflicts} == {(key("a", "reviews"), key("b", "reviews"))}


@pytest.mark.parametrize(
    ("name", "namespace", "local"),
    [("kubernetes", "default", True), ("kubernetes", "other", False), ("dns", "kube-system", True), ("reviews", "default", False)],
)
def test_the_control_planes_own_services_are_cluster_local(name: str, namespace: str, local: bool) -> None:
    assert merged(service("a", name, namespace=namespace), name=name, namespace=namespace).cluster_local is local


def test_one_node_local_service_makes_nodes_matter_and_a_session_label_keeps_what_drains() -> None:
    found = merged(service("a", "reviews", labels={SESSION_LABEL: "x-session"}), service("b", "reviews", node_local=True))
    assert found.node_local
    assert found.session


def test_all_services_are_listed_once_and_sorted() -> None:
    mesh = Mesh(service("b", "x"), service("a", "x"), service("a", "x", namespace="other"), service("a", "b"))
    assert mesh.ask(SERVICE_KEYS, "") == (service_key("b"), service_key("x"), service_key("x", "other"))


def test_a_service_is_seen_where_export_to_says() -> None:
    mesh = Mesh(service("a", "all"), service("a", "mine", export_to=("default",)), service("a", "none", export_to=("~",)))
    assert mesh.ask(VISIBLE_SERVICES, "default") == (service_key("all"), service_key("mine"))
    assert mesh.ask(VISIBLE_SERVICES, "other") == (service_key("all"),)
    mesh.put(service("a", "none"))
    assert mesh.ask(VISIBLE_SERVICES, "other") == (service_key("all"), service_key("none"))


# -- the address by which a client knows it -----------------------------------------------------------------------------------


def test_a_clients_own_cluster_says_the_vip() -> None:
    mesh = Mesh(service("a", "reviews", cluster_ips=("10.0.0.1",)), service("b", "reviews", cluster_ips=("10.0.0.2",)))
    assert vips(mesh, "reviews", "b") == ("10.0.0.2",)


def test_elsewhere_it_is_the_lowest_clusters() -> None:
    mesh = Mesh(service("c", "reviews", cluster_ips=("10.0.0.3",)), service("b", "reviews", cluster_ips=("10.0.0.2",)), cluster("a"))
    assert vips(mesh, "reviews", "a") == ("10.0.0.2",)
    assert vips(mesh, "reviews", "") == ("10.0.0.2",)


@pytest.mark.parametrize(
    "row",
    [service("a", "other", cluster_ips=("10.0.0.2",)), pod("a", "p", "10.0.0.2")],
    ids=["a Service", "a pod"],
)
def test_an_address_that_something_local_holds_is_not_used_for_a_service_of_another_cluster(row: Row) -> None:
    mesh = Mesh(service("b", "reviews", cluster_ips=("10.0.0.2",)), service("c", "reviews", cluster_ips=("10.0.0.3",)), row)
    assert vips(mesh, "reviews", "a") == ("10.0.0.3",)
    mesh.delete(row)
    assert vips(mesh, "reviews", "a") == ("10.0.0.2",)


def test_a_service_whose_every_address_is_taken_has_none() -> None:
    mesh = Mesh(service("b", "reviews", cluster_ips=("10.0.0.2",)), service("a", "other", cluster_ips=("10.0.0.2",)))
    assert vips(mesh, "reviews", "a") == ()
    assert vips(mesh, "other", "a") == ("10.0.0.2",)


def test_no_address_means_two_foreign_services() -> None:
    mesh = Mesh(
        cluster("a"),
        cluster("b"),
        cluster("c"),
        service("b", "one", cluster_ips=("10.0.0.2",)),
        service("c", "two", cluster_ips=("10.0.0.2",)),
    )
    assert vips(mesh, "one", "a") == ("10.0.0.2",)
    assert vips(mesh, "two", "a") == ()
    assert vips(mesh, "two", "c") == ("10.0.0.2",)


def test_an_address_that_files_give_to_two_services_of_a_cluster_is_the_older_ones() -> None:
    mesh = Mesh(
        service("a", "new", cluster_ips=("10.0.0.1",), created="2026-02-01T00:00:00Z"),
        service("a", "old", cluster_ips=("10.0.0.1",), created="2026-01-01T00:00:00Z"),
    )
    assert vips(mesh, "old", "a") == ("10.0.0.1",)
    assert vips(mesh, "new", "a") == ()
