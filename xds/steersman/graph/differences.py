"""Where what a value is made of differs from what it was made of before."""

from collections.abc import Iterable
from operator import indexOf, is_not
from typing import Any


def common_ends(before: tuple[Any, ...], after: tuple[Any, ...]) -> tuple[int, int]:
    """How many items at the start, and how many at the end, are the same objects in both. None is counted twice: `before` and `after` have
    at least so many together."""
    shorter = min(len(before), len(after))
    start = _until(map(is_not, before, after), shorter)
    return start, _until(map(is_not, reversed(before), reversed(after)), shorter - start)


def _until(differ: Iterable[bool], most: int) -> int:
    """The place of the first that differs, or `most` where that is sooner."""
    try:
        return min(indexOf(differ, True), most)
    except ValueError:  # none does
        return most
