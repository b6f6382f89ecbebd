"""What EndpointSlices and Pods contribute: endpoints, and what is none, with the reason."""

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.model.config import ClusterConfig
from steersman.model.ids import ClusterID, Locality, NetworkID
from steersman.model.mesh import Endpoint, Health, ObjectRef, Rule, SourceEndpoints, Traits, Twin, Unusable
from steersman.model.objects import Kind, Row, ServiceType, SliceEndpoint
from steersman.names import SESSION_LABEL
from steersman.registry.collections import (
    ENDPOINT_SOURCES,
    POD_ENDPOINTS,
    SLICE_CANDIDATES,
    SLICE_ENDPOINTS,
    SLICE_MEMBERS,
    SOURCE_IDENTITIES,
)
from steersman.registry.endpoints import endpoints_from, unusable_from
from tests.support import strategies
from tests.support.examples import examples
from tests.support.mesh import V4, V6, Mesh, cluster, key, node, pod, port, ref, service, slice_of

SERVICE = service("east", "reviews")
SLICE = ref(Kind.ENDPOINT_SLICE, "east", "reviews-1")


class Found(NamedTuple):
    """What a source contributes, by port name, and what of it is none."""

    ports: tuple[tuple[str, tuple[Endpoint, ...]], ...]
    unusable: list[Unusable]
    distinct: bool = True


def contributed(mesh: Mesh, source: ObjectRef) -> Found:
    mesh.ask(SLICE_ENDPOINTS if source.kind is Kind.ENDPOINT_SLICE else POD_ENDPOINTS, source.key)
    ask = mesh.pipeline.graph.ask
    listed = endpoints_from(ask, source)
    return Found(listed.ports, unusable_from(ask, source), listed.distinct)


def from_slice(*rows: Row, name: str = "reviews-1") -> Found:
    return contributed(Mesh(*rows), ref(Kind.ENDPOINT_SLICE, "east", name))


def from_pods(*rows: Row) -> Found:
    return contributed(Mesh(*rows), ref(Kind.SERVICE, "east", "reviews"))


def endpoints(found: Found | SourceEndpoints, name: str = "http") -> list[Endpoint]:
    return [endpoint for port_name, listed in found.ports if port_name == name for endpoint in listed]


def at(found: Found | SourceEndpoints, name: str = "http") -> list[tuple[str, int]]:
    return [(endpoint.address, endpoint.port) for endpoint in endpoints(found, name)]


def refused(found: Found) -> list[tuple[str, str, Rule, ObjectRef]]:
    return [(entry.address, entry.port_name, entry.rule, entry.because) for entry in found.unusable]


# -- slices -------------------------------------------------------------------------------------------------------------------


def test_an_entry_of_a_known_pod_is_an_endpoint_with_its_place_and_identity() -> None:
    found = from_slice(
        SERVICE,
        cluster("east", "net"),
        node("east", "n1", "r", "z"),
        pod("east", "p", "10.0.0.1", node="n1", service_account="bob"),
        slice_of("east", "reviews", "10.0.0.1=p"),
    )
    (endpoint,) = endpoints(found)
    assert (endpoint.address, endpoint.port, endpoint.health, endpoint.weight, endpoint.source) == ("10.0.0.1", 8080, "HEALTHY", 1, SLICE)
    assert endpoint.traits == Traits(Locality("r", "z"), NetworkID("net"), ClusterID("east"), mtls=True, family=V4)
    assert endpoint.workload.identity == "spiffe://cluster.local/ns/default/sa/bob"
    assert found.unusable == []


def test_an_entry_without_a_pod_has_neither_identity_nor_mtls_but_may_have_a_node() -> None:
    found = from_slice(SERVICE, cluster("east", "net"), node("east", "n1", "r"), slice_of("east", "reviews", entry(node="n1")))
    (endpoint,) = endpoints(found)
    assert (endpoint.workload.pod, endpoint.workload.identity, endpoint.traits.mtls) == (None, "", False)
    assert (endpoint.traits.network, endpoint.traits.locality) == ("net", Locality("r"))


def entry(address: str = "10.0.0.1", **fields: Any) -> SliceEndpoint:
    return SliceEndpoint.of(address, **fields)


@pytest.mark.parametrize("known", [True, False], ids=["node known", "node unknown"])
def test_the_zone_of_an_entry_counts_only_where_the_node_is_not_known(known: bool) -> None:
    rows = (SERVICE, slice_of("east", "reviews", entry(node="n1", zone="z9", pod="p")), pod("east", "p", "10.0.0.1", node="n1"))
    found = from_slice(*rows, *([node("east", "n1", "r", "z")] if known else []))
    assert endpoints(found)[0].traits.locality == (Locality("r", "z") if known else Locality("", "z9"))


