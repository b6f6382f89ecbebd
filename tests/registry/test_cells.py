"""Cells: endpoints that no rule can tell apart; rule 10, by which each address on a network stands once; who may answer (rule 11)."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.model.mesh import CellIndex, Endpoint, Rule
from steersman.model.objects import Kind, Row, SliceEndpoint
from steersman.registry.collections import CELL_INDEX, CELLS, IDENTITIES, CellKey
from tests.support.mesh import Mesh, cluster, gateway_service, node, pod, port, port_key, ref, service, service_key, slice_of

EAST = (cluster("east", "net-east"), service("east", "reviews"))
WEST = (cluster("west", "net-west"), service("west", "reviews"))


def index_of(mesh: Mesh, number: int = 80) -> CellIndex:
    return mesh.ask(CELL_INDEX, port_key("reviews", number))


def cells_of(mesh: Mesh, number: int = 80) -> list[tuple[Endpoint, ...]]:
    index = index_of(mesh, number)
    found = [mesh.ask(CELLS, CellKey(port_key("reviews", number), traits)) for traits, _ in index.cells]
    assert [sum(endpoint.weight for endpoint in cell) for cell in found] == [weight for _, weight in index.cells]
    return found


def addresses(mesh: Mesh, number: int = 80) -> list[list[str]]:
    return [[endpoint.address for endpoint in cell] for cell in cells_of(mesh, number)]


def test_endpoints_are_grouped_by_all_that_a_rule_looks_at_and_sorted() -> None:
    mesh = Mesh(
        *EAST,
        *WEST,
        node("east", "n1", "r", "a"),
        node("east", "n2", "r", "b"),
        pod("east", "p1", "10.0.0.9", node="n1"),
        pod("east", "p2", "10.0.0.2", node="n2"),
        pod("east", "p3", "10.0.0.1", node="n1"),
        pod("east", "p4", "10.0.0.4", node="n1", labels={}),
        pod("west", "p1", "10.9.0.1", locality_label="r/a"),
        slice_of("east", "reviews", "10.0.0.9=p1", "10.0.0.2=p2", "10.0.0.4=p4"),
        slice_of("east", "reviews", "10.0.0.1=p3", name="reviews-2"),
        slice_of("west", "reviews", "10.9.0.1=p1"),
    )
    assert addresses(mesh) == [["10.0.0.4"], ["10.0.0.1", "10.0.0.9"], ["10.9.0.1"], ["10.0.0.2"]]
    assert index_of(mesh).duplicates == ()
    assert index_of(mesh).shared == ()


def test_each_cluster_calls_a_port_by_its_own_name() -> None:
    mesh = Mesh(
        cluster("east"),
        cluster("west"),
        service("east", "reviews", ports=(port(80, "http"), port(81, "web"))),
        service("west", "reviews", ports=(port(80, "web"),)),
        slice_of("east", "reviews", "10.0.0.1", ports=[("http", 8080), ("web", 8081)]),
        slice_of("west", "reviews", "10.0.0.2", ports=[("http", 8080), ("web", 8081)]),
    )
    assert [[(one.address, one.port) for one in cell] for cell in cells_of(mesh)] == [[("10.0.0.1", 8080)], [("10.0.0.2", 8081)]]
    assert [[(one.address, one.port) for one in cell] for cell in cells_of(mesh, 81)] == [[("10.0.0.1", 8081)]]


# -- rule 10 ------------------------------------------------------------------------------------------------------------------


def test_a_pod_in_two_slices_counts_once_and_says_nothing() -> None:
    mesh = Mesh(
        *EAST,
        pod("east", "p", "10.0.0.1"),
        slice_of("east", "reviews", "10.0.0.1=p", "10.0.0.1=p"),
        slice_of("east", "reviews", "10.0.0.1=p", name="reviews-2"),
    )
    assert addresses(mesh) == [["10.0.0.1"]]
    assert index_of(mesh).duplicates == ()


def test_of_a_pods_two_entries_the_healthy_one_counts() -> None:
    draining = SliceEndpoint.of("10.0.0.1", pod="p", ready=False, terminating=True)
    mesh = Mesh(
        cluster("east"),
        service("east", "reviews", labels={"istio.io/persistent-session": "x"}),
        pod("east", "p", "10.0.0.1"),
        slice_of("east", "reviews", draining),
        slice_of("east", "reviews", "10.0.0.1=p", name="reviews-2"),
    )
    ((endpoint,),) = cells_of(mesh)
    assert endpoint.health == "HEALTHY"


def test_two_owners_of_an_address_on_one_network_are_reported_and_the_older_stays() -> None:
    mesh = Mesh(
        *EAST,
        cluster("west", "net-east"),
        WEST[1],
        pod("east", "young", "10.0.0.1", created="2026-02-01T00:00:00Z"),
        pod("west", "old", "10.0.0.1", created="2026-01-01T00:00:00Z"),
        pod("west", "alone", "10.0.0.2"),
        slice_of("east", "reviews", "10.0.0.1=young"),
        slice_of("west", "reviews", "10.0.0.1=old", "10.0.0.2=alone"),
    )
    assert addresses(mesh) == [["10.0.0.1", "10.0.0.2"]]
    (lost,) = index_of(mesh).duplicates
    assert (lost.address, lost.rule, lost.because, lost.source) == (
        "10.0.0.1",
        Rule.DUPLICATE,
        ref(Kind.POD, "west", "old"),
        ref(Kind.ENDPOINT_SLICE, "east", "reviews-1"),
    )
    assert lost.note == "Pod west/default/old has the same address on network net-east and is older"


def test_two_owners_in_one_slice_are_settled_too() -> None:
    mesh = Mesh(
        *EAST,
        pod("east", "a", "10.0.0.1"),
        pod("east", "b", "10.0.0.1"),
        slice_of("east", "reviews", "10.0.0.1=b", "10.0.0.1=a"),
    )
    ((endpoint,),) = cells_of(mesh)
    assert endpoint.workload.pod is not None
    assert endpoint.workload.pod.name == "a"
    assert [lost.because for lost in index_of(mesh).duplicates] == [ref(Kind.POD, "east", "a")]


def test_entries_without_pods_are_owned_by_their_service() -> None:
    mesh = Mesh(
        *EAST,
        cluster("west", "net-east"),
        service("west", "reviews", created="2026-01-01T00:00:00Z"),
        slice_of("east", "reviews", "10.0.0.1"),
        slice_of("east", "reviews", "10.0.0.1", name="reviews-2"),
        slice_of("west", "reviews", "10.0.0.1"),
    )
    assert addresses(mesh) == [["10.0.0.1"]]
    assert [lost.because for lost in index_of(mesh).duplicates] == [ref(Kind.SERVICE, "east", "reviews")]


def test_one_address_with_two_ports_is_two_endpoints() -> None:
    mesh = Mesh(
        *EAST,
        slice_of("east", "reviews", "10.0.0.1", ports=[("http", 8080)]),
        slice_of("east", "reviews", "10.0.0.1", ports=[("http", 8081)], name="reviews-2"),
    )
    assert [[(one.address, one.port) for one in cell] for cell in cells_of(mesh)] == [[("10.0.0.1", 8080), ("10.0.0.1", 8081)]]


def test_one_address_on_two_networks_is_normal_and_noted() -> None:
    mesh = Mesh(
        *EAST,
        *WEST,
        slice_of("east", "reviews", "10.0.0.1", "10.0.0.2"),
        slice_of("west", "reviews", "10.0.0.1", "10.0.0.3"),
    )
    index = index_of(mesh)
    assert addresses(mesh) == [["10.0.0.1", "10.0.0.2"], ["10.0.0.1", "10.0.0.3"]]
    assert index.duplicates == ()
    assert index.shared == (("10.0.0.1", 8080, tuple(traits for traits, _ in index.cells)),)


def test_an_endpoint_at_some_gateways_address_is_noted() -> None:
    mesh = Mesh(*EAST, *WEST, slice_of("east", "reviews", "10.0.0.1", "10.0.0.2"), gateway_service("west", "net-west", "10.0.0.2"))
    index = index_of(mesh)
    assert index.at_gateways == (("10.0.0.2", 8080, (index.cells[0][0],)),)
    mesh.put(gateway_service("west", "net-west", "10.0.0.3"))
    assert index_of(mesh).at_gateways == ()


def test_a_health_change_moves_the_cell_and_not_the_index() -> None:
    mesh = Mesh(cluster("east"), service("east", "reviews", labels={"istio.io/persistent-session": "x"}))
    mesh.put(pod("east", "p", "10.0.0.1"), slice_of("east", "reviews", "10.0.0.1=p"))
    ((before,),) = cells_of(mesh)
    changed = mesh.put(slice_of("east", "reviews", SliceEndpoint.of("10.0.0.1", pod="p", ready=False, terminating=True))).changed
    assert {str(ref.collection) for ref in changed} == {"cells"}
    ((after,),) = cells_of(mesh)
    assert (before.health, after.health) == ("HEALTHY", "DRAINING")


POOL = [f"10.0.0.{number}" for number in range(1, 5)]
ENTRIES = st.lists(st.tuples(st.sampled_from(POOL), st.sampled_from(["", "a", "b"])), max_size=6)


@given(st.lists(st.tuples(st.sampled_from(["east", "west"]), ENTRIES), max_size=4), st.booleans())
@settings(deadline=None)
def test_on_a_network_every_address_stands_once_and_every_other_entry_is_accounted_for(
    listed: list[tuple[str, list[tuple[str, str]]]], one_network: bool
) -> None:
    pods: list[Row] = [pod(where, name, f"10.0.0.{at}") for where in ("east", "west") for at, name in enumerate("ab", 1)]
    slices = [
        slice_of(where, "reviews", *(f"{address}={name}" for address, name in entries), name=f"s{number}")
        for number, (where, entries) in enumerate(listed)
    ]
    mesh = Mesh(*EAST, cluster("west", "net-east" if one_network else "net-west"), WEST[1], *pods, *slices)
    held = [endpoint for cell in cells_of(mesh) for endpoint in cell]
    places = Counter((endpoint.traits.network, endpoint.address) for endpoint in held)
    assert set(places.values()) <= {1}
    network = {"east": "net-east", "west": "net-east" if one_network else "net-west"}
    assert set(places) == {(network[where], address) for where, entries in listed for address, _ in entries}
    owners = {(network[where], address, where, name) for where, entries in listed for address, name in entries}
    assert len(owners) == len(places) + len(
        {(lost.address, lost.workload.pod, lost.workload.cluster) for lost in index_of(mesh).duplicates}
    )


# -- rule 11 ------------------------------------------------------------------------------------------------------------------


def test_every_pod_behind_any_entry_may_answer_ready_or_not_in_all_clusters() -> None:
    mesh = Mesh(
        *EAST,
        cluster("west", "net-west", trust_domain="west.example"),
        WEST[1],
        pod("east", "p", "10.0.0.1", service_account="ready"),
        pod("east", "q", "10.0.0.2", service_account="waiting", ready=False),
        pod("west", "p", "10.0.0.1", service_account="ready"),
        slice_of("east", "reviews", "10.0.0.1=p", SliceEndpoint.of("10.0.0.2", pod="q", ready=False), "10.0.0.3"),
        slice_of("west", "reviews", "10.0.0.1=p"),
    )
    found = mesh.ask(IDENTITIES, service_key("reviews"))
    assert found.sans == (
        "spiffe://cluster.local/ns/default/sa/ready",
        "spiffe://cluster.local/ns/default/sa/waiting",
        "spiffe://west.example/ns/default/sa/ready",
    )
    assert found.mtls
    assert not found.unknown
    assert not mesh.put(slice_of("east", "reviews", "10.0.0.1=p", "10.0.0.2=q", "10.0.0.3")).changed


def test_a_service_of_plain_addresses_has_no_identities() -> None:
    found = Mesh(*EAST, slice_of("east", "reviews", "10.0.0.1")).ask(IDENTITIES, service_key("reviews"))
    assert (found.sans, found.mtls, found.unknown) == ((), False, False)


def test_without_slices_the_selected_pods_may_answer() -> None:
    mesh = Mesh(
        cluster("east"),
        service("east", "reviews", selector={"app": "x"}),
        pod("east", "p", labels={"app": "x"}, service_account="bob", ready=False),
    )
    assert mesh.ask(IDENTITIES, service_key("reviews")).sans == ("spiffe://cluster.local/ns/default/sa/bob",)
