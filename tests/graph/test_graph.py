"""The engine by itself: tracked reads, early cutoff, demand, wants, failures; and that any history ends where a fresh build starts."""

from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.graph import ComputeFailed, Derived, Graph, Index, NodeRef, Reader, Table, UndeclaredRead, differences


class Row(NamedTuple):
    group: str
    size: int


ROWS: Table[str, Row] = Table("rows")
NAMES: Table[str, str] = Table("names", wanted=True)
IN_GROUP: Index[str, str] = Index("in_group", ROWS, lambda row: (row.group,))
TOTAL: Derived[str, int] = Derived("total")
PARITY: Derived[str, str] = Derived("parity")
REPORT: Derived[str, str] = Derived("report")
REPORTS: Derived[str, str] = Derived("reports")


class Summed(NamedTuple):
    """What a sum goes on from."""

    rows: tuple[Row, ...]
    total: int


class Counted:
    """The test graph, which counts how often each collection's function ran. `going_on`: sums are computed anew from what they were;
    `from_the_first`: at their first change already."""

    def __init__(self, at_once: int = 100, *, going_on: bool = False, from_the_first: bool = False) -> None:
        self.ran: Counter[str] = Counter()
        self.went_on_from: list[Summed | None] = []
        self.graph = Graph(at_once)
        self.graph.table(ROWS)
        self.graph.table(NAMES)
        self.graph.index(IN_GROUP)
        again = self.total_again if going_on else None
        self.graph.derive(TOTAL, self.total, reads=(ROWS, IN_GROUP), again=again, from_the_first=from_the_first)
        self.graph.derive(PARITY, self.parity, reads=(TOTAL,))
        self.graph.derive(REPORT, self.report, reads=(PARITY, NAMES, ROWS))
        self.graph.derive(REPORTS, self.reports, reads=(REPORT,))

    def total(self, read: Reader, group: str) -> int:
        self.ran["total"] += 1
        return sum(row.size for row in (read(ROWS, name) for name in read(IN_GROUP, group)) if row is not None)

    def total_again(self, read: Reader, group: str, kept: Summed | None) -> tuple[int, Summed]:
        """Takes off what left, and adds what entered."""
        self.ran["total again"] += 1
        self.went_on_from.append(kept)
        rows = tuple([row for row in (read(ROWS, name) for name in read(IN_GROUP, group)) if row is not None])
        before = kept or Summed((), 0)
        total = before.total
        for left, gone, entered, ends in differences(before.rows, rows):
            total += sum(row.size for row in rows[entered:ends]) - sum(row.size for row in before.rows[left:gone])
        return total, Summed(rows, total)

    def parity(self, read: Reader, group: str) -> str:
        self.ran["parity"] += 1
        return "even" if read(TOTAL, group) % 2 == 0 else "odd"

    def report(self, read: Reader, group: str) -> str:
        self.ran["report"] += 1
        if read(PARITY, group) == "even":
            return f"{group} is even"
        return f"{group} is odd, says {read(NAMES, group) or 'nobody'}"

    def reports(self, read: Reader, groups: str) -> str:
        self.ran["reports"] += 1
        return "; ".join(read(REPORT, group) for group in groups)


@pytest.fixture
def counted() -> Counted:
    return Counted()


def changed(graph: Graph) -> set[NodeRef]:
    return set(graph.settle().changed)


def test_a_demanded_value_is_computed_and_reported_once(counted: Counted) -> None:
    graph = counted.graph
    graph.put(ROWS, "a", Row("g", 2))
    graph.demand(REPORT, "g")
    assert changed(graph) == {NodeRef(REPORT, "g")}
    assert graph.value(REPORT, "g") == "g is even"
    assert changed(graph) == set()
    assert counted.ran == {"total": 1, "parity": 1, "report": 1}


def test_nothing_is_computed_without_demand(counted: Counted) -> None:
    counted.graph.put(ROWS, "a", Row("g", 2))
    assert counted.graph.settle().computed == 0
    assert not counted.ran