def test_a_slices_port_is_the_services_of_equal_name() -> None:
    ports = (port(80, "http"), port(90, "grpc"), port(70, "admin"))
    found = from_slice(
        service("east", "reviews", ports=ports),
        slice_of("east", "reviews", "10.0.0.1", ports=[("grpc", 9090), ("http", 8080), ("unknown", 1)]),
    )
    assert {name: at(found, name) for name, _ in found.ports} == {
        "admin": [],
        "grpc": [("10.0.0.1", 9090)],
        "http": [("10.0.0.1", 8080)],
    }
    assert refused(found) == [("10.0.0.1", "admin", Rule.NO_PORT, SLICE)]


def test_a_port_without_number_stands_for_all_and_is_reached_at_the_target_port() -> None:
    ports = (port(80, "http", target=8080), port(90, "named", target="web"))
    found = from_slice(
        service("east", "reviews", ports=ports),
        pod("east", "p", "10.0.0.1", ports=(("web", 9999),)),
        slice_of("east", "reviews", "10.0.0.1=p", "10.0.0.2", ports=[("", None)]),
    )
    assert at(found, "http") == [("10.0.0.1", 8080), ("10.0.0.2", 8080)]
    assert at(found, "named") == [("10.0.0.1", 9999)]
    assert refused(found) == [("10.0.0.2", "named", Rule.NO_PORT, SLICE)]


POD = ref(Kind.POD, "east", "p")


@pytest.mark.parametrize(
    ("listed", "rows", "rule", "because"),
    [
        (entry(ready=False, pod="p"), [pod("east", "p")], Rule.NOT_READY, SLICE),
        (entry(ready=False, serving=False, terminating=True), [], Rule.TERMINATING, SLICE),
        (entry(ready=False, serving=True, terminating=True), [], Rule.DRAINING, SLICE),
        (entry(pod="p"), [], Rule.POD_MISSING, POD),
        (entry(pod="p"), [pod("east", "p", active=False)], Rule.POD_INACTIVE, POD),
        (entry(pod="p"), [pod("west", "p"), pod("east", "p", namespace="other")], Rule.POD_MISSING, POD),
        (entry("224.0.0.1"), [], Rule.BAD_ADDRESS, SLICE),
        (entry("no-ip"), [], Rule.BAD_ADDRESS, SLICE),
        (entry("fd00::1", flaw="wrong slice"), [], Rule.BAD_ADDRESS, SLICE),
        (entry("fd00::1", flaw="wrong slice", pod="p"), [pod("east", "p", "fd00::1")], Rule.BAD_ADDRESS, SLICE),
    ],
    ids=[
        "not ready",
        "terminating",
        "draining",
        "pod missing",
        "pod at its end",
        "pod of another place",
        "multicast",
        "no address",
        "flaw",
        "pod with flaw",
    ],
)
def test_an_unusable_entry_is_kept_with_its_rule_and_object(listed: SliceEndpoint, rows: list[Row], rule: Rule, because: ObjectRef) -> None:
    found = from_slice(SERVICE, slice_of("east", "reviews", listed), *rows)
    assert endpoints(found) == []
    assert refused(found) == [(listed.address, "http", rule, because)]


def test_ready_wins_over_terminating_as_publish_not_ready_addresses_has_it() -> None:
    assert at(from_slice(SERVICE, slice_of("east", "reviews", entry(ready=True, terminating=True)))) == [("10.0.0.1", 8080)]


def test_a_session_label_keeps_what_still_serves_in_use() -> None:
    sticky = service("east", "reviews", labels={SESSION_LABEL: "cookie"})
    found = from_slice(sticky, slice_of("east", "reviews", entry(ready=False, terminating=True)))
    assert [endpoint.health for endpoint in endpoints(found)] == [Health.DRAINING]


