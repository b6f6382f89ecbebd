"""Where what a value is made of differs from what it was made of before."""

from collections.abc import Iterable
from operator import indexOf, is_not
from typing import Any, TypeVar

T = TypeVar("T")

_MOST = 8
"""Differences that are told one by one."""

Difference = tuple[int, int, int, int]
"""Where items begin and end in one tuple, and where those (or none) begin and end that another has in their place."""


def differences(before: tuple[Any, ...], after: tuple[Any, ...]) -> list[Difference]:
    """Where two tuples differ, in order; before, between and after these places they hold the same objects (or, at the end, equal ones).

    One that left, came, or is another now, is found by itself. From where that isn't so (or after a few) all is one difference, up to what
    both have at their ends.
    """
    found: list[Difference] = []
    at = to = 0
    while True:
        old, new = before[at:], after[to:]
        if len(old) == len(new) and old == new:
            return found
        same = _until(map(is_not, old, new), min(len(old), len(new)))
        at += same
        to += same
        left, came = _step(old[same : same + 2], new[same : same + 2]) if len(found) < _MOST else (0, 0)
        if not (left or came):
            break
        found.append((at, at + left, to, to + came))
        at += left
        to += came
    end = _until(map(is_not, reversed(before), reversed(after)), min(len(before) - at, len(after) - to))
    return [*found, (at, len(before) - end, to, len(after) - end)]


def exchanged(pairs: Iterable[tuple[tuple[T, ...], tuple[T, ...]]]) -> tuple[list[T], list[T]]:
    """What left, and what came, in all of these: each tuple as it was, and as it is. The very object of before is not looked at."""
    left: list[T] = []
    came: list[T] = []
    for before, after in pairs:
        if before is not after:
            for begins, ends, to, until in differences(before, after):
                left += before[begins:ends]
                came += after[to:until]
    return left, came


def _step(old: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[int, int]:
    """By how many of the next two items, on either side, the two come to hold the same again; no step where by none."""
    if old[1:] and new and old[1] is new[0]:
        return 1, 0
    if new[1:] and old and old[0] is new[1]:
        return 0, 1
    if len(old) == len(new) and old[1:] == new[1:]:
        return 1, 1
    return 0, 0


def _until(differ: Iterable[bool], most: int) -> int:
    """The place of the first that differs, or `most` where that is sooner."""
    try:
        return min(indexOf(differ, True), most)
    except ValueError:  # none does
        return most