def test_an_equal_row_is_no_event(counted: Counted) -> None:
    assert counted.graph.put(ROWS, "a", Row("g", 2))
    assert not counted.graph.put(ROWS, "a", Row("g", 2))
    assert not counted.graph.delete(ROWS, "b")


def test_a_value_that_comes_out_equal_stops_there(counted: Counted) -> None:
    graph = counted.graph
    graph.put(ROWS, "a", Row("g", 2))
    graph.demand(REPORT, "g")
    graph.settle()
    counted.ran.clear()
    graph.put(ROWS, "a", Row("g", 4))
    assert changed(graph) == set()
    assert counted.ran == {"total": 1, "parity": 1}


def test_what_was_not_read_computes_nothing(counted: Counted) -> None:
    graph = counted.graph
    graph.put(ROWS, "a", Row("g", 2))
    graph.demand(REPORT, "g")
    graph.settle()
    counted.ran.clear()
    graph.put(ROWS, "b", Row("h", 3))
    graph.put(NAMES, "g", "ann")
    assert changed(graph) == set()
    assert not counted.ran


def test_reads_follow_the_values_that_decided_them(counted: Counted) -> None:
    graph = counted.graph
    graph.demand(REPORT, "g")
    graph.put(ROWS, "a", Row("g", 1))
    graph.settle()
    assert graph.wanted(NAMES) == {"g"}
    graph.put(NAMES, "g", "ann")
    assert changed(graph) == {NodeRef(REPORT, "g")}
    assert graph.value(REPORT, "g") == "g is odd, says ann"
    assert graph.take_wants_changed()
    graph.put(ROWS, "a", Row("g", 2))
    graph.settle()
    assert graph.wanted(NAMES) == frozenset()
    assert graph.take_wants_changed()
    assert not graph.take_wants_changed()


def test_what_nobody_needs_is_forgotten_with_all_that_only_it_read(counted: Counted) -> None:
    graph = counted.graph
    graph.put(ROWS, "a", Row("g", 1))
    graph.demand(REPORT, "g")
    graph.demand(REPORT, "g")
    graph.settle()
    held = graph.size
    graph.release(REPORT, "g")
    graph.settle()
    assert graph.size == held
    graph.release(REPORT, "g")
    graph.settle()
    assert graph.size == 0
    with pytest.raises(KeyError):
        graph.value(REPORT, "g")


def test_a_value_demanded_and_released_before_settling_leaves_nothing(counted: Counted) -> None:
    counted.graph.demand(REPORT, "g")
    counted.graph.release(REPORT, "g")
    assert changed(counted.graph) == set()
    assert counted.graph.size == 0


def test_an_undeclared_read_is_an_error() -> None:
    graph = Graph()
    graph.table(ROWS)
    graph.table(NAMES)
    graph.derive(REPORT, lambda read, key: str(read(NAMES, key)), reads=(ROWS,))
    graph.demand(REPORT, "g")
    with pytest.raises(UndeclaredRead, match="report read names, which its edge does not declare"):
        graph.settle()


def test_a_failure_costs_its_readers_and_nobody_else(counted: Counted) -> None:
    def fragile(read: Reader, key: str) -> int:
        row = read(ROWS, key)
        return 10 // row.size if row else 0

    graph = Graph()
    graph.table(ROWS)
    graph.derive(TOTAL, fragile, reads=(ROWS,))
    graph.derive(PARITY, lambda read, key: str(read(TOTAL, key)), reads=(TOTAL,))
    for name, size in (("bad", 0), ("good", 5)):
        graph.put(ROWS, name, Row("g", size))
        graph.demand(PARITY, name)
    assert changed(graph) == {NodeRef(PARITY, "good"), NodeRef(PARITY, "bad")}
    assert graph.value(PARITY, "good") == "2"
    with pytest.raises(ComputeFailed, match=r"total\[bad\]: ZeroDivisionError"):
        graph.value(PARITY, "bad")
    graph.put(ROWS, "bad", Row("g", 1))
    assert changed(graph) == {NodeRef(PARITY, "bad")}
    assert graph.value(PARITY, "bad") == "10"


