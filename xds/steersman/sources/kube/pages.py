"""Lists, cut into their items. A page is decoded at once; a list that is told whole, whatever limit was asked for, is cut in steps, as to
decode 100 MB at once would hold the event loop for a tenth of a second. Pure.

API servers write lists without spaces, items last. Where an item ends is guessed by what begins the next one, and proved by decoding: what
is cut too early is no JSON. A list of which that can't be said is decoded at once.
"""

import re
from collections.abc import Iterator

import msgspec

from steersman.sources.contents import Steps
from steersman.sources.kube.wire import BadAnswer, ListMeta, decoded

AT_ONCE = 4 << 20
"""Bytes: that takes some 4 ms."""
_HEAD = 64 << 10
"""Bytes in which the items have to begin."""
_TRIES = 64
"""Ends of one item that are tried before that is given up."""
_ITEMS = re.compile(rb'"items":\[(?=\{("(?:[^"\\]|\\.)*":))')
_END = re.compile(rb"\]\}\s*\Z")


class _Listed(msgspec.Struct, gc=False):
    metadata: ListMeta
    items: list[msgspec.Raw] | None


class Page(msgspec.Struct, gc=False):
    """A list, or a part of one. `size`: in bytes, as it came."""

    metadata: ListMeta
    items: list[msgspec.Raw]
    size: int


_listed = msgspec.json.Decoder(_Listed)
_item = msgspec.json.Decoder(msgspec.Raw)


def page(body: bytes) -> Page:
    """Decoded at once. Raises BadAnswer."""
    listed = decoded(_listed, body, "a list")
    return Page(listed.metadata, listed.items or [], len(body))


def page_in_steps(body: bytes) -> Steps[Page | bytes]:
    """The same, with a pause after each item; the body itself where it can't be cut."""
    begin, end = _ITEMS.search(body, 0, _HEAD), _END.search(body, max(0, len(body) - _HEAD))
    if begin is None or end is None:
        return body
    try:
        frame = decoded(_listed, body[: begin.end()] + body[end.start() :], "a list")
    except BadAnswer:  # those are the items of something else
        return body
    items: list[msgspec.Raw] = []
    for item in _cut(body, begin.end(), end.start(), b"},{" + begin[1]):
        if item is None:
            return body
        items.append(item)
        yield
    return Page(frame.metadata, items, len(body))


def _cut(body: bytes, start: int, end: int, between: bytes) -> Iterator[msgspec.Raw | None]:
    """The items that stand there; at last None where one has no end. `between`: two items, the end of the one and the beginning of the
    other."""
    while start < end:
        found, tries = start, 0
        while True:
            at = body.find(between, found, end)
            stop = at + 1 if at >= 0 else end
            try:
                item = _item.decode(body[start:stop])
            except (msgspec.DecodeError, RecursionError):
                tries += 1
                if stop == end or tries == _TRIES:
                    yield None
                    return
                found = at + 1
            else:
                yield item
                start = stop + 1
                break
