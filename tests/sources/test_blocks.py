"""Lists as they are written: what of one is as it was, whatever becomes of it."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steersman.sources.blocks import Blocks, blocks_again, blocks_of, same, unknown

Entries = list[Any]


class Told(msgspec.Struct):
    list: list[msgspec.Raw]


def written(entries: Entries, before: int = 0, after: int = 0) -> tuple[bytes, int, int]:
    """An object with this list, where the list's entries begin, and where the object ends; with so many characters of something else before
    and after the list, and after the object."""
    body = {"before": "x" * before, "list": entries, "after": "y" * after}
    text = json.dumps(body, separators=(",", ":")).encode()
    return text + b"}", text.index(b'"list":[') + len('"list":['), len(text)


def read(text: bytes, end: int) -> list[msgspec.Raw]:
    return msgspec.json.decode(text[:end], type=Told).list


def blocks(entries: Entries, **around: int) -> Blocks:
    text, at, end = written(entries, **around)
    found = blocks_of(text, at, end, read(text, end))
    assert found is not None
    return found


def many(count: int) -> Entries:
    return [{"name": f"entry-{number}"} for number in range(count)]


entries = st.lists(
    st.one_of(st.integers(0, 30).map(lambda number: {"name": "e" * (number % 7), "n": number}), st.just({"a": ["]", ",", "}"]}))
)


@given(st.lists(st.tuples(entries, st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=5))
def test_what_is_left_and_what_was_the_same_are_the_list(tellings: list[tuple[Entries, int, int]]) -> None:
    before: Blocks | None = None
    listed: Entries = []
    for now, ahead, behind in tellings:
        text, at, end = written(now, ahead, behind)
        found = same(text, at, end, before) if before is not None else None
        if found is None or before is None:
            before = blocks_of(text, at, end, read(text, end))
            assert (before is None) is (not now)
        else:
            left = read(found.text, len(found.text) - 1)
            last = listed[len(listed) - found.last :]
            assert [*listed[: found.first], *map(msgspec.json.decode, left), *last] == now
            assert json.loads(found.text[:-1]) == {**json.loads(text[:-1]), "list": [msgspec.json.decode(one) for one in left]}
            before = blocks_again(text, end, before, found, left)
            if before is not None:
                fresh = blocks(now, before=ahead, after=behind)
                assert (before.digests, before.sizes, before.rest) == (fresh.digests, fresh.sizes, fresh.rest)
                assert (sum(before.spans), sum(before.counts)) == (sum(before.sizes), len(now))
        listed = now


@given(st.integers(1, 60), st.data())
def test_of_an_entry_that_is_another_nothing_else_is_left(count: int, data: st.DataObject) -> None:
    known = many(count)
    before = blocks(known)
    for _ in range(3):
        place = data.draw(st.integers(0, count - 1))
        known[place] = {"name": f"other-{data.draw(st.integers(0, 1000))}", "more": "z" * data.draw(st.integers(0, 9))}
        text, at, end = written(known, data.draw(st.integers(0, 9)), 0)
        found = same(text, at, end, before)
        if count == 1:
            assert found is None
            break
        assert found is not None
        left = read(found.text, len(found.text) - 1)
        assert len(left) <= 1
        again = blocks_again(text, end, before, found, left)
        assert again is not None
        before = again


@given(st.integers(2, 60), st.data())
def test_of_entries_that_come_or_go_only_those_that_come_are_left(count: int, data: st.DataObject) -> None:
    before = blocks(many(count))
    place, goes = data.draw(st.integers(0, count)), data.draw(st.integers(0, 3))
    comes = data.draw(st.integers(0, 3))
    now = [*many(count)[:place], *({"name": f"new-{number}"} for number in range(comes)), *many(count)[place + goes :]]
    text, at, end = written(now)
    found = same(text, at, end, before)
    if found is None:
        assert place <= 1
        assert place + goes >= count - 1
    else:
        assert len(read(found.text, len(found.text) - 1)) <= comes + 1


def test_what_follows_the_list_may_change() -> None:
    before = blocks(many(20))
    text, at, end = written(many(20), 3, 5)
    found = same(text, at, end, before)
    assert found is not None
    assert (found.first, found.last) == (20, 0)
    changed = [*many(10), {}, *many(20)[11:]]
    text, at, end = written(changed, 3, 5)
    found = same(text, at, end, before)
    assert found is not None
    assert (found.first, found.last) == (10, 0)


def test_an_entry_that_is_unknown_is_left_though_it_is_written_as_before() -> None:
    before = unknown(blocks(many(30)), [11])
    text, at, end = written(many(30))
    found = same(text, at, end, before)
    assert found is not None
    assert (found.first, found.last) == (11, 18)


def test_what_is_no_list_as_api_servers_write_it_has_no_blocks() -> None:
    text = json.dumps({"list": many(3)}).encode()
    assert blocks_of(text, text.index(b"[") + 1, len(text), read(text, len(text))) is None
    text, at, end = written([])
    assert blocks_of(text, at, end, []) is None


def test_a_text_that_is_no_json_where_it_changed_is_not_made_json_by_what_is_left_out() -> None:
    known = many(20)
    before = blocks(known)
    text, at, _ = written(known)
    first = text.index(b",{", at)
    ends = text.index(b"]", at)
    middle = text.index(b',{"name":"entry-10"')
    for broken in (
        text[:first] + b"," + text[first:],
        text[:middle] + b",," + text[middle + 1 :],
        text[:middle] + text[middle + 1 :],
        text[:ends] + b"," + text[ends:],
        text[:at] + b"," + text[at:],
    ):
        found = same(broken, at, len(broken) - 1, before)
        if found is not None:
            with pytest.raises(msgspec.DecodeError):
                read(found.text, len(found.text) - 1)
