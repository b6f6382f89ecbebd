"""Cells that go on from what they were: the same as those that are made anew, whatever came and went."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from steersman.model.ids import ClusterID, IPFamily, Locality, NetworkID, ObjectKey
from steersman.model.mesh import CellIndex, Endpoint, Health, SourceCells, SourceEndpoints, Traits, Workload
from steersman.model.objects import EndpointSlice, Kind, Row, SliceEndpoint
from steersman.registry.collections import CELL_INDEX, CELLS, SLICE_ENDPOINTS, CellKey
from steersman.registry.source_cells import CelledBefore, source_cells, source_cells_again
from tests.support.examples import examples
from tests.support.mesh import Mesh, cluster, gateway_service, node, port_key, ref, service, slice_of

SOURCE = ref(Kind.ENDPOINT_SLICE, "east", "reviews-1")
TRAITS = [Traits(Locality("r", zone), NetworkID("net-east"), ClusterID("east"), True, IPFamily.IPV4) for zone in "cab"]


def endpoint(host: int, zone: int = 0, *, pod: str = "p", weight: int = 1, health: Health = Health.HEALTHY) -> Endpoint:
    """Addresses are sorted as text, unlike the hosts' numbers. Traits that are equal need not be one object."""
    traits = structs.replace(TRAITS[zone]) if host % 2 else TRAITS[zone]
    workload = Workload(
        pod=ObjectKey(ClusterID("east"), "default", pod),
        cluster=ClusterID("east"),
        network=NetworkID("net-east"),
        network_by=None,
        locality=traits.locality,
    )
    return Endpoint(address=f"10.0.0.{host}", port=80, traits=traits, health=health, weight=weight, workload=workload, source=SOURCE)


class Listing:
    """A source's endpoints by port name, and its cells: as they are made, and as they are made anew each time, going on."""

    def __init__(self) -> None:
        self.ports: tuple[tuple[str, tuple[Endpoint, ...]], ...] = ()
        self.before: CelledBefore | None = None

    def __call__(self, collection: Any, key: Any, /) -> Any:
        assert (collection, key) == (SLICE_ENDPOINTS, SOURCE.key)
        distinct = all(len({one.address for one in endpoints}) == len(endpoints) for _, endpoints in self.ports)
        return SourceEndpoints(ports=self.ports, distinct=distinct)

    def lists(self, *endpoints: Endpoint) -> SourceCells:
        return self.lists_ports(("http", endpoints))

    def lists_ports(self, *ports: tuple[str, tuple[Endpoint, ...]]) -> SourceCells:
        self.ports = ports
        cells, self.before = source_cells_again(self, SOURCE, self.before)
        assert cells == source_cells(self, SOURCE)
        return cells


FORTY = [endpoint(host, host % 3) for host in range(1, 41)]


def changed_cells(before: SourceCells, after: SourceCells) -> list[Traits]:
    """Those that are not the very objects that they were."""
    ((_, was),), ((_, now),) = before.ports, after.ports
    held = set(map(id, was))
    return [cell.traits for cell in now if id(cell) not in held]


def test_cells_of_which_no_endpoint_came_or_went_stay_the_objects_that_they_are() -> None:
    listing = Listing()
    first = listing.lists(*FORTY)
    less = listing.lists(*FORTY[:17], *FORTY[18:])
    assert changed_cells(first, less) == [FORTY[17].traits]
    again = listing.lists(*FORTY)
    assert changed_cells(less, again) == [FORTY[17].traits]
    draining = endpoint(18, 0, weight=3, health=Health.DRAINING)
    moved = listing.lists(*FORTY[:17], draining, *FORTY[18:])
    assert changed_cells(again, moved) == [draining.traits]
    elsewhere = listing.lists(*FORTY[:17], endpoint(18, 1), *FORTY[18:])
    assert changed_cells(moved, elsewhere) == [TRAITS[1], TRAITS[0]]


def test_a_cell_comes_with_its_first_endpoint_and_goes_with_its_last() -> None:
    listing, alone = Listing(), [one for one in FORTY if one.traits != TRAITS[1]]
    assert len(listing.lists(*alone).ports[0][1]) == 2
    assert changed_cells(listing.lists(*alone), listing.lists(*alone[:5], FORTY[0], *alone[5:])) == [TRAITS[1]]
    assert [cell.traits for cell in listing.lists(*alone).ports[0][1]] == [TRAITS[2], TRAITS[0]]


