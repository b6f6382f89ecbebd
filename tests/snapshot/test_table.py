"""Tables: content by name, told as changes, with a version that only depends on the content."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.errors import InvalidObject
from steersman.names import CDS
from steersman.snapshot.table import LARGE, PENDING, Change, LayeredTable, Refused, RefusedTable, ResourceTable
from tests.support.examples import examples
from tests.support.xds import resource, resources


@pytest.fixture
def table() -> ResourceTable:
    return ResourceTable(CDS)


def test_before_the_first_full_content_everything_is_pending(table: ResourceTable) -> None:
    assert (table.ready, table.complete, table.lookup("a")) == (False, False, PENDING)
    table.apply(resources("a"))
    assert (table.ready, table.lookup("a")) == (False, PENDING)
    table.apply((), ["a"])
    assert (table.ready, table.complete, table.lookup("a")) == (True, True, resource("a"))
    assert table.lookup("b") is None


def test_names_that_are_new_are_pending_and_names_that_are_not_given_are_gone(table: ResourceTable) -> None:
    table.replace(resources("a", "b"))
    assert table.apply(resources("c"), ["b", "c", "d"]) == (Change("c", None, resource("c")), Change("a", resource("a"), None))
    assert (table.lookup("b"), table.lookup("c"), table.lookup("d"), table.lookup("a")) == (resource("b"), resource("c"), PENDING, None)
    assert table.ready
    assert not table.complete
    assert table.apply(resources("d")) == (Change("d", None, resource("d")),)
    assert table.complete


def test_what_turns_out_to_be_missing_is_a_change(table: ResourceTable) -> None:
    table.apply((), ["a"])
    assert table.apply(remove=["a", "never"]) == (Change("a", None, None),)
    assert table.complete


def test_an_equal_version_is_no_change(table: ResourceTable) -> None:
    table.replace(resources("a", "b"))
    before = table.content()
    assert table.apply(resources("a", "b=1")) == ()
    assert table.content() is before
    assert table.apply(resources("a=2")) == (Change("a", resource("a"), resource("a", "2")),)


def test_what_nobody_asks_for_can_be_forgotten(table: ResourceTable) -> None:
    table.replace(resources("a", "b"))
    version = table.version
    table.forget("a")
    table.forget("never")
    assert (table.lookup("a"), table.complete, table.content()) == (PENDING, False, resources("b"))
    assert table.apply(resources("a")) == (Change("a", None, resource("a")),)
    assert table.version == version


@pytest.mark.parametrize(
    ("put", "names", "remove", "words"),
    [
        (("a", "a=2"), None, (), "'a' of type .*Cluster is set or removed twice"),
        (("a",), None, ("a",), "'a' of type .*Cluster is set or removed twice"),
        ((), None, ("b", "b"), "'b' of type .*Cluster is set or removed twice"),
        (("",), None, (), "Cluster has no name"),
        (("a", "b"), ("a",), (), "'b' of type .*Cluster is set, but is not among the names there are"),
    ],
)
def test_c53_what_would_break_a_client_is_refused_when_it_is_set_and_nothing_changes(
    table: ResourceTable, put: tuple[str, ...], names: tuple[str, ...] | None, remove: tuple[str, ...], words: str
) -> None:
    table.replace(resources("a=0", "b=0"))
    before, version = table.content(), table.version
    with pytest.raises(InvalidObject, match=words):
        table.apply(resources(*put), names, remove=remove)
    assert (table.content(), table.version) == (before, version)
    with pytest.raises(InvalidObject):
        table.replace(resources("x", "x=2"))
    assert (table.content(), table.version) == (before, version)


def test_c52_a_resource_that_not_every_client_can_take_is_noted(table: ResourceTable) -> None:
    table.replace([resource("a"), resource("big", size=LARGE)])
    assert table.oversized == {"big": LARGE + len("big=1")}
    table.apply(resources("big"))
    assert table.oversized == {}
    table.apply([resource("big", size=LARGE)])
    table.apply(remove=["big"])
    assert table.oversized == {}


def test_the_version_of_a_whole_can_be_stated(table: ResourceTable) -> None:
    table.replace(resources("a"), version="7")
    assert (table.version, table.stated) == ("7", "7")
    table.apply(resources("b"))
    assert table.stated == ""
    assert table.version != "7"


names = st.sampled_from("abcd")


@settings(deadline=None, max_examples=examples(100))
@given(steps=st.lists(st.tuples(names, st.none() | st.integers(1, 3)), max_size=20))
def test_the_version_depends_on_the_content_alone(steps: list[tuple[str, int | None]]) -> None:
    table = ResourceTable(CDS)
    table.replace(())
    content: dict[str, int] = {}
    for name, value in steps:
        if value is None:
            table.apply(remove=[name])
            content.pop(name, None)
        else:
            table.apply(resources(f"{name}={value}"))
            content[name] = value
    fresh = ResourceTable(CDS)
    fresh.replace(resources(*(f"{name}={value}" for name, value in content.items())))
    assert table.version == fresh.version
    assert table.content() == fresh.content()
    other = ResourceTable(CDS)
    other.replace(resources(*(f"{name}={value + 1}" for name, value in content.items())))
    assert (other.version == fresh.version) == (not content)


@settings(deadline=None, max_examples=examples(100))
@given(steps=st.lists(st.tuples(st.integers(0, 1), names, st.none() | st.integers(1, 3)), max_size=20))
def test_layers_are_one_table(steps: list[tuple[int, str, int | None]]) -> None:
    parts = (ResourceTable(CDS), ResourceTable(CDS))
    layered, flat = LayeredTable(parts), ResourceTable(CDS)
    flat.replace(())
    assert not layered.ready
    for part in parts:
        part.replace(())
    names_drawn = {name for _, name, _ in steps}
    for layer, name, value in steps:
        full = f"{layer}{name}"
        if value is None:
            parts[layer].apply(remove=[full])
            flat.apply(remove=[full])
        else:
            parts[layer].apply(resources(f"{full}={value}"))
            flat.apply(resources(f"{full}={value}"))
        assert layered.version == flat.version
        assert layered.content() == flat.content()
        assert layered.content() is layered.content()
        assert sorted(layered.names()) == sorted(flat.names())
        assert layered.lookup(full) == flat.lookup(full)
        held = {f"{number}{one}": resource(f"{number}{one}=2").version for number in (0, 1) for one in names_drawn}
        differing = {one for one, version in held.items() if getattr(layered.lookup(one), "version", None) != version}
        assert set(layered.differing(held)) == set(flat.differing(held)) == differing
    assert layered.complete


def test_layers_are_ready_and_complete_when_all_of_them_are() -> None:
    parts = (ResourceTable(CDS), ResourceTable(CDS))
    layered = LayeredTable(parts)
    parts[0].replace(resources("a"))
    assert (layered.ready, layered.lookup("a"), layered.lookup("b")) == (False, resource("a"), PENDING)
    held = {"a": resource("a").version, "b": "1"}
    assert list(layered.differing(held)) == ["a", "b"]
    parts[1].apply((), ["b"])
    assert list(layered.differing(held)) == ["b"]
    assert (layered.ready, layered.complete, layered.lookup("c")) == (True, False, None)


def test_a_table_without_layers_is_ready_and_empty() -> None:
    table = LayeredTable()
    assert (table.ready, table.complete, table.lookup("a"), list(table.names()), table.content()) == (True, True, None, [], ())


def test_a_refused_type_has_an_answer_to_every_name() -> None:
    refused = Refused(code=7, text="no")
    table = RefusedTable(refused)
    assert (table.ready, table.complete, table.lookup("a"), list(table.names()), table.content()) == (True, True, refused, [], ())
    assert list(table.differing({"a": "1"})) == ["a"]