def test_a_question_is_answered_and_leaves_no_trace(counted: Counted) -> None:
    graph = counted.graph
    graph.put(ROWS, "a", Row("g", 1))
    assert graph.ask(REPORT, "g") == "g is odd, says nobody"
    assert graph.size == 0
    assert graph.settled


def test_a_question_amid_unsettled_changes_is_refused(counted: Counted) -> None:
    graph = counted.graph
    graph.demand(REPORT, "g")
    with pytest.raises(ValueError, match="wait to be settled"):
        graph.ask(REPORT, "g")


def test_questions_put_together_share_what_is_computed_for_them_and_nothing_stays(counted: Counted) -> None:
    graph = counted.graph
    graph.put(ROWS, "a", Row("g", 3))
    graph.settle()
    for _ in range(2):
        with graph.answering():
            assert graph.ask(PARITY, "g") == "odd"
            with graph.answering():
                assert graph.ask(TOTAL, "g") == 3
            assert graph.ask(REPORT, "g") == "g is odd, says nobody"
    assert counted.ran == {"total": 2, "parity": 2, "report": 2}
    assert (graph.size, graph.settled) == (0, True)
    graph.ask(PARITY, "g")
    graph.ask(TOTAL, "g")
    assert counted.ran["total"] == 4


def test_the_facts_behind_a_value_are_recorded(counted: Counted) -> None:
    graph = counted.graph
    graph.put(ROWS, "a", Row("g", 1))
    graph.put(ROWS, "b", Row("h", 1))
    graph.demand(REPORT, "g")
    graph.settle()
    assert set(graph.inputs_of(REPORT, "g")) == {NodeRef(IN_GROUP, "g"), NodeRef(ROWS, "a"), NodeRef(NAMES, "g")}


def test_the_facts_behind_a_value_that_nobody_holds_are_found_and_leave_no_trace(counted: Counted) -> None:
    graph = counted.graph
    graph.put(ROWS, "a", Row("g", 1))
    assert set(graph.inputs_of(REPORT, "g")) == {NodeRef(IN_GROUP, "g"), NodeRef(ROWS, "a"), NodeRef(NAMES, "g")}
    assert graph.size == 0
    assert graph.settled


def test_wiring_twice_or_too_late_is_refused(counted: Counted) -> None:
    with pytest.raises(ValueError, match="added twice"):
        counted.graph.table(ROWS)
    counted.graph.put(ROWS, "a", Row("g", 1))
    with pytest.raises(ValueError, match="had rows"):
        counted.graph.index(Index("late", ROWS, lambda row: (row.group,)))


def test_an_index_over_an_index_holds_the_buckets_that_are_not_empty() -> None:
    letters: Index[str, str] = Index("letters", IN_GROUP, frozenset)
    counted = Counted()
    graph = counted.graph
    graph.index(letters)
    for letter in "abc":
        graph.demand(letters, letter)
    graph.put(ROWS, "1", Row("ab", 1))
    graph.put(ROWS, "2", Row("ab", 1))
    graph.put(ROWS, "3", Row("bc", 1))
    assert changed(graph) == {NodeRef(letters, letter) for letter in "abc"}
    assert [graph.value(letters, letter) for letter in "abc"] == [("ab",), ("ab", "bc"), ("bc",)]
    graph.delete(ROWS, "1")
    assert changed(graph) == set()
    graph.put(ROWS, "2", Row("c", 1))
    assert changed(graph) == {NodeRef(letters, letter) for letter in "abc"}
    assert [graph.value(letters, letter) for letter in "abc"] == [(), ("bc",), ("bc", "c")]
    with pytest.raises(ValueError, match="in_group had rows"):
        graph.index(Index("late", IN_GROUP, frozenset))


