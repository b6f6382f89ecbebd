"""The format of a warm file: what goes in comes out, and nothing comes out of a file that is not whole."""

from hashlib import blake2b
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from steersman.model.clusters import ClusterState
from steersman.model.ids import ClusterID
from steersman.model.objects import Kind, SliceEndpoint
from steersman.sources.kube.warmfile import FORMAT, ROWS, Header, Kept, Section, Unusable, Warm, Writing, checked, framed
from tests.support import strategies
from tests.support.examples import examples
from tests.support.mesh import namespace, pod, service, slice_of

EAST = ClusterID("east")
HEADER = Header(cluster=EAST, uid="u-1", contact=1000.0, state=ClusterState.SYNCED, written=1010.0, version="0.1.0")
KINDS = {row: kind for kind, row in ROWS.items()}

rows: st.SearchStrategy[Any] = st.one_of(
    strategies.services(),
    strategies.slices(),
    strategies.pods(),
    strategies.gateway_services(),
    strategies.nodes,
    strategies.namespaces,
    strategies.gateways,
)
texts = st.text(max_size=12)


def file_of(*objects: tuple[str, str, Any], header: Header = HEADER) -> bytes:
    """A file that holds these, by kind."""
    writing, frames = Writing(), bytearray()
    framed(frames, header)
    for row, kind in KINDS.items():
        of_kind = [one for one in objects if type(one[2]) is row]
        framed(frames, Section(kind=kind, followed=header.contact))
        for start in range(0, len(of_kind) + 3, 3):
            framed(frames, [Kept(*one) for one in of_kind[start : start + 3]])
            writing.take(frames)
            frames = bytearray()
    writing.take(frames)
    return b"".join(writing.end())


def read(data: bytes) -> tuple[Header, list[tuple[str, str, Any]]]:
    warm = Warm(checked(data))
    return warm.header, [(one.uid, one.resource_version, one.value) for _, objects in warm.sections() for one in objects]


SMALL = file_of(("u1", "5", pod("east", "a", "10.0.0.1")), ("u2", "6", service("east", "b")), ("u3", "7", namespace("east", "c")))


@settings(max_examples=examples(200))
@given(objects=st.lists(st.tuples(texts, texts, rows), max_size=20))
def test_whatever_goes_in_comes_out_with_the_order_of_each_kind(objects: list[tuple[str, str, Any]]) -> None:
    header, found = read(file_of(*objects))
    assert header == HEADER
    assert len(found) == len(objects)
    for row in KINDS:
        assert [one for one in found if type(one[2]) is row] == [one for one in objects if type(one[2]) is row]


@settings(max_examples=examples(300))
@given(at=st.integers(0, len(SMALL) - 1), flip=st.integers(1, 255))
def test_any_byte_that_is_another_is_noticed(at: int, flip: int) -> None:
    damaged = bytearray(SMALL)
    damaged[at] ^= flip
    with pytest.raises(Unusable):
        checked(bytes(damaged))


@settings(max_examples=examples(100))
@given(length=st.integers(0, len(SMALL) - 1), more=st.binary(min_size=1, max_size=40))
def test_a_file_that_is_cut_short_or_goes_on_is_noticed(length: int, more: bytes) -> None:
    for data in (SMALL[:length], SMALL + more):
        with pytest.raises(Unusable):
            checked(data)


def sealed(frames: bytes) -> bytes:
    """A file of these frames, whole by its checksum."""
    writing = Writing()
    writing.take(frames)
    return b"".join(writing.end())


def frame(*values: Any) -> bytes:
    frames = bytearray()
    for value in values:
        framed(frames, value)
    return bytes(frames)


SLICES, SLICE = Section(kind=Kind.ENDPOINT_SLICE, followed=1.0), slice_of("east", "a", "10.0.0.1")


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        (b"", "what is in it"),
        (b"\0\0\0\x05abc", "longer than the rest"),
        (frame({"cluster": "east"}), "missing required field"),
        (frame(HEADER, {"kind": "Secret", "followed": 1.0}, [["u", "1", {}]]), "Invalid enum value 'Secret'"),
        (frame(HEADER, Section(kind=Kind.PROXY, followed=1.0)), "a section Proxy"),
        (frame(HEADER, Section(kind=Kind.POD, followed=1.0), [Kept("u", "1", pod("east", "a", "10.0.0.1"))]), "what is in it"),
        (frame(HEADER, Section(kind=Kind.POD, followed=1.0), [Kept("u", "1", service("east", "a"))], []), "what is in it"),
        (frame(HEADER, SLICES, [Kept("u", "1", replace(SLICE, conditions=b"\3\3"))]), "of EndpointSlice east/default/a-1 differ in length"),
        (frame(HEADER, SLICES, [Kept("u", "1", replace(SLICE, conditions=b"\x08"))]), "a-1 has conditions that there are not"),
    ],
)
def test_what_is_whole_and_makes_no_sense_is_refused(frames: bytes, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        read(sealed(frames))


def test_another_format_is_told_from_damage() -> None:
    with pytest.raises(Unusable, match=f"it has format {FORMAT + 1}, another Steersman's; this one reads {FORMAT}"):
        checked(SMALL.replace(b"file %d\n" % FORMAT, b"file %d\n" % (FORMAT + 1), 1))
    with pytest.raises(Unusable, match="it is no warm file"):
        checked(b"apiVersion: v1\n" + SMALL)


def test_what_is_read_shares_what_rows_have_in_common() -> None:
    data = file_of(*((f"u{number}", "5", pod("east", f"p{number}", "10.0.0.1", node="n1", labels={"app": "a"})) for number in range(2)))
    one, two = (row for _, _, row in read(data)[1])
    assert one.node is two.node
    assert one.labels is two.labels
    assert one.key.namespace is two.key.namespace
    entries = [SliceEndpoint.of(f"10.0.0.{number}", node="n1", zone="z1") for number in range(2)]
    one, two = next(row for _, _, row in read(file_of(("u", "5", slice_of("east", "a", *entries))))[1]).members.places
    assert one is two is entries[0].place


def test_only_kinds_without_secrets_are_kept() -> None:
    assert set(ROWS) == {Kind.NAMESPACE, Kind.NODE, Kind.SERVICE, Kind.ENDPOINT_SLICE, Kind.POD, Kind.GATEWAY}


def test_rows_that_are_defined_otherwise_are_another_format() -> None:
    """When this fails: raise FORMAT, unless files of before still mean what they meant, and write the new fingerprint here."""
    defined = msgspec.json.encode(msgspec.json.schema_components([Header, Section, *ROWS.values()])[1], order="deterministic")
    assert (FORMAT, blake2b(defined, digest_size=8).hexdigest()) == (4, "e71bc1fb1276ff6e")