def test_cells_are_those_of_the_ports_as_they_are_called_now() -> None:
    listing, everyone = Listing(), tuple(FORTY)
    for names in (("http", "tcp"), ("http", "web"), ("web",), ("http", "web")):
        assert [name for name, _ in listing.lists_ports(*((name, everyone) for name in names)).ports] == list(names)


def test_an_address_that_comes_a_second_time_is_counted_once_as_ever_and_goes_by_itself() -> None:
    listing = Listing()
    listing.lists(*FORTY)
    assert not listing.lists(*FORTY, endpoint(18, 0, pod="q")).distinct
    assert not listing.lists(*FORTY, endpoint(18, 1)).distinct
    assert listing.lists(*FORTY).distinct


CHANGES = st.sampled_from(["take", "put", "exchange", "halve"])


@st.composite
def listings(draw: st.DrawFn) -> list[list[Endpoint]]:
    """A list and what becomes of it: few endpoints go, come, are exchanged, moved or doubled, or very many at once."""
    places = st.integers(0, 59)
    others = st.builds(
        endpoint, st.integers(1, 80), st.integers(0, 2), pod=st.sampled_from("pq"), weight=st.integers(1, 3), health=st.sampled_from(Health)
    )
    steps = [[*FORTY[: draw(st.integers(0, 40))]]]
    for _ in range(draw(st.integers(1, 6))):
        now = list(steps[-1])
        for what, place, one in draw(st.lists(st.tuples(CHANGES, places, others), max_size=4)):
            if what == "put":
                now.insert(place, one)
            elif what == "halve":
                del now[place % 2 :: 2]
            elif place < len(now):
                now[place : place + 1] = [one] if what == "exchange" else []
        steps.append(now)
    return steps


@given(listings(), st.booleans())
@settings(deadline=None, max_examples=examples(100))
def test_cells_that_go_on_from_what_they_were_are_those_made_anew(steps: list[list[Endpoint]], several: bool) -> None:
    listing = Listing()
    for number, step in enumerate(steps):
        tcp = tuple(step[:3] if number % 2 else steps[0])
        listing.lists_ports(("http", tuple(step)), *([("tcp", tcp)] if several and number != 2 else ()))


# -- of several sources ---------------------------------------------------------------------------------------------------------

PORT = port_key("reviews")
PLACED: tuple[Row, ...] = (
    cluster("east", "net-east"),
    service("east", "reviews"),
    service("west", "reviews"),
    *(node(where, f"n{zone}", "r", str(zone)) for where in ("east", "west") for zone in range(2)),
)


def listed(where: str, name: str, *hosts: int, unready: frozenset[int] = frozenset()) -> EndpointSlice:
    """A slice with these hosts, by turns in two zones."""
    entries = [SliceEndpoint.of(f"10.0.0.{host}", node=f"n{host % 2}", ready=host not in unready) for host in hosts]
    return slice_of(where, "reviews", *entries, name=name)


def index_and_cells(mesh: Mesh) -> tuple[CellIndex, list[tuple[Endpoint, ...]]]:
    """They are held from then on, and go on from what they were."""
    index = mesh.ask(CELL_INDEX, PORT)
    return index, [mesh.ask(CELLS, CellKey(PORT, traits)) for traits, _ in index.cells]


def test_where_one_endpoint_of_several_sources_changes_neither_are_all_sorted_nor_all_addresses_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("all was looked at")

    some, others, hosts = range(1, 41), range(41, 81), frozenset(range(1, 81))
    rows = [*PLACED, cluster("west", "net-west"), gateway_service("west", "net-west", "192.0.2.1"), listed("east", "b", *others)]
    mesh = Mesh(*rows, listed("east", "a", *some))
    index_and_cells(mesh)
    mesh.put(listed("east", "a", *some, unready=frozenset([7])))
    for name in ("_merged", "_disjoint", "_at_gateways"):
        monkeypatch.setattr(f"steersman.registry.cells.{name}", refused)
    for unready in (set(), {7}, {8}, set[int]()):
        mesh.put(listed("east", "a", *some, unready=frozenset(unready)))
        index, cells = index_and_cells(mesh)
        assert {endpoint.address for cell in cells for endpoint in cell} == {f"10.0.0.{host}" for host in hosts - unready}
        assert [(one.address, one.port) for cell in cells for one in cell] == [
            place for cell in cells for place in sorted((one.address, one.port) for one in cell)
        ]
        assert sum(index.weights) == 80 - len(unready)