def test_readiness_leaves_the_other_endpoints_the_objects_that_they_were_and_reaches_no_identity() -> None:
    mesh = Mesh(SERVICE, cluster("east", "net"), pod("east", "p", "10.0.0.1"), pod("east", "q", "10.0.0.2"))
    mesh.put(slice_of("east", "reviews", "10.0.0.1=p", "10.0.0.2=q"))
    before = endpoints(mesh.ask(SLICE_ENDPOINTS, SLICE.key))
    mesh.ask(SLICE_MEMBERS, SLICE.key)
    mesh.ask(SLICE_CANDIDATES, SLICE.key)
    mesh.ask(SOURCE_IDENTITIES, SLICE)
    changed = mesh.put(slice_of("east", "reviews", entry(ready=False, pod="p"), "10.0.0.2=q")).changed
    assert {str(ref.collection) for ref in changed} == {"slice_endpoints"}
    (after,) = endpoints(mesh.ask(SLICE_ENDPOINTS, SLICE.key))
    assert after is before[1]
    assert mesh.put(slice_of("east", "reviews", "10.0.0.1=p", "10.0.0.2=q")).changed
    assert all(one is two for one, two in zip(endpoints(mesh.ask(SLICE_ENDPOINTS, SLICE.key)), before, strict=True))


@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize(
    ("other", "distinct"),
    [("10.0.0.2", True), ("10.0.0.1", False), ("fd00::2", True), ("FD00:0::1", False)],
    ids=["other", "same", "other of six", "same, written otherwise"],
)
def test_that_no_two_entries_have_an_address_in_common_is_told_whoever_of_them_is_ready(other: str, distinct: bool, ready: bool) -> None:
    found = from_slice(
        SERVICE,
        cluster("east"),
        slice_of("east", "reviews", "10.0.0.1", "fd00::1", entry(other, ready=ready), family=V6 if ":" in other else V4),
    )
    assert (found.distinct, len(endpoints(found))) == (distinct, 2 + ready)
    pods = [pod("east", name, address, labels={"app": "x"}) for name, address in zip("abc", ("10.0.0.1", "fd00::1", other), strict=True)]
    assert from_pods(service("east", "reviews", selector={"app": "x"}), cluster("east"), *pods).distinct == distinct


def test_an_entry_that_is_not_ready_is_that_where_it_lacks_the_port_as_well() -> None:
    two = service("east", "reviews", ports=(port(80), port(81, "more")))
    found = from_slice(two, slice_of("east", "reviews", entry(ready=False), "10.0.0.2"))
    assert refused(found) == [
        ("10.0.0.1", "http", Rule.NOT_READY, SLICE),
        ("10.0.0.1", "more", Rule.NOT_READY, SLICE),
        ("10.0.0.2", "more", Rule.NO_PORT, SLICE),
    ]


@settings(max_examples=examples(50))
@given(entries=st.lists(strategies.slice_entries, max_size=6), session=st.booleans())
def test_what_an_entry_contributes_does_not_hang_on_those_beside_it(entries: list[SliceEndpoint], session: bool) -> None:
    ports = (port(80), port(81, "lacking"), port(82, "named", target="web"))
    numbers = [("http", 8080), ("named", None)]
    mesh = Mesh(
        service("east", "reviews", ports=ports, labels={SESSION_LABEL: "cookie"} if session else {}),
        pod("east", "p1", "10.0.0.1", ports=(("web", 9999),)),
        pod("east", "p2", "10.0.0.2"),
        *(slice_of("east", "reviews", listed, name=f"one-{number}", ports=numbers) for number, listed in enumerate(entries)),
        slice_of("east", "reviews", *entries, name="all", ports=numbers),
    )
    together = contributed(mesh, ref(Kind.ENDPOINT_SLICE, "east", "all"))
    apart = [contributed(mesh, ref(Kind.ENDPOINT_SLICE, "east", f"one-{number}")) for number in range(len(entries))]
    for name in ("http", "lacking", "named"):
        listed = [(one.address, one.port, one.health, one.traits, one.workload) for found in apart for one in endpoints(found, name)]
        assert [(one.address, one.port, one.health, one.traits, one.workload) for one in endpoints(together, name)] == listed
        unusable = [(one.address, one.rule, one.note, one.workload) for found in apart for one in found.unusable if one.port_name == name]
        assert [(one.address, one.rule, one.note, one.workload) for one in together.unusable if one.port_name == name] == unusable


def test_an_endpoint_comes_with_its_pod_and_goes_with_it() -> None:
    mesh = Mesh(SERVICE, slice_of("east", "reviews", "10.0.0.1=p"))
    counts = [len(endpoints(mesh.ask(SLICE_ENDPOINTS, key("east", "reviews-1"))))]
    for step in (mesh.put, mesh.delete):
        step(pod("east", "p", "10.0.0.1"))
        counts.append(len(endpoints(mesh.ask(SLICE_ENDPOINTS, key("east", "reviews-1")))))
    assert counts == [0, 1, 0]


