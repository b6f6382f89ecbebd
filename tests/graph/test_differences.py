"""Where two tuples differ: in between they hold the same objects; single differences are found by themselves."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from steersman.graph import differences, exchanged

NUMBERS = [object() for _ in range(60)]
ITEMS = st.lists(st.sampled_from(NUMBERS[:6]), max_size=12).map(tuple)


def rebuilt(before: tuple[object, ...], after: tuple[object, ...]) -> tuple[object, ...]:
    """`after`, from `before` and nothing but the differences."""
    made: list[object] = []
    taken = 0
    for left, gone, entered, ends in differences(before, after):
        assert left < gone or entered < ends
        made += (*before[taken:left], *after[entered:ends])
        assert len(made) == ends
        taken = gone
    return (*made, *before[taken:])


@given(ITEMS, ITEMS)
def test_all_that_differs_is_told(before: tuple[object, ...], after: tuple[object, ...]) -> None:
    assert rebuilt(before, after) == after


@given(ITEMS, ITEMS)
def test_what_is_exchanged_makes_the_one_of_the_other(before: tuple[object, ...], after: tuple[object, ...]) -> None:
    left, came = exchanged([(before, after)])
    assert Counter(before) - Counter(left) + Counter(came) == Counter(after)


@given(st.lists(st.tuples(st.integers(0, 59), st.sampled_from(["left", "came", "other"])), max_size=12, unique_by=lambda change: change[0]))
def test_single_differences_are_told_one_by_one_and_from_the_ninth_on_as_one(changes: list[tuple[int, str]]) -> None:
    """Between two of them there is something that is the same."""
    changes = [change for last, change in zip([(-2, ""), *sorted(changes)], sorted(changes), strict=False) if change[0] > last[0] + 1]
    after: list[object] = []
    expected: list[tuple[int, int, int, int]] = []
    of = dict(changes)
    for number, one in enumerate(NUMBERS):
        what = of.get(number)
        begins = len(after)
        after += {None: [one], "left": [], "came": [object(), one], "other": [object()]}[what]
        if what is not None:
            expected.append((number, number + (what != "came"), begins, begins + (what != "left")))
    found = differences(tuple(NUMBERS), tuple(after))
    assert found[:8] == expected[:8]
    if len(expected) > 8:
        (rest,) = found[8:]
        assert rest == (expected[8][0], expected[-1][1], expected[8][2], expected[-1][3])


def test_equal_items_that_are_other_objects_differ_but_where_all_that_follows_is_equal() -> None:
    assert differences(([1], NUMBERS[0], NUMBERS[1]), ([1], NUMBERS[0])) == [(0, 1, 0, 1), (2, 3, 2, 2)]
    assert differences(([1], NUMBERS[0]), ([1], NUMBERS[0])) == []


def test_what_changed_throughout_is_one_difference_between_what_stayed_at_both_ends() -> None:
    one, other = tuple(NUMBERS), (*NUMBERS[:5], *reversed(NUMBERS[5:50]), *NUMBERS[50:])
    assert differences(one, other) == [(5, 50, 5, 50)]
    assert differences(one, one) == []
    assert differences((), one) == [(0, 0, 0, 60)]
    assert differences(one, ()) == [(0, 60, 0, 0)]
