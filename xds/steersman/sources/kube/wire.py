"""What an API server sends, as far as it is read before an object is decoded: events, Status, discovery. (Lists: pages.py.) Pure.

The first of two stages: objects stay `msgspec.Raw`, so that what is an error or a bookmark is known before anything else is looked at. Only
what nearly every line of a watch holds, an object as it is expected, is decoded together with its event.
"""

from typing import Generic, TypeVar

import msgspec

from steersman.errors import SourceError
from steersman.sources import shapes

_LONGEST_LINE = 64 << 20
"""Bytes. The largest object that etcd takes is 1.5 MiB; a line that never ends is no event."""
_MESSAGE = 300
"""Characters of a server's own words that are repeated."""

INITIAL_EVENTS_END = "k8s.io/initial-events-end"

T = TypeVar("T")


class BadAnswer(SourceError):
    """What the server sent is not what its API promises."""


class _Shape(msgspec.Struct, gc=False, rename="camel"):
    """Base of what is read and dropped at once."""


class ListMeta(_Shape):
    resource_version: str | None = None
    next: str | None = msgspec.field(default=None, name="continue")


class _Event(_Shape):
    type: str
    object: msgspec.Raw


S = TypeVar("S", bound=shapes.Object)


class _Whole(_Shape, Generic[S]):
    """An event of an object of this shape."""

    type: str
    object: S


class _HeadMeta(_Shape):
    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    annotations: dict[str, str] | None = None


class _Headed(_Shape):
    metadata: _HeadMeta


class Head(msgspec.Struct, frozen=True, gc=False):
    """Who an object is. `initial_events_end`: it is the bookmark after which everything has been told."""

    name: str
    namespace: str
    uid: str
    resource_version: str
    initial_events_end: bool


class _Cause(_Shape):
    reason: str | None = None


class _Details(_Shape):
    retry_after_seconds: int | None = None
    causes: list[_Cause] | None = None


class _Status(_Shape):
    metadata: ListMeta | None = None
    code: int | None = None
    reason: str | None = None
    message: str | None = None
    details: _Details | None = None


class Status(msgspec.Struct, frozen=True):
    """A refusal. `code`: 0 where it isn't told. `message`: the server's words, shortened. `retry_after`: seconds, 0 where it isn't told.
    `cause`: the first one's reason, such as ResourceVersionTooLarge."""

    code: int = 0
    message: str = ""
    retry_after: float = 0.0
    cause: str = ""


class _Group(_Shape):
    class _Version(_Shape):
        version: str

    name: str
    versions: list[_Version] | None = None


class _Groups(_Shape):
    kind: str
    groups: list[_Group] | None


class _Served(_Shape):
    class _Resource(_Shape):
        name: str

    kind: str
    resources: list[_Resource] | None


_event = msgspec.json.Decoder(_Event)
_headed = msgspec.json.Decoder(_Headed)
_status = msgspec.json.Decoder(_Status)
_groups = msgspec.json.Decoder(_Groups)
_served = msgspec.json.Decoder(_Served)


class Event(msgspec.Struct, frozen=True, gc=False):
    """A line of a watch. `object`: decoded where it was as expected of an object that is there."""

    type: str
    head: Head
    object: msgspec.Raw | shapes.Object


class Events:
    """Reads the lines of a watch of objects of one shape."""

    def __init__(self, shape: type[shapes.Object]) -> None:
        self._whole: msgspec.json.Decoder[_Whole[shapes.Object]] = msgspec.json.Decoder(_Whole[shape])  # type: ignore[valid-type]

    def read(self, line: bytes) -> Event:
        """Raises BadAnswer, also for an object without a resourceVersion. One of another shape stays as it is."""
        said = self.there(line)
        return Event(said.type, head(said.object), said.object) if said is not None else event(line)

    def there(self, line: bytes) -> "_Whole[shapes.Object] | None":
        """What is said of an object that is there and has the shape; None for all else."""
        try:
            whole = self._whole.decode(line)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        return whole if whole.type in ("ADDED", "MODIFIED") and whole.object.metadata.resource_version else None