def test_a_row_whose_indexed_part_is_the_very_object_of_before_is_looked_at_by_no_index() -> None:
    asked: list[tuple[str, ...]] = []

    def buckets_of(row: tuple[tuple[str, ...], int]) -> tuple[str, ...]:
        asked.append(row[0])
        return row[0]

    rows: Table[str, tuple[tuple[str, ...], int]] = Table("rows", indexed=lambda row: row[0])
    by: Index[str, str] = Index("rows.by", rows, buckets_of)
    graph = Graph()
    graph.table(rows)
    graph.index(by)
    part = ("x",)
    graph.put(rows, "a", (part, 1))
    asked.clear()
    assert graph.put(rows, "a", (part, 2))
    assert asked == []
    assert graph.ask(rows, "a") == (part, 2)
    assert graph.put(rows, "a", (("y",), 2))
    assert asked == [part, ("y",)]
    assert (graph.ask(by, "x"), graph.ask(by, "y")) == ((), ("a",))
    graph.delete(rows, "a")
    graph.put(rows, "a", (part, 2))
    assert graph.ask(by, "x") == ("a",)


def test_each_value_is_computed_at_most_once_a_settlement(counted: Counted) -> None:
    graph = counted.graph
    graph.demand(REPORT, "g")
    graph.demand(TOTAL, "g")
    for number in range(50):
        graph.put(ROWS, str(number), Row("g", 1))
    graph.put(NAMES, "g", "ann")
    graph.settle()
    assert max(counted.ran.values()) == 1


def test_what_reads_many_new_values_makes_them_in_several_steps() -> None:
    """Three for each of 26 groups; the first try may make 6 of them, give or take the last group, and each next one half as many more."""
    counted = Counted(at_once=6)
    graph = counted.graph
    graph.put(ROWS, "a", Row("m", 1))
    groups = "abcdefghijklmnopqrstuvwxyz"
    graph.demand(REPORTS, groups)
    steps, before = [], 0
    for _ in graph.settling():
        made = counted.ran.total() - counted.ran["reports"]
        steps.append(made - before)
        before = made
    assert steps == [6, 9, 15, 21, 27]
    assert {name: counted.ran[name] for name in ("total", "parity", "report")} == dict.fromkeys(("total", "parity", "report"), 26)
    assert graph.value(REPORTS, groups).count("is even") == 25
    graph.release(REPORTS, groups)
    graph.settle()
    assert graph.size == 0


# -- going on -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def going_on() -> Counted:
    """One row of size 1 in each of the groups g and h, whose sums are demanded and settled."""
    counted = Counted(going_on=True)
    for group in "gh":
        counted.graph.put(ROWS, group, Row(group, 1))
        counted.graph.demand(TOTAL, group)
    counted.graph.settle()
    return counted


def kept(graph: Graph) -> dict[str, Summed]:
    return {node.key: held for node, held in graph._plans[TOTAL].kept.items()}


def test_what_was_computed_once_keeps_nothing_and_goes_on_from_nothing_the_first_time(going_on: Counted) -> None:
    graph = going_on.graph
    assert kept(graph) == {}
    graph.put(ROWS, "a", Row("g", 2))
    assert changed(graph) == {NodeRef(TOTAL, "g")}
    first = Summed((Row("g", 2), Row("g", 1)), 3)
    assert kept(graph) == {"g": first}
    graph.put(ROWS, "a", Row("g", 5))
    graph.settle()
    assert graph.value(TOTAL, "g") == 6
    assert going_on.went_on_from == [None, first]
    assert going_on.ran == {"total": 2, "total again": 2}


def test_what_keeps_at_once_goes_on_from_its_first_value_already() -> None:
    counted = Counted(going_on=True, from_the_first=True)
    graph = counted.graph
    graph.put(ROWS, "a", Row("g", 1))
    graph.demand(TOTAL, "g")
    graph.settle()
    first = Summed((Row("g", 1),), 1)
    assert (graph.value(TOTAL, "g"), kept(graph)) == (1, {"g": first})
    graph.put(ROWS, "a", Row("g", 5))
    assert changed(graph) == {NodeRef(TOTAL, "g")}
    assert graph.value(TOTAL, "g") == 5
    assert counted.went_on_from == [None, first]
    assert counted.ran == {"total again": 2}
    assert graph.ask(TOTAL, "h") == 0
    assert set(kept(graph)) == {"g"}, "what was only asked for is forgotten, and takes that along"


