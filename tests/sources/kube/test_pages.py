"""Lists that are too large to be decoded at once."""

import json
import random
from typing import Any

import msgspec
import pytest

from steersman.sources.contents import run
from steersman.sources.kube import pages
from steersman.sources.kube.pages import Page, page, page_in_steps
from tests.sources.kube.answers import Object, pod


def compact(items: list[Any], **more: Any) -> bytes:
    """As an API server writes a list."""
    metadata = {"resourceVersion": "10", "continue": 'next},{"metadata":'}
    body = {"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items, **more}
    return json.dumps(body, separators=(",", ":")).encode()


def cut(body: bytes) -> list[Any] | None:
    """The items; None where the body can't be cut."""
    found = run(page_in_steps(body))
    if isinstance(found, bytes):
        assert found is body
        return None
    whole = page(body)
    assert (found.metadata, found.size) == (whole.metadata, whole.size)
    return [msgspec.json.decode(item) for item in found.items]


def nested(chance: random.Random, depth: int = 3) -> Any:
    """Something in which items seem to begin and to end."""
    if depth and chance.random() < 0.7:
        inner = [nested(chance, depth - 1) for _ in range(chance.randrange(4))]
        return inner if chance.random() < 0.4 else {"metadata": inner, "items": inner[:1]}
    return chance.choice(['},{"metadata":{', "]}", '"items":[{', '\\"', "é\\", {"metadata": {}}, None, 1.5e9, [], {}])


@pytest.mark.parametrize("seed", range(50))
def test_the_items_are_those_of_the_list_whatever_stands_in_them(seed: int) -> None:
    chance = random.Random(seed)
    items: list[Object] = [{"metadata": {"name": f"a{number}"}, "spec": nested(chance)} for number in range(1, 2 + chance.randrange(20))]
    assert cut(compact(items)) == items


def test_there_is_a_pause_after_each_item() -> None:
    assert sum(1 for _ in page_in_steps(compact([pod(f"a{number}", 5) for number in range(100)]))) == 100


@pytest.mark.parametrize(
    "body",
    [
        compact([]),
        compact([pod("a", 5), pod("b", 6)], remainder={"items": []}),
        json.dumps({"metadata": {"resourceVersion": "10"}, "items": [pod("a", 5), pod("b", 6)]}, indent=1).encode(),
        compact([{"metadata": {"name": "a"}, "spec": [{"metadata": {}}] * 200}]),
        compact([pod("a", 5)])[:-10],
        compact([pod("a", 5), pod("b", 6)]).replace(b'"name":"b"', b'"name":b'),
        b'{"metadata":{"items":[{"metadata":{}}],"resourceVersion":"1"},"items":[{"metadata":{}}]}',
        b"",
        b"<html>",
    ],
)
def test_what_is_written_otherwise_is_left_to_be_decoded_at_once(body: bytes) -> None:
    assert cut(body) is None


def test_an_item_of_another_kind_ends_the_cutting() -> None:
    assert cut(compact([{"metadata": {}}, {"kind": "Pod", "metadata": {}}])) is None


def test_a_page_says_how_many_bytes_it_was() -> None:
    body = compact([pod("a", 5)])
    found = run(page_in_steps(body))
    assert isinstance(found, Page)
    assert found.size == len(body) < pages.AT_ONCE
