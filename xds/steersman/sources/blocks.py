"""The text of a list, entry by entry and in blocks of entries: when the object that holds it is told again, only what isn't written as it
was is read.

Pure, and nothing here knows what the entries are. Texts are known by digests of 64 bits, keyed by the process, so that little is kept of a
list. What changes is one place as a rule: what stands before it is found from the list's beginning, what stands after it from the object's
end, however long the rest of the object has become; blocks first, and entries in the block that is left.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from random import getrandbits
from typing import NamedTuple

import msgspec
from xxhash import xxh3_64_intdigest

_KEY = getrandbits(64)
_UNKNOWN = 0
"""The digest of a text that is to be read anew, whatever it is."""
_ENTRIES = 8
"""Of a block, and up to twice as many of one that grows."""


class Blocks(msgspec.Struct, frozen=True, gc=False):
    """A list as it was written. The text of an entry ends where the next one begins, so that it has the comma after it, but for the last.

    `digests`, `sizes` (in bytes): of each entry. `blocks`, `spans`: the same of each block, of so many entries as `counts` says. `rest`:
    bytes of the object after the last entry.
    """

    digests: "array[int]"
    sizes: "array[int]"
    blocks: "array[int]"
    spans: "array[int]"
    counts: bytes
    rest: int


class Same(NamedTuple):
    """What is written as it was: so many of the first and of the last entries, and of the blocks. `text`: the object's, without these
    entries. `at`: where in the object's own text the entries begin that are left."""

    first: int
    last: int
    front: int
    back: int
    text: bytes
    at: int


_NONE = Blocks(array("Q"), array("I"), array("Q"), array("I"), b"", 0)


def blocks_of(text: bytes, at: int, end: int, entries: Sequence[msgspec.Raw]) -> Blocks | None:
    """Of a list with these entries, which begin at `at` in the text of an object that ends at `end`. None where they aren't there one after
    the other with nothing but a comma between, as API servers write them; or where there are none."""
    return blocks_again(text, end, _NONE, Same(0, 0, 0, 0, text, at), entries)


def blocks_again(text: bytes, end: int, before: Blocks, same: Same, entries: Sequence[msgspec.Raw]) -> Blocks | None:
    """Of a list of which that was the same. `entries`: those that are left. None also where it has come to be in too many blocks."""
    first, last, front, back, _, at = same
    if not text.startswith(b",".join(entries), at):
        return None
    if len(entries) == 1 and first + 1 + last == len(before.sizes):
        return _with_another(text, end, before, same, memoryview(entries[0]).nbytes + (last > 0))
    ends = list(accumulate([memoryview(entry).nbytes + 1 for entry in entries], initial=at))
    if entries and not last:
        ends[-1] -= 1  # no comma after it
    digests, sizes, blocks, spans, counts = before.digests[:], before.sizes[:], before.blocks[:], before.spans[:], bytearray(before.counts)
    digests[first : len(digests) - last] = array("Q", [_digest(text, start, stop) for start, stop in pairwise(ends)])
    sizes[first : len(sizes) - last] = array("I", [stop - start for start, stop in pairwise(ends)])
    kept = len(counts) - back
    low, high = sum(counts[:front]), len(sizes) - sum(counts[kept:])
    bounds = [*range(low, high, _ENTRIES if high - low > 2 * _ENTRIES else 2 * _ENTRIES), high]
    ends = list(accumulate([sum(sizes[start:stop]) for start, stop in pairwise(bounds)], initial=at - sum(sizes[low:first])))
    counts[front:kept] = bytes([stop - start for start, stop in pairwise(bounds)])
    blocks[front:kept] = array("Q", [_digest(text, start, stop) for start, stop in pairwise(ends)])
    spans[front:kept] = array("I", [stop - start for start, stop in pairwise(ends)])
    begin = ends[-1] + sum(sizes[high:])
    if not text.startswith(b"]", begin) or not 0 < len(counts) <= 2 * (len(sizes) // _ENTRIES + 1):
        return None
    return Blocks(digests, sizes, blocks, spans, bytes(counts), end - begin)


def _with_another(text: bytes, end: int, before: Blocks, same: Same, size: int) -> Blocks | None:
    """Where one entry has taken the place of another, as nearly always. `size`: its own."""
    first, _, front, _, _, at = same
    digests, sizes, blocks, spans = before.digests[:], before.sizes[:], before.blocks[:], before.spans[:]
    begin = at - sum(sizes[sum(before.counts[:front]) : first])
    spans[front] += size - sizes[first]
    digests[first], sizes[first] = _digest(text, at, at + size), size
    blocks[front] = _digest(text, begin, begin + spans[front])
    last = begin + sum(spans[front:])
    return Blocks(digests, sizes, blocks, spans, before.counts, end - last) if text.startswith(b"]", last) else None


def same(text: bytes, at: int, end: int, before: Blocks) -> Same | None:
    """What of a list that begins at `at`, in the text of an object that ends at `end`, is written as before; None where nothing is."""
    stop = end - before.rest
    if not text.startswith(b"]", stop):
        stop = 0  # what follows the list has another length: nothing can be found from behind
    count, count_blocks, counts = len(before.sizes), len(before.spans), before.counts
    view = memoryview(text)
    front, back, begin, stop = _narrowed(view, at, stop, before.blocks, before.spans, 0, count_blocks)
    first, last, begin, stop = _narrowed(view, begin, stop, before.digests, before.sizes, sum(counts[:front]), count - sum(counts[back:]))
    if last < count:
        left = text[begin:stop]
        if left and (left == b"," or not left.endswith(b",")):
            return None
        return Same(first, count - last, front, count_blocks - back, b"".join((text[:at], left[:-1], text[end - before.rest :])), begin)
    if not first or (first < count) is text.startswith(b"]", begin):  # the latter: a comma before the end, which is no JSON
        return None
    return Same(first, 0, front, 0, text[:at] + text[begin:], begin)


def _narrowed(
    text: memoryview, begin: int, stop: int, digests: "array[int]", sizes: "array[int]", low: int, high: int
) -> tuple[int, int, int, int]:
    """Which are left when those that are as they were are taken away from both ends, and where these begin and stop."""
    count = len(sizes)
    while low < high:
        then = begin + sizes[low]
        if xxh3_64_intdigest(text[begin:then], _KEY) != digests[low]:
            break
        begin = then
        low += 1
    if low == count and text[begin : begin + 1].tobytes() != b"]":  # others follow now: the last has a comma more
        low -= 1
        begin -= sizes[low]
    while low < high:
        start = stop - sizes[high - 1]
        if start < begin or xxh3_64_intdigest(text[start:stop], _KEY) != digests[high - 1]:
            break
        high -= 1
        stop = start
    return low, high, begin, stop


def _digest(text: bytes, start: int, stop: int) -> int:
    return xxh3_64_intdigest(text[start:stop], _KEY)


def unknown(blocks: Blocks, numbers: Iterable[int]) -> Blocks:
    """The same, but that these entries are to be read anew the next time, whatever their text."""
    digests, digests_of_blocks = blocks.digests[:], blocks.blocks[:]
    ends = list(accumulate(blocks.counts))
    for number in numbers:
        digests[number] = _UNKNOWN
        digests_of_blocks[bisect_right(ends, number)] = _UNKNOWN
    return msgspec.structs.replace(blocks, digests=digests, blocks=digests_of_blocks)
