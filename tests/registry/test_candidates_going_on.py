"""Candidates of a slice that go on from what they were: equal to those made anew, and the same objects where nothing changed."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.model.config import MeshConfig, NetworkConfig, NetworkEndpoints
from steersman.model.ids import NetworkID
from steersman.model.mesh import Candidates, Endpoint
from steersman.model.objects import Kind, Row, SliceEndpoint
from steersman.names import NETWORK_LABEL
from steersman.registry.collections import SLICE_CANDIDATES
from tests.support.examples import examples
from tests.support.mesh import MTLS, V6, Mesh, cluster, fact, key, node, pod, port, service, slice_of

PLACED: tuple[Row, ...] = (cluster("east", "net-east"), *(node("east", f"n{zone}", "r", str(zone)) for zone in range(2)))
PODS = {name: pod("east", name, f"10.0.0.{number}", node=f"n{number % 2}") for number, name in enumerate("abcdefgh", 1)}


def entry(name: str, address: str = "", zone: str = "") -> SliceEndpoint:
    return SliceEndpoint.of(address or PODS[name].ips[0], pod=name, zone=zone)


def candidates(mesh: Mesh) -> Candidates:
    """They are held from then on, and go on from what they were."""
    return mesh.ask(SLICE_CANDIDATES, key("east", "reviews-1"))


def endpoints(mesh: Mesh) -> dict[str, Endpoint]:
    """By pod."""
    ((_, at_port),) = candidates(mesh).ports
    return {one.workload.pod.name: one for one in at_port if isinstance(one, Endpoint) and one.workload.pod is not None}


@pytest.mark.parametrize(
    ("changed", "others"),
    [
        ([slice_of("east", "reviews", entry("a"), entry("c"), entry("e"))], "ac"),
        ([slice_of("east", "reviews", *map(entry, "dcba"))], "abcd"),
        ([pod("east", "b", "10.0.0.2", node="n0", service_account="another")], "acd"),
        ([slice_of("east", "reviews", entry("a"), entry("b", zone="z"), entry("c"), entry("d", "10.0.0.99"))], "ac"),
        ([service("east", "reviews", node_local=True)], ""),
        ([slice_of("east", "reviews", *map(entry, "abcd"), ports=[("http", 8081)])], ""),
    ],
    ids=["one came, two went", "other order", "another workload", "another place, another address", "another service", "another port"],
)
def test_an_entry_of_which_nothing_changed_stays_the_object_that_it_was(changed: list[Row], others: str) -> None:
    mesh = Mesh(*PLACED, *PODS.values(), service("east", "reviews"), slice_of("east", "reviews", *map(entry, "abc")))
    endpoints(mesh)
    mesh.put(slice_of("east", "reviews", *map(entry, "abcd")))
    before = endpoints(mesh)
    mesh.put(*changed)
    now = endpoints(mesh)
    assert sorted(name for name in before if now.get(name) is before[name]) == list(others)


def changed_rows(chance: Random, listed: list[SliceEndpoint], ports: list[tuple[str, int | None]]) -> list[Row]:
    """What is told next: mostly the slice, in which few entries came and went, at times something that it depends on."""
    what = chance.choices(["slice", "pod", "service", "mesh", "ports", "twins"], [8, 3, 1, 1, 1, 1])[0]
    if what == "twins":
        return [slice_of("east", "reviews", *chance.choice([(), ("fd00::1=a", "fd00::3=c")]), name="reviews-6", family=V6)]
    if what == "pod":
        name = chance.choice("abcdefgh")
        labels = chance.choice([MTLS, {}, {NETWORK_LABEL: "net-x"}])
        return [pod("east", name, PODS[name].ips[0], node=chance.choice(["n0", "n1", "n9"]), labels=labels, active=chance.random() < 0.8)]
    if what == "service":
        return [service("east", "reviews", node_local=chance.random() < 0.3, ports=chance.choice([(port(),), (port(), port(81, "web"))]))]
    if what == "mesh":
        network = NetworkConfig(name=NetworkID("net-y"), endpoints=(NetworkEndpoints(from_cidr="10.0.0.76/30"),))
        return [MeshConfig(networks=chance.choice([(), (), (network,)]))]
    if what == "ports":
        ports[:] = chance.choice([[("http", 8080)], [("http", 8081), ("web", 8082)], [("http", None)]])
    for _ in range(chance.randint(0, 3)):
        if chance.random() < 0.4 and listed:
            listed.remove(chance.choice(listed))
        else:
            name, zone = chance.choice("abcdefghi"), chance.choice(["", "", "z"])
            address = chance.choice(["10.0.0.77", "010.0.0.1", "", "", "", ""]) or f"10.0.0.{ord(name) - 96}"
            listed.insert(chance.randint(0, len(listed)), SliceEndpoint.of(address, pod=chance.choice([name, name, name, ""]), zone=zone))
    return [slice_of("east", "reviews", *listed, ports=ports)]


@given(st.integers(0, 2**32).map(Random))
@settings(deadline=None, max_examples=examples(40))
def test_candidates_that_go_on_from_what_they_were_are_those_made_anew(chance: Random) -> None:
    listed = [entry(name) for name in "abcdef"]
    ports: list[tuple[str, int | None]] = [("http", 8080)]
    first = [*PLACED, *PODS.values(), MeshConfig(), service("east", "reviews"), slice_of("east", "reviews", *listed, ports=ports)]
    now = {told(row): row for row in first}
    mesh = Mesh(*first)
    candidates(mesh)
    for _ in range(15):
        for row in changed_rows(chance, listed, ports):
            now[told(row)] = row
            mesh.put(row)
        assert candidates(mesh) == candidates(Mesh(*now.values()))


def told(row: Row) -> tuple[Kind, object]:
    return fact(row).kind, fact(row).key