def event(line: bytes) -> Event:
    """With the object as it is. Raises BadAnswer, also for one without a resourceVersion."""
    read = decoded(_event, line, "an event")
    return Event(read.type, Head("", "", "", "", False) if read.type == "ERROR" else head(read.object), read.object)


def head(body: msgspec.Raw | shapes.Object) -> Head:
    """Raises BadAnswer, also for an object without a resourceVersion, which no API server sends."""
    metadata = body.metadata if isinstance(body, shapes.Object) else decoded(_headed, body, "an object").metadata
    if not metadata.resource_version:
        raise BadAnswer("an object without metadata.resourceVersion")
    return Head(
        metadata.name or "",
        metadata.namespace or "",
        metadata.uid or "",
        metadata.resource_version,
        (metadata.annotations or {}).get(INITIAL_EVENTS_END) == "true",
    )


def status(body: bytes | msgspec.Raw) -> Status:
    """What a refusal says; of one that is no Status (a proxy's page, say), its text."""
    try:
        read = _status.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Status(message=_shortened(bytes(body)[:_MESSAGE].decode(errors="replace")))
    details = read.details or _Details()
    return Status(
        code=read.code or 0,
        message=_shortened(read.message or read.reason or ""),
        retry_after=float(max(0, details.retry_after_seconds or 0)),
        cause=next((cause.reason for cause in details.causes or [] if cause.reason), ""),
    )


def versions(body: bytes, group: str) -> tuple[str, ...]:
    """The versions of a group that the answer of `/apis` names; none where it isn't served. Raises BadAnswer."""
    read = decoded(_groups, body, "an APIGroupList")
    if read.kind != "APIGroupList" or read.groups is None:
        raise BadAnswer(f"expected an APIGroupList, got {read.kind}")
    return tuple(version.version for one in read.groups if one.name == group for version in one.versions or [])


def serves(body: bytes, plural: str) -> bool:
    """Whether the answer of `/apis/GROUP/VERSION` names this resource. Raises BadAnswer."""
    read = decoded(_served, body, "an APIResourceList")
    if read.kind != "APIResourceList":
        raise BadAnswer(f"expected an APIResourceList, got {read.kind}")
    return any(resource.name == plural for resource in read.resources or [])


def decoded(decoder: msgspec.json.Decoder[T], body: bytes | msgspec.Raw, expected: str) -> T:
    """Raises BadAnswer, which says what was expected."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadAnswer(f"expected {expected}, got {_shortened(bytes(body)[:80].decode(errors='replace'))!r}: {error}") from error


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MESSAGE else f"{text[:_MESSAGE]}..."


class Lines:
    """Cuts what comes of a stream into lines. Each byte is copied once; ends are found by `find`, as `split` looks at one byte after the
    other."""

    def __init__(self) -> None:
        self._parts: list[memoryview] = []
        """Of the line that is not whole yet."""
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are whole with this, without their ends; empty ones are left out. Raises BadAnswer for one without end."""
        lines: list[bytes] = []
        view, begin = memoryview(data), 0
        while (end := data.find(b"\n", begin)) >= 0:
            if self._parts:
                lines.append(b"".join((*self._parts, view[begin:end])))
                self._parts, self._size = [], 0
            elif end > begin:
                lines.append(data[begin:end])
            begin = end + 1
        if begin < len(data):
            self._parts.append(view[begin:])
            self._size += len(data) - begin
            if self._size > _LONGEST_LINE:
                raise BadAnswer(f"a line of more than {_LONGEST_LINE >> 20} MiB")
        return lines

    @property
    def cut(self) -> bool:
        """Whether what came last ended in the middle of a line."""
        return bool(self._parts)