def test_a_question_goes_on_from_nothing_and_keeps_nothing(going_on: Counted) -> None:
    graph = going_on.graph
    assert graph.ask(TOTAL, "i") == 0
    assert graph.ask(TOTAL, "g") == 1
    assert (kept(graph), going_on.ran["total again"]) == ({}, 0)


def test_what_is_kept_goes_with_its_value(going_on: Counted) -> None:
    graph = going_on.graph
    graph.put(ROWS, "a", Row("g", 2))
    graph.put(ROWS, "b", Row("h", 2))
    graph.settle()
    graph.release(TOTAL, "g")
    graph.settle()
    assert set(kept(graph)) == {"h"}
    graph.demand(TOTAL, "g")
    graph.settle()
    assert set(kept(graph)) == {"h"}


def test_of_many_values_only_those_computed_anew_last_keep_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steersman.graph.nodes.KEPT", 2)
    graph = Counted(going_on=True).graph
    for group in "ghi":
        graph.demand(TOTAL, group)
    graph.settle()
    for size, group in enumerate("ghgi", 1):
        graph.put(ROWS, group, Row(group, size))
        graph.settle()
    assert set(kept(graph)) == {"g", "i"}
    graph.put(ROWS, "h", Row("h", 7))
    graph.settle()
    assert graph.value(TOTAL, "h") == 7


def test_where_nothing_is_kept_the_next_computation_goes_on_from_nothing() -> None:
    def kept_if_odd(read: Reader, key: str, kept: int | None) -> tuple[int, int | None]:
        seen.append(kept)
        row = read(ROWS, key)
        size = row.size if row else 0
        return size, size if size % 2 else None

    seen: list[int | None] = []
    graph = Graph()
    graph.table(ROWS)
    graph.derive(TOTAL, lambda read, key: 0 if read(ROWS, key) is None else 1, reads=(ROWS,), again=kept_if_odd)
    graph.demand(TOTAL, "a")
    graph.settle()
    for size in (3, 4, 6):
        graph.put(ROWS, "a", Row("g", size))
        graph.settle()
    assert seen == [None, 3, None]
    assert not graph._plans[TOTAL].kept


def test_a_computation_that_fails_leaves_what_was_kept_before() -> None:
    def fragile(read: Reader, key: str) -> int:
        row = read(ROWS, key)
        return 10 // row.size if row else 0

    def fragile_again(read: Reader, key: str, kept: int | None) -> tuple[int, int]:
        seen.append(kept)
        value = fragile(read, key)
        return value, value

    seen: list[int | None] = []
    graph = Graph()
    graph.table(ROWS)
    graph.derive(TOTAL, fragile, reads=(ROWS,), again=fragile_again)
    graph.demand(TOTAL, "a")
    graph.settle()
    for size in (5, 0, 2):
        graph.put(ROWS, "a", Row("g", size))
        assert changed(graph) == {NodeRef(TOTAL, "a")}
    assert graph.value(TOTAL, "a") == 5
    assert seen == [None, 2, 2]


def test_a_computation_that_is_put_off_leaves_what_was_kept_before() -> None:
    """Seven new values are made in three tries: the first may make two of them, the next three, the last four."""

    def spelled(read: Reader, key: str) -> str:
        row = read(ROWS, key)
        return "".join(read(PARITY, letter) for letter in row.group) if row else ""

    def spelled_again(read: Reader, key: str, kept: str | None) -> tuple[str, str]:
        seen.append(kept)
        value = spelled(read, key)
        return value, value

    seen: list[str | None] = []
    graph = Graph(at_once=2)
    graph.table(ROWS)
    graph.derive(PARITY, lambda read, letter: letter.upper(), reads=())
    graph.derive(REPORT, spelled, reads=(ROWS, PARITY), again=spelled_again)
    graph.demand(REPORT, "g")
    graph.settle()
    for letters in ("a", "abcdefgh"):
        graph.put(ROWS, "g", Row(letters, 1))
        assert changed(graph) == {NodeRef(REPORT, "g")}
    assert graph.value(REPORT, "g") == "ABCDEFGH"
    assert seen == [None, "A", "A", "A"]
    assert list(graph._plans[REPORT].kept.values()) == ["ABCDEFGH"]


