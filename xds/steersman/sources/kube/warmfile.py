"""The format of a warm file: what a cluster's API told last, to be read when it does not answer. No I/O, no clock.

    steersman warm file FORMAT, a line end      a zlib stream of frames      BLAKE2b of all before it

Each frame is its length (4 bytes, big-endian) and that much of msgpack: first the Header, then for each resource its Section, followed by
its objects in arrays, the last of which is empty.
"""

import zlib
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from sys import intern
from typing import Any, TypeVar

import msgspec

from steersman.model.ids import ClusterID, Labels, ObjectKey, labels_of
from steersman.model.objects import (
    CONDITIONS,
    EndpointSlice,
    Gateway,
    Kind,
    Namespace,
    Node,
    Pod,
    Row,
    Service,
    endpoint_place,
)

FORMAT = 4
"""To be raised whenever a row of the model changes in form or meaning: a file of another number is not used."""

_MAGIC = b"steersman warm file "
_DIGEST = 32
_LENGTH = 4
TOGETHER = 32
"""Objects in a frame at most: with one in each, two thirds of what it takes to write pods are the frames."""
_PEEK = 64 << 10
"""Bytes in which a header is."""
_LEVEL = 1
"""Of zlib: 5 takes twice the time for a fifth of the bytes less."""

T = TypeVar("T")


class Unusable(Exception):
    """The file can't be used, for this reason."""


class Header(Row, frozen=True, kw_only=True):
    """Whose file it is, and of when. `uid`: of the namespace kube-system, "" where it was not known. `contact`: wall clock seconds of the
    last time at which all was well with the API; `state`: how the cluster stood; `written`: wall clock seconds. `version`: Steersman's.
    `holder`: the cluster in whose Secret its kubeconfig is, and `place`: which; "" for others."""

    cluster: ClusterID
    uid: str
    contact: float
    state: str
    written: float
    version: str
    holder: str = ""
    place: str = ""


class Section(Row, frozen=True, kw_only=True):
    """One resource, whose objects follow. `followed`: wall clock seconds at which what was held of it was what the API had, for the last
    time."""

    kind: Kind
    followed: float