def at_gateway(host: int) -> Row:
    return gateway_service("west", "net-west", f"10.0.0.{host}")


@pytest.mark.parametrize(
    ("ready", "changed"),
    [
        ({50}, []),
        ({90}, []),
        ({20}, []),
        (set(), [at_gateway(30)]),
        (set(), [at_gateway(91)]),
    ],
    ids=["comes where another is", "comes to a gateway", "leaves a gateway", "the gateway moves to one", "the gateway moves away"],
)
def test_an_address_that_comes_to_stand_for_two_or_no_longer_does_is_noted_as_ever(ready: set[int], changed: list[Row]) -> None:
    """`ready`: whose readiness turns."""
    gateways = [at_gateway(20), gateway_service("west", "net-north", "10.0.0.90", name="other")]
    rows = [*PLACED, cluster("west", "net-west"), *gateways, listed("east", "b", *range(41, 81))]
    hosts, unready = (*range(1, 41), 50, 90), {50, 90}
    mesh = Mesh(*rows)
    for also in ({7}, {8}, {7}, set[int]()):
        mesh.put(listed("east", "a", *hosts, unready=frozenset(unready | also)))
        index_and_cells(mesh)
    before = index_and_cells(mesh)
    changed = [*changed, listed("east", "a", *hosts, unready=frozenset(unready ^ ready))]
    mesh.put(*changed)
    assert index_and_cells(mesh) == index_and_cells(Mesh(*rows, *changed)) != before


def slices_over_time(chance: Random) -> Iterator[tuple[int, tuple[int, ...], frozenset[int]]]:
    """Which of three slices is listed next, with which hosts, and who of these isn't ready: mostly its own, of which few come and go; at
    times one that another has."""
    hosts = [list(range(1 + 30 * number, 25 + 30 * number)) for number in range(3)]
    for _ in range(12):
        number = chance.randrange(3)
        own = hosts[number]
        for what in chance.choices(["go", "come", "steal", "give back", "halve"], [5, 5, 3, 3, 0.5], k=chance.choice([0, 0, 0, 1, 2])):
            others = [host for other in hosts for host in other if other is not own]
            twice = [host for host in own if host in others]
            if what == "halve":
                del own[chance.randrange(2) :: 2]
            elif what == "go" and own:
                own.remove(chance.choice(own))
            elif what == "give back" and twice:
                own.remove(chance.choice(twice))
            elif what in ("come", "steal"):
                host = chance.choice(others) if what == "steal" else 30 * number + chance.randint(1, 29)
                if host not in own:
                    own.insert(chance.randrange(len(own) + 1), host)
        unready_twice = [host for host in own if chance.random() < 0.5 and any(host in other for other in hosts if other is not own)]
        yield number, tuple(own), frozenset(chance.sample(own, min(len(own), chance.randrange(3))) + unready_twice)


@given(st.integers(0, 2**32).map(Random), st.booleans(), st.sampled_from([None, 12]))
@settings(deadline=None, max_examples=examples(30))
def test_cells_of_several_sources_that_go_on_from_what_they_were_are_those_made_anew(
    chance: Random, one_network: bool, gateway: int | None
) -> None:
    """When the slice in the west is listed the gateway, if there is one, may move, from one slice's address to another's."""
    where = [("east", "a"), ("east", "b"), ("west", "c")]
    now: dict[object, Row] = {number: listed(*where[number], *range(1 + 30 * number, 25 + 30 * number)) for number in range(3)}
    mesh = Mesh(*PLACED, cluster("west", "net-east" if one_network else "net-west"), *now.values())
    index_and_cells(mesh)
    for number, hosts, unready in slices_over_time(chance):
        changed: dict[object, Row] = {number: listed(*where[number], *hosts, unready=unready)}
        if gateway is not None and number == 2:
            changed["gateway"] = at_gateway(gateway + 30 * (len(hosts) % 2))
        now |= changed
        mesh.put(*changed.values())
        fresh = Mesh(*PLACED, cluster("west", "net-east" if one_network else "net-west"), *now.values())
        assert index_and_cells(mesh) == index_and_cells(fresh)
