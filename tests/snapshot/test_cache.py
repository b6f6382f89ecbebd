"""The cache between graph and tables: needs become demand, and what a settlement changed becomes changes of tables, in one step."""

import sys
from collections.abc import Hashable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from steersman.graph import Derived, Graph, NodeRef, Reader, Table
from steersman.pipeline import Generation
from steersman.resources.collections import MANIFESTS, TABLES_OF, PartKey
from steersman.resources.resource import Resource, of_parts
from steersman.snapshot.cache import Names, Place, Published, SnapshotCache, TableChanged
from steersman.snapshot.table import PENDING, LayeredTable
from tests.support.examples import examples

TYPE = "type.googleapis.com/test.Thing"
SCOPES: Table[str, tuple[str, ...]] = Table("scopes")  # of a node id: the scopes of its parts
LISTED: Table[str, tuple[str, ...]] = Table("listed")  # of a scope: the names in it
BODIES: Table[str, bytes] = Table("bodies")  # of a name: its bytes
THINGS: Derived[str, Resource | None] = Derived("things")


def name_in(scope: Hashable, name: str) -> str:
    """Scopes `s1` and `s2` share their resources, as two namespaces share clusters."""
    return f"{str(scope).rstrip('12')}.{name}"


class Mesh:
    """A graph with the cache's two collections over plain tables, and a cache on it."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.graph.table(SCOPES)
        self.graph.table(LISTED)
        self.graph.table(BODIES)
        self.graph.derive(THINGS, self.thing, reads=(BODIES,))
        self.graph.derive(MANIFESTS, self.manifest, reads=(LISTED,))
        self.graph.derive(TABLES_OF, self.tables, reads=(SCOPES,))
        self.cache = SnapshotCache(self.graph)

    @staticmethod
    def thing(read: Reader, name: str) -> Resource | None:
        body = read(BODIES, name)
        if body == b"bug":
            raise RuntimeError("a bug")
        return None if body is None else of_parts(name, [body])

    @staticmethod
    def manifest(read: Reader, part: PartKey) -> tuple[tuple[str, NodeRef], ...]:
        names = read(LISTED, str(part.scope)) or ()
        return tuple((name_in(part.scope, name), NodeRef(THINGS, name_in(part.scope, name))) for name in sorted(names))

    @staticmethod
    def tables(read: Reader, node_id: str) -> tuple[tuple[PartKey, ...], ...]:
        scopes = read(SCOPES, node_id)
        return (tuple(PartKey(TYPE, scope, by_name=scope.startswith("on-")) for scope in scopes),) if scopes else ()

    def publish(self) -> Published:
        changed: dict[NodeRef, None] = {}
        computed = 0
        while True:
            settled = self.graph.settle()
            changed.update(dict.fromkeys(settled.changed))
            computed += settled.computed
            self.cache.absorb(settled.changed)
            if self.graph.settled:
                return self.cache.publish(Generation(number=1, causes={}, changed=tuple(changed), computed=computed))


@pytest.fixture
def mesh() -> Mesh:
    mesh = Mesh()
    mesh.graph.put(SCOPES, "p", ("shared", "own"))
    mesh.graph.put(LISTED, "shared", ("a", "b"))
    mesh.graph.put(LISTED, "own", ("x",))
    for name in ("shared.a", "shared.b", "own.x"):
        mesh.graph.put(BODIES, name, name.encode())
    return mesh


def body(place: Place, name: str) -> Any:
    found = place.tables[TYPE].lookup(name)
    return found.body if isinstance(found, Resource) else found


def test_a_place_is_told_its_table_and_what_it_holds_of_it(mesh: Mesh) -> None:
    place = mesh.cache.join("p")
    told = mesh.publish().changes
    assert [(item.place, item.type_url, item.moved) for item in told] == [(place, TYPE, True)]
    assert set(place.tables[TYPE].names()) == {"shared.a", "shared.b", "own.x"}
    assert body(place, "shared.a") is PENDING
    mesh.cache.hold(place, TYPE, frozenset({"shared.a", "absent"}))
    (told_of,) = mesh.publish().changes
    assert [change.name for change in told_of.changes] == ["shared.a"]
    assert (body(place, "shared.a"), body(place, "shared.b"), body(place, "absent")) == (b"shared.a", PENDING, None)


def test_what_nobody_holds_is_not_computed(mesh: Mesh) -> None:
    place = mesh.cache.join("p")
    mesh.publish()
    mesh.cache.hold(place, TYPE, frozenset({"own.x"}))
    mesh.publish()
    before = mesh.graph.size
    mesh.cache.hold(place, TYPE, frozenset())
    mesh.publish()
    assert mesh.graph.size < before
    assert body(place, "own.x") is PENDING
    mesh.cache.leave(place)
    mesh.publish()
    assert mesh.graph.size == 0


def test_of_what_is_had_by_name_only_that_is_computed_which_is_named(mesh: Mesh) -> None:
    mesh.graph.put(SCOPES, "p", ("on-demand", "own"))
    mesh.graph.put(LISTED, "on-demand", ("a", "b"))
    for name in ("on-demand.a", "on-demand.b"):
        mesh.graph.put(BODIES, name, name.encode())
    place = mesh.cache.join("p")
    mesh.cache.hold(place, TYPE, None)
    mesh.publish()
    table = place.tables[TYPE]
    assert (table.complete, [found.name for found in table.content()]) == (True, ["own.x"])
    assert (body(place, "on-demand.a"), table.listed("on-demand.a")) == (PENDING, None)
    mesh.cache.hold(place, TYPE, None, frozenset({"on-demand.a", "absent"}))
    (told,) = mesh.publish().changes
    assert [(change.name, change.by_name) for change in told.changes] == [("on-demand.a", True)]
    assert (body(place, "on-demand.a"), body(place, "on-demand.b"), body(place, "absent")) == (b"on-demand.a", PENDING, None)
    assert [found.name for found in table.everything()] == ["on-demand.a", "own.x"]
    mesh.graph.put(BODIES, "on-demand.b", b"2")
    mesh.graph.put(BODIES, "on-demand.a", b"2")
    (told,) = mesh.publish().changes
    assert [change.name for change in told.changes] == ["on-demand.a"]
    mesh.graph.put(LISTED, "on-demand", ())
    (told,) = mesh.publish().changes
    assert {(change.name, change.by_name) for change in told.changes} == {("on-demand.a", True), ("on-demand.b", True)}
    mesh.cache.leave(place)
    mesh.publish()
    assert mesh.graph.size == 0


def test_all_that_is_had_by_name_only_can_be_asked_for(mesh: Mesh) -> None:
    mesh.graph.put(SCOPES, "p", ("on-demand", "own"))
    mesh.graph.put(LISTED, "on-demand", ("a",))
    mesh.graph.put(BODIES, "on-demand.a", b"a")
    place = mesh.cache.join("p")
    mesh.cache.hold(place, TYPE, None, None)
    mesh.publish()
    assert [found.name for found in place.tables[TYPE].everything()] == ["on-demand.a", "own.x"]


def test_who_leaves_what_is_had_by_name_only_is_told_so(mesh: Mesh) -> None:
    mesh.graph.put(SCOPES, "p", ("on-demand", "own"))
    mesh.graph.put(LISTED, "on-demand", ("a",))
    mesh.graph.put(BODIES, "on-demand.a", b"a")
    place = mesh.cache.join("p")
    mesh.cache.hold(place, TYPE, None, frozenset({"on-demand.a"}))
    mesh.publish()
    mesh.graph.put(SCOPES, "p", ("own",))
    (told,) = mesh.publish().changes
    assert told.moved
    assert [(change.name, change.new, change.by_name) for change in told.changes] == [("on-demand.a", None, True)]


def test_a_type_that_a_proxy_has_no_more_leaves_nothing_behind(mesh: Mesh) -> None:
    place = mesh.cache.join("p")
    mesh.publish()
    mesh.graph.put(SCOPES, "p", ())
    mesh.publish()
    assert place.tables[TYPE].ready
    assert list(place.tables[TYPE].names()) == []
    assert mesh.cache._layered == {}


def test_two_streams_of_one_proxy_both_get_tables(mesh: Mesh) -> None:
    first = mesh.cache.join("p")
    mesh.publish()
    second = mesh.cache.join("p")
    mesh.publish()
    assert second.tables[TYPE] is first.tables[TYPE]


def test_what_another_part_holds_already_is_there_for_the_next(mesh: Mesh) -> None:
    mesh.graph.put(SCOPES, "q", ("shared2",))
    mesh.graph.put(LISTED, "shared2", ("a",))
    first, second = mesh.cache.join("p"), mesh.cache.join("q")
    mesh.cache.hold(first, TYPE, None)
    mesh.publish()
    mesh.cache.hold(second, TYPE, frozenset({"shared.a"}))
    mesh.publish()
    assert body(second, "shared.a") == b"shared.a"


def test_when_thousands_leave_at_once_each_costs_what_it_had() -> None:
    """As when a network breaks: of what the others have nothing may be looked at."""
    mesh = Mesh()
    places = []
    for number in range(3_000):
        mesh.graph.put(SCOPES, f"p{number}", ("shared", f"own{number}"))
        places.append(mesh.cache.join(f"p{number}"))
    mesh.publish()
    lines = 0

    def counting(frame: Any, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += 1
        return counting

    sys.settrace(counting)
    try:
        for place in places:
            mesh.cache.leave(place)
    finally:
        sys.settrace(None)
    assert lines < 150 * len(places)


def test_tables_move_only_when_published(mesh: Mesh) -> None:
    place = mesh.cache.join("p")
    mesh.cache.hold(place, TYPE, None)
    mesh.publish()
    mesh.graph.put(LISTED, "shared", ("b", "c"))
    mesh.graph.put(BODIES, "shared.c", b"c")
    mesh.graph.put(BODIES, "shared.b", b"B")
    mesh.cache.absorb(mesh.graph.settle().changed)
    assert (body(place, "shared.a"), body(place, "shared.b"), body(place, "shared.c")) == (b"shared.a", b"shared.b", None)
    (told,) = mesh.publish().changes
    assert {change.name for change in told.changes} == {"shared.a", "shared.b", "shared.c"}
    assert (body(place, "shared.a"), body(place, "shared.b"), body(place, "shared.c")) == (None, b"B", b"c")


def test_a_value_that_fails_keeps_what_was_sent_of_it(mesh: Mesh) -> None:
    place = mesh.cache.join("p")
    mesh.cache.hold(place, TYPE, None)
    mesh.publish()
    mesh.graph.put(BODIES, "own.x", b"bug")
    published = mesh.publish()
    assert [str(failure) for failure in published.failed] == ["things[own.x]: RuntimeError: a bug"]
    assert body(place, "own.x") == b"own.x"


def test_c54_a_value_that_fails_from_the_first_holds_up_no_other_and_comes_when_it_is_mended(mesh: Mesh) -> None:
    mesh.graph.put(BODIES, "own.x", b"bug")
    place = mesh.cache.join("p")
    mesh.cache.hold(place, TYPE, None)
    assert len(mesh.publish().failed) == 1
    assert place.tables[TYPE].complete, "who asked for everything is answered"
    assert set(place.tables[TYPE].names()) == {"shared.a", "shared.b"}
    mesh.graph.put(LISTED, "own", ("x", "y"))
    mesh.graph.put(BODIES, "own.y", b"y")
    mesh.publish()
    assert place.tables[TYPE].complete, "as long as it fails"
    mesh.graph.put(BODIES, "own.x", b"mended")
    (told,) = mesh.publish().changes
    assert [change.name for change in told.changes] == ["own.x"]
    assert body(place, "own.x") == b"mended"
    mesh.graph.put(LISTED, "own", ("x", "y", "z"))
    mesh.graph.put(BODIES, "own.z", b"z")
    mesh.publish()
    assert body(place, "own.x") == b"mended"


NODES = st.sampled_from(["p", "q"])
SCOPE_NAMES = st.sampled_from(["s", "t"])
NAMES = st.sampled_from(["a", "b"])
FULL_NAMES = st.builds(name_in, SCOPE_NAMES, NAMES)


class Told:
    """A stream, which compares nothing but tables as they are once it is told, and forgets what it was."""

    def __init__(self) -> None:
        self.known: dict[str, Resource] = {}
        self.table = LayeredTable()

    def subscribe(self, names: Names) -> None:
        """What there is of these is known now, nothing of others any more."""
        self.known = {resource.name: resource for resource in self.table.content() if names is None or resource.name in names}

    def take(self, told: TableChanged) -> None:
        names = {change.name for change in told.changes}
        if told.moved:
            old, self.table = self.table, told.place.tables[TYPE]
            both = {*old.names(), *self.table.names()}
            names |= {name for name in both if old.lookup(name) is not self.table.lookup(name)}
        for name in names:
            answer = self.table.lookup(name)
            if isinstance(answer, Resource):
                self.known[name] = answer
            else:
                self.known.pop(name, None)


class Histories(RuleBasedStateMachine):
    """Any order of joining, holding, moving and leaving, among any changes: what a place can see is what a fresh look would find."""

    def __init__(self) -> None:
        super().__init__()
        self.mesh = Mesh()
        for node, number in (("p", "1"), ("q", "2")):
            self.mesh.graph.put(SCOPES, node, (f"s{number}", f"t{number}"))
            self.mesh.graph.put(LISTED, f"s{number}", ("a", "b"))
        self.mesh.graph.put(BODIES, "s.a", b"0")
        self.places = [self.mesh.cache.join("p"), self.mesh.cache.join("q")]
        self.streams: dict[Place, Told] = {}

    @rule(node=NODES)
    def join(self, node: str) -> None:
        self.places.append(self.mesh.cache.join(node))

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.places:
            place = self.places.pop(data.draw(st.integers(0, len(self.places) - 1)))
            self.mesh.cache.leave(place)

    @rule(data=st.data(), names=st.one_of(st.none(), st.frozensets(FULL_NAMES, max_size=4)))
    def hold(self, data: st.DataObject, names: frozenset[str] | None) -> None:
        if self.places:
            place = self.places[data.draw(st.integers(0, len(self.places) - 1))]
            self.mesh.cache.hold(place, TYPE, names)
            self.streams.setdefault(place, Told()).subscribe(names)

    @rule(node=NODES, scopes=st.lists(SCOPE_NAMES, unique=True, max_size=2))
    def move(self, node: str, scopes: list[str]) -> None:
        self.mesh.graph.put(SCOPES, node, tuple(scope + ("1" if node == "p" else "2") for scope in scopes))

    @rule(scope=SCOPE_NAMES, number=st.sampled_from("12"), names=st.frozensets(NAMES))
    def list_names(self, scope: str, number: str, names: frozenset[str]) -> None:
        self.mesh.graph.put(LISTED, scope + number, tuple(sorted(names)))

    @rule(name=FULL_NAMES, text=st.sampled_from([b"1", b"2", None]))
    def write(self, name: str, text: bytes | None) -> None:
        if text is None:
            self.mesh.graph.delete(BODIES, name)
        else:
            self.mesh.graph.put(BODIES, name, text)

    @rule()
    def publish(self) -> None:
        graph = self.mesh.graph
        for told in self.mesh.publish().changes:
            self.streams.setdefault(told.place, Told()).take(told)
        for place in self.places:
            self.check(place)
        if not self.places:
            assert graph.size == 0
            assert not self.mesh.cache._layered

    def check(self, place: Place) -> None:
        graph = self.mesh.graph
        scopes = graph.rows(SCOPES).get(place.node_id, ())
        if TYPE not in place.tables:
            assert not scopes
            return
        declared = {name_in(scope, name) for scope in scopes for name in graph.rows(LISTED).get(scope, ())}
        table = place.tables[TYPE]
        assert set(table.names()) == declared
        held = place.holds[TYPE].names if TYPE in place.holds else frozenset()
        for name in declared if held is None else held & declared:
            expected = graph.rows(BODIES).get(name)
            if expected is None:
                continue
            found = table.lookup(name)
            assert isinstance(found, Resource)
            assert found.body == expected
        known = {name: resource for name, resource in self.streams[place].known.items() if held is None or name in held}
        assert known == {resource.name: resource for resource in table.content() if held is None or resource.name in held}

    def teardown(self) -> None:
        self.publish()


TestHistories = Histories.TestCase
TestHistories.settings = settings(deadline=None, max_examples=examples(80), stateful_step_count=40)