class Kept(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An object."""

    uid: str
    resource_version: str
    value: Any


ROWS: Mapping[Kind, type[Row]] = {
    Kind.NAMESPACE: Namespace,
    Kind.NODE: Node,
    Kind.SERVICE: Service,
    Kind.ENDPOINT_SLICE: EndpointSlice,
    Kind.POD: Pod,
    Kind.GATEWAY: Gateway,
}
"""What is kept, and nothing else: a Secret can't get into a file, whatever will be watched."""

_encoder = msgspec.msgpack.Encoder()
_header = msgspec.msgpack.Decoder(Header)
_section = msgspec.msgpack.Decoder(Section)
_objects = {kind: msgspec.msgpack.Decoder(list[tuple[str, str, row]]) for kind, row in ROWS.items()}  # type: ignore[valid-type]


# -- writing ------------------------------------------------------------------------------------------------------------------


def framed(into: bytearray, value: Any) -> None:
    """Appends a frame."""
    start = len(into)
    into.extend(bytes(_LENGTH))
    _encoder.encode_into(value, into, -1)
    into[start : start + _LENGTH] = (len(into) - start - _LENGTH).to_bytes(_LENGTH, "big")


class Writing:
    """A file's bytes, made of frames as they come. `take` and `end` cost as much as there is, and may be called in any thread, one at a
    time."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(_LEVEL)
        self._parts = [b"%b%d\n" % (_MAGIC, FORMAT)]

    def take(self, frames: bytes | bytearray) -> None:
        self._parts.append(self._compressor.compress(frames))

    def end(self) -> list[bytes]:
        """The whole file, in parts."""
        self._parts.append(self._compressor.flush())
        digest = blake2b(digest_size=_DIGEST)
        for part in self._parts:
            digest.update(part)
        return [*self._parts, digest.digest()]


# -- reading ------------------------------------------------------------------------------------------------------------------


def checked(data: bytes) -> bytes:
    """The frames of a file that is whole. Raises Unusable. Costs as much as there is, for a thread."""
    line, found, _ = data[: len(_MAGIC) + 20].partition(b"\n")
    if not found or not line.startswith(_MAGIC):
        raise Unusable("it is no warm file, or its beginning is damaged")
    number = line.removeprefix(_MAGIC)
    if number != b"%d" % FORMAT:
        raise Unusable(f"it has format {number.decode(errors='replace')}, another Steersman's; this one reads {FORMAT}")
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    if blake2b(body, digest_size=_DIGEST).digest() != digest:
        raise Unusable("its checksum is wrong: it was cut short or damaged")
    try:
        return zlib.decompress(memoryview(body)[len(line) + 1 :])
    except zlib.error as error:
        raise Unusable(f"it can't be unpacked: {error}") from error


def peeked(data: bytes) -> Header:
    """The header of a file of which this is the beginning, unchecked: for a look at whose file it is. Raises Unusable."""
    line, _, body = data.partition(b"\n")
    if line != _MAGIC + b"%d" % FORMAT:
        raise Unusable("it is no warm file of this format")
    try:
        frames = zlib.decompressobj().decompress(body, _PEEK)
        return _decoded(_header, next(_split(frames, whole=False), b""))
    except zlib.error as error:
        raise Unusable(f"it can't be unpacked: {error}") from error


class Warm:
    """What a file says. `header`, then `restored` object by object. Raises Unusable."""

    def __init__(self, frames: bytes) -> None:
        self._frames = _split(frames)
        self.header = _decoded(_header, next(self._frames, b""))

    def sections(self) -> Iterator[tuple[Section, Iterator[Kept]]]:
        """Each section with its objects, which are to be taken before the next one. Once only. Raises Unusable, also on the way."""
        for frame in self._frames:
            section = _decoded(_section, frame)
            if section.kind not in ROWS:
                raise Unusable(f"it has a section {section.kind}")
            yield section, self._objects(section)

    def _objects(self, section: Section) -> Iterator[Kept]:
        decoder = _objects[section.kind]
        while some := _decoded(decoder, next(self._frames, b"")):
            for uid, resource_version, row in some:
                yield Kept(uid, resource_version, shared(row))


def _split(frames: bytes, *, whole: bool = True) -> Iterator[memoryview]:
    """Without `whole`, as many as there are in full."""
    view = memoryview(frames)
    at = 0
    while at < len(view):
        end = at + _LENGTH + int.from_bytes(view[at : at + _LENGTH], "big")
        if end > len(view):
            if not whole:
                return
            raise Unusable("a part of it is longer than the rest")
        yield view[at + _LENGTH : end]
        at = end


def _decoded(decoder: msgspec.msgpack.Decoder[T], frame: bytes | memoryview) -> T:
    try:
        return decoder.decode(frame)
    except msgspec.DecodeError as error:
        raise Unusable(f"what is in it is not what it should be: {error}") from error


def shared(row: Any) -> Any:
    """The row that was just decoded, with what many rows have in common being one object, as where they come from the API. Raises
    Unusable."""
    key: ObjectKey = row.key
    _set(row, "key", ObjectKey(ClusterID(intern(key.cluster)), intern(key.namespace), key.name))
    match row:
        case EndpointSlice():
            members = row.members
            if not len(row.conditions) == len(members.addresses) == len(members.pods) == len(members.places):
                raise Unusable(f"the columns of EndpointSlice {key} differ in length")
            if max(row.conditions, default=0) >= len(CONDITIONS):
                raise Unusable(f"EndpointSlice {key} has conditions that there are not")
            _set(members, "service", intern(members.service))
            _set(members, "places", tuple([endpoint_place(place.node, place.zone, place.flaw) for place in members.places]))
        case Pod():
            _set(row, "labels", _labels(row.labels))
            _set(row, "node", intern(row.node))
            _set(row, "service_account", intern(row.service_account))
        case Service() | Node() | Namespace():
            _set(row, "labels", _labels(row.labels))
    return row


def _labels(labels: Labels) -> Labels:
    return labels_of({intern(key): intern(value) for key, value in labels})


def _set(row: Any, field: str, value: Any) -> None:
    """Of a value that is nobody else's yet."""
    msgspec.structs.force_setattr(row, field, value)