@pytest.mark.parametrize("row", [None, service("west", "reviews"), service("east", "reviews", type=ServiceType.EXTERNAL_NAME)])
def test_a_slice_without_a_service_of_its_own_cluster_contributes_nothing(row: Row | None) -> None:
    assert from_slice(slice_of("east", "reviews", "10.0.0.1"), *([row] if row else [])) == Found((), [])


def test_only_endpoints_of_a_node_local_service_carry_their_node() -> None:
    rows = (pod("east", "p", "10.0.0.1", node="n1"), slice_of("east", "reviews", "10.0.0.1=p"))
    assert endpoints(from_slice(SERVICE, *rows))[0].traits.node == ""
    assert endpoints(from_slice(service("east", "reviews", node_local=True), *rows))[0].traits.node == "east/n1"


def test_equal_traits_are_one_object() -> None:
    first, second = endpoints(from_slice(SERVICE, slice_of("east", "reviews", "10.0.0.1", "10.0.0.2")))
    assert first.traits is second.traits


# -- two families -------------------------------------------------------------------------------------------------------------

DUAL = service("east", "reviews", families=(V6, V4))


def twins(*rows: Row) -> dict[str, Twin]:
    found = [from_slice(DUAL, *rows, name=name) for name in ("reviews-1", "reviews-6")]
    return {endpoint.address: endpoint.traits.twin for part in found for endpoint in endpoints(part)}


def test_of_a_pods_two_addresses_that_of_the_services_first_family_is_the_first() -> None:
    assert twins(
        pod("east", "p", "10.0.0.1", "fd00::1"),
        pod("east", "q", "10.0.0.2"),
        slice_of("east", "reviews", "10.0.0.1=p", "10.0.0.2=q", "10.0.0.3"),
        slice_of("east", "reviews", "fd00::1=p", "fd00::9", name="reviews-6", family=V6),
    ) == {"10.0.0.1": Twin.SECOND, "10.0.0.2": Twin.ALONE, "10.0.0.3": Twin.ALONE, "fd00::1": Twin.FIRST, "fd00::9": Twin.ALONE}


def test_an_address_whose_twin_is_not_ready_stands_alone() -> None:
    assert twins(
        pod("east", "p", "10.0.0.1", "fd00::1"),
        slice_of("east", "reviews", "10.0.0.1=p"),
        slice_of("east", "reviews", entry("fd00::1", pod="p", ready=False), name="reviews-6", family=V6),
    ) == {"10.0.0.1": Twin.ALONE}


# -- pods ---------------------------------------------------------------------------------------------------------------------

SELECTING = service("east", "reviews", selector={"app": "reviews"})
LABELS = {"app": "reviews", "version": "v1"}


def test_a_service_without_slices_takes_the_ready_pods_that_it_selects() -> None:
    found = from_pods(
        SELECTING,
        pod("east", "in", "10.0.0.1", labels=LABELS),
        pod("east", "other", "10.0.0.2", labels={"app": "other"}),
        pod("west", "reviews", "10.0.0.3", labels=LABELS),
        pod("east", "elsewhere", "10.0.0.4", namespace="other", labels=LABELS),
    )
    assert at(found) == [("10.0.0.1", 8080)]
    assert endpoints(found)[0].source == ref(Kind.POD, "east", "in")
    assert found.unusable == []


def test_a_selector_of_several_labels_wants_them_all() -> None:
    found = from_pods(
        service("east", "reviews", selector=LABELS),
        pod("east", "both", "10.0.0.1", labels=LABELS),
        pod("east", "one", "10.0.0.2", labels={"app": "reviews"}),
    )
    assert at(found) == [("10.0.0.1", 8080)]


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"ready": False}, Rule.NOT_READY),
        ({"ready": False, "terminating": True}, Rule.TERMINATING),
        ({"ready": False, "active": False}, Rule.POD_INACTIVE),
    ],
)
def test_a_pod_that_takes_no_traffic_is_kept_with_its_rule(fields: dict[str, Any], rule: Rule) -> None:
    found = from_pods(SELECTING, pod("east", "p", "10.0.0.1", labels=LABELS, **fields))
    assert refused(found) == [("10.0.0.1", "http", rule, POD)]


def test_publish_not_ready_addresses_takes_a_pod_that_is_not_ready() -> None:
    eager = service("east", "reviews", selector={"app": "reviews"}, publish_not_ready=True)
    assert at(from_pods(eager, pod("east", "p", "10.0.0.1", labels=LABELS, ready=False))) == [("10.0.0.1", 8080)]


