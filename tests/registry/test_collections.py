"""What the tables, and the indexes over them, promise each other."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from steersman.model.objects import CONDITIONS, EndpointSlice
from steersman.registry.collections import INDEXES, SLICES
from tests.support import strategies


@given(piece=strategies.slices(), codes=st.binary(max_size=5), created=st.text(max_size=3))
def test_in_which_buckets_a_slice_stands_is_decided_by_its_key_and_who_stands_in_it_alone(
    piece: EndpointSlice, codes: bytes, created: str
) -> None:
    conditions = bytes(code % len(CONDITIONS) for code in codes.ljust(len(piece.conditions), b"\3"))[: len(piece.conditions)]
    other = replace(piece, conditions=conditions, created=created)
    assert SLICES.indexed is not None
    assert SLICES.indexed(piece) is SLICES.indexed(other)
    over = [index for index in INDEXES if index.over is SLICES]
    assert over
    for index in over:
        assert index.buckets_of(piece) == index.buckets_of(other)
