"""What comes of a watch is cut into lines, wherever it was cut on its way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steersman.sources.kube import wire
from steersman.sources.kube.wire import BadAnswer, Lines


@given(st.lists(st.text(alphabet="ab\n", max_size=9).map(str.encode)))
def test_lines_are_the_same_wherever_what_comes_is_cut(pieces: list[bytes]) -> None:
    lines = Lines()
    told = [line for piece in pieces for line in lines.feed(piece)]
    *whole, rest = b"".join(pieces).split(b"\n")
    assert told == [line for line in whole if line]
    assert all(type(line) is bytes for line in told)
    assert lines.cut is bool(rest)


def test_a_line_without_end_is_refused_however_small_its_pieces_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_LONGEST_LINE", 10)
    lines = Lines()
    assert lines.feed(b"12345\n12345") == [b"12345"]
    assert lines.feed(b"67890") == []
    with pytest.raises(BadAnswer, match="a line of more than"):
        lines.feed(b"1")