KEYS = st.sampled_from("abcdef")
GROUPS = st.sampled_from("gh")
EVENTS = st.one_of(
    st.tuples(st.just("row"), KEYS, st.builds(Row, GROUPS, st.integers(0, 3))),
    st.tuples(st.just("drop"), KEYS),
    st.tuples(st.just("name"), GROUPS, st.sampled_from(["ann", "bob"])),
    st.tuples(st.just("unname"), GROUPS),
    st.tuples(st.just("demand"), st.sampled_from(["g", "h", "gh"])),
    st.tuples(st.just("release"), st.sampled_from(["g", "h", "gh"])),
    st.tuples(st.just("settle")),
)


def demanded(groups: str) -> tuple[Derived[str, str], str]:
    return REPORT if len(groups) == 1 else REPORTS, groups


@given(st.lists(EVENTS, max_size=60), st.sampled_from([1, 2, 100]), st.booleans(), st.booleans())
@settings(deadline=None)
def test_any_history_ends_where_a_fresh_build_of_the_final_facts_does(
    events: list[tuple[object, ...]], at_once: int, going_on: bool, from_the_first: bool
) -> None:
    """Also: what is reported as changed is exactly what differs from the last settlement, and nothing unneeded is held."""
    graph = Counted(at_once, going_on=going_on, from_the_first=going_on and from_the_first).graph
    demands: Counter[str] = Counter()
    seen: dict[str, str] = {}

    def settled() -> None:
        reported = {ref.key for ref in graph.settle().changed}
        now = {group: graph.value(*demanded(group)) for group in demands if demands[group]}
        assert {group for group in now if seen.get(group) != now[group]} <= reported
        assert reported <= set(now)
        seen.clear()
        seen.update(now)
        fresh = Counted().graph
        for name, row in graph.rows(ROWS).items():
            fresh.put(ROWS, name, row)
        for group, name in graph.rows(NAMES).items():
            fresh.put(NAMES, group, name)
        for group in now:
            fresh.demand(*demanded(group))
        fresh.settle()
        assert now == {group: fresh.value(*demanded(group)) for group in now}
        assert graph.size == fresh.size
        assert set(graph._plans[TOTAL].kept) <= set(graph._plans[TOTAL].nodes.values())

    for event in events:
        match event:
            case ("row", str(key), Row() as row):
                graph.put(ROWS, key, row)
            case ("drop", str(key)):
                graph.delete(ROWS, key)
            case ("name", str(group), str(name)):
                graph.put(NAMES, group, name)
            case ("unname", str(group)):
                graph.delete(NAMES, group)
            case ("demand", str(group)):
                graph.demand(*demanded(group))
                demands[group] += 1
            case ("release", str(group)) if demands[group]:
                graph.release(*demanded(group))
                demands[group] -= 1
            case ("settle",):
                settled()
    settled()


def test_a_bucket_of_an_index_may_grow_and_shrink_from_none_to_many_and_back(counted: Counted) -> None:
    graph = counted.graph
    graph.demand(IN_GROUP, "g")
    names = [f"{number:03}" for number in range(100)]
    for count, name in enumerate(names, 1):
        graph.put(ROWS, name, Row("g", 1))
        graph.settle()
        assert graph.value(IN_GROUP, "g") == tuple(names[:count])
    for count, name in enumerate(reversed(names), 1):
        graph.delete(ROWS, name)
        graph.settle()
        assert graph.value(IN_GROUP, "g") == tuple(names[: 100 - count])