def test_a_named_target_port_is_each_pods_own() -> None:
    found = from_pods(
        service("east", "reviews", selector={"app": "reviews"}, ports=(port(target="web"),)),
        pod("east", "p", "10.0.0.1", labels=LABELS, ports=(("web", 8001),)),
        pod("east", "q", "10.0.0.2", labels=LABELS, ports=(("web", 8002),)),
        pod("east", "r", "10.0.0.3", labels=LABELS),
    )
    assert at(found) == [("10.0.0.1", 8001), ("10.0.0.2", 8002)]
    assert refused(found) == [("10.0.0.3", "http", Rule.NO_PORT, ref(Kind.POD, "east", "r"))]


def test_a_pod_stands_with_an_address_of_each_family_of_the_service_else_with_its_primary_one() -> None:
    dual = pod("east", "p", "10.0.0.1", "fd00::1", labels=LABELS)
    assert at(from_pods(SELECTING, dual)) == [("10.0.0.1", 8080)]
    six = service("east", "reviews", selector={"app": "reviews"}, families=(V6,))
    assert at(from_pods(six, dual)) == [("fd00::1", 8080)]
    both = service("east", "reviews", selector={"app": "reviews"}, families=(V6, V4))
    assert {one.address: one.traits.twin for one in endpoints(from_pods(both, dual))} == {"10.0.0.1": "second", "fd00::1": "first"}
    assert [one.traits.twin for one in endpoints(from_pods(both, pod("east", "p", "10.0.0.1", labels=LABELS)))] == [Twin.ALONE]


def test_a_pod_without_an_address_of_the_services_family_says_so() -> None:
    six = service("east", "reviews", selector={"app": "reviews"}, families=(V6,))
    (entry_of_p,) = from_pods(six, pod("east", "p", "10.0.0.1", labels=LABELS)).unusable
    assert (entry_of_p.address, entry_of_p.rule, entry_of_p.note) == ("10.0.0.1", Rule.BAD_ADDRESS, "the Pod has no address of IPv6")
    (entry_of_p,) = from_pods(six, pod("east", "p", labels=LABELS)).unusable
    assert (entry_of_p.address, entry_of_p.rule, entry_of_p.note) == ("", Rule.BAD_ADDRESS, "the Pod has no usable address (yet)")


def test_a_pod_that_begins_to_match_is_taken() -> None:
    mesh = Mesh(SELECTING, pod("east", "p", "10.0.0.1", labels={"app": "other"}))
    assert at(mesh.ask(POD_ENDPOINTS, key("east", "reviews"))) == []
    mesh.put(pod("east", "p", "10.0.0.1", labels=LABELS))
    assert at(mesh.ask(POD_ENDPOINTS, key("east", "reviews"))) == [("10.0.0.1", 8080)]


# -- which of the two ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "sources"),
    [
        ([SELECTING], [ref(Kind.SERVICE, "east", "reviews")]),
        ([SELECTING, slice_of("east", "reviews")], [SLICE]),
        ([SERVICE], []),
        ([SERVICE, slice_of("east", "reviews", name="b"), slice_of("east", "reviews", name="a")], ["a", "b"]),
        ([service("east", "reviews", selector={"a": "b"}, type=ServiceType.EXTERNAL_NAME), slice_of("east", "reviews")], []),
        ([slice_of("east", "reviews")], []),
    ],
    ids=["selector", "selector and slice", "neither", "slices", "ExternalName", "no service"],
)
def test_with_any_slice_only_slices_count(rows: list[Row], sources: list[ObjectRef | str]) -> None:
    wanted = tuple(ref(Kind.ENDPOINT_SLICE, "east", one) if isinstance(one, str) else one for one in sources)
    assert Mesh(*rows).ask(ENDPOINT_SOURCES, key("east", "reviews")) == wanted


def test_where_a_controller_writes_the_slices_a_service_without_any_has_no_endpoints() -> None:
    mesh = Mesh(SELECTING, pod("east", "p", "10.0.0.1", labels=LABELS), ClusterConfig(name=ClusterID("east"), slices_only=True))
    assert mesh.ask(ENDPOINT_SOURCES, key("east", "reviews")) == ()
    mesh.put(slice_of("east", "reviews"))
    assert mesh.ask(ENDPOINT_SOURCES, key("east", "reviews")) == (SLICE,)
