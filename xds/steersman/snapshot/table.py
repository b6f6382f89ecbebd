"""Tables: the resources of one type as seen from one standpoint, shared by every stream that stands there."""

from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from enum import Enum
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar

from xxhash import xxh3_64_intdigest

from steersman.errors import InvalidObject
from steersman.model.objects import Row
from steersman.resources.resource import Resource

LARGE: Final = 7 * 512 * 1024
"""3.5 MiB: a response is kept below it, since gRPC's clients drop the stream at 4 MiB and reconnect for ever."""

_STEP: Final = 64
"""Resources drafted in a step: less than a millisecond."""

_NAME = attrgetter("name")
_MASK = (1 << 64) - 1

T = TypeVar("T")


class Pending(Enum):
    """The answer to a name that is declared but not computed yet: nothing may be said about it, not even that it is missing."""

    PENDING = "pending"


PENDING: Final = Pending.PENDING


class Refused(Row, frozen=True, kw_only=True):
    """The answer to a name that this client may not have.

    `code`: a google.rpc.Code, such as 7, PERMISSION_DENIED. `text`: for the client's log.
    """

    code: int
    text: str


Answer = Resource | Refused | Literal[Pending.PENDING] | None
"""What a table says of a name. None: there is no such resource, and the client is to be told so."""


class Change(NamedTuple):
    """One name's content became another. None: missing, or (as `old`) not known until now. Equal versions are no change. `by_name`: no
    wildcard covers it."""

    name: str
    old: Resource | None
    new: Resource | None
    by_name: bool = False


class Table(Protocol):
    """What a stream needs to know of the resources of one type. Reading costs no more than it must: no method copies the content.

    Some resources may be had by name only: no wildcard covers them, and they count in nothing here that speaks of all.
    """

    @property
    def ready(self) -> bool:
        """False until the content was first told in full; until then every answer is pending, and streams answer nothing."""

    @property
    def complete(self) -> bool:
        """Ready, and nothing is pending."""

    @property
    def version(self) -> str:
        """Of the whole content: equal wherever the content is equal, in whatever order it came. Pending and missing names don't count."""

    @property
    def stated(self) -> str:
        """The version that whoever set the content gave it as a whole, which then takes the place of every hash; else ""."""

    def lookup(self, name: str) -> Answer: ...

    def listed(self, name: str) -> Answer:
        """What a wildcard gets of this name."""

    def differing(self, held: Mapping[str, str]) -> Iterable[str]:
        """Those of the names, each with a version that somebody holds, of which `lookup` has not just this version. While the table is not
        ready these are all."""

    def names(self) -> Iterable[str]:
        """Every declared name that a wildcard covers, present or pending, in no order."""

    def content(self) -> Sequence[Resource]:
        """Everything present that a wildcard covers, sorted by name; one and the same object as long as nothing changes."""


class Draft:
    """What `ResourceTable.enter` will do: `content` to be put, `gone` to be taken out, `names` (if not None) all that there are then,
    which sizes to note (0: none any more), and the changes to tell."""

    __slots__ = ("changes", "content", "gone", "names", "oversized")

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.content: dict[str, Resource] = {}
        self.gone: list[str] = []
        self.names: frozenset[str] | None = None
        self.oversized: dict[str, int] = {}


class ResourceTable:
    """A table that is written to.

    Content by name: present, pending or missing. Setting it is atomic: what is refused changes nothing. A resource larger than LARGE is
    kept, since Envoy can take it, but noted in `oversized` (name: bytes), since no gRPC client can; streams withhold it from those.
    `by_name`: what is here is had by name only, where the table is a part of a layered one.
    """

    __slots__ = ("__weakref__", "_content", "_digest", "_pending", "_sorted", "by_name", "oversized", "ready", "stated", "type_url")

    def __init__(self, type_url: str, *, by_name: bool = False) -> None:
        self.type_url = type_url
        self.by_name = by_name
        self.ready = False
        self.stated = ""
        self.oversized: dict[str, int] = {}
        self._content: dict[str, Resource | Literal[Pending.PENDING]] = {}
        self._pending = 0
        self._digest: int | None = None
        self._sorted: tuple[Resource, ...] | None = None

    @property
    def complete(self) -> bool:
        return self.ready and not self._pending

    @property
    def version(self) -> str:
        return self.stated or version_of_digest(self.digest)

    @property
    def digest(self) -> int:
        """The sum of what `digest_of` says of each resource: the content's hash, whatever order it came in. Few ask, and what they get
        then is as large: it is worked out for the first of them."""
        if self._digest is None:
            self._digest = digest_of_all(self.content())
        return self._digest

    def lookup(self, name: str) -> Answer:
        return self._content.get(name) if self.ready else PENDING

    listed = lookup

    def differing(self, held: Mapping[str, str]) -> Iterable[str]:
        if not self.ready:
            return held
        content = self._content
        return [name for name, version in held.items() if getattr(content.get(name), "version", None) != version]

    def names(self) -> Iterable[str]:
        return self._content.keys()

    def __len__(self) -> int:
        return len(self._content)

    def content(self) -> Sequence[Resource]:
        if self._sorted is None:
            self._sorted = tuple(sorted((r for r in self._content.values() if isinstance(r, Resource)), key=_NAME))
        return self._sorted

    def apply(self, put: Iterable[Resource] = (), names: Iterable[str] | None = None, *, remove: Iterable[str] = ()) -> tuple[Change, ...]:
        """Sets and removes resources; tells what changed, puts first.

        `names`, if given, is every name that there is from now on: the first such call makes the table ready, names that are new in it are
        pending unless they are put, and those that are not in it are removed. Otherwise this costs O(what is given), never O(content).
        To remove a pending name is a change, since what was asked about it can be answered now.
        Raises InvalidObject for what `checked` refuses.
        """
        return self.enter(in_one_go(self.drafting(put, names, remove=remove)))

    def drafting(
        self, put: Iterable[Resource] = (), names: Iterable[str] | None = None, *, remove: Iterable[str] = ()
    ) -> Generator[None, None, "Draft"]:
        """Works out in small steps what `apply` would do, and does nothing. The draft holds for the content that there is now."""
        resources, gone = checked(self.type_url, put, remove)
        draft = Draft()
        if names is not None:
            draft.names = declared = frozenset(names)
            if strangers := [resource.name for resource in resources if resource.name not in declared]:
                raise InvalidObject(
                    f"resource {strangers[0]!r} of type {self.type_url} is set, but is not among the names there are; name it"
                )
            gone = tuple([name for name in self._content if name not in declared])
        for count, resource in enumerate(resources, 1):
            self._draft(draft, resource)
            if count % _STEP == 0:
                yield
        for count, name in enumerate(gone, 1):
            if name in self._content:
                old = self._content[name]
                draft.gone.append(name)
                if name in self.oversized:
                    draft.oversized[name] = 0
                draft.changes.append(Change(name, None if old is PENDING else old, None, self.by_name))
            if count % _STEP == 0:
                yield
        return draft

    def _draft(self, draft: "Draft", resource: Resource) -> None:
        name = resource.name
        old = self._content.get(name)
        if old is PENDING:
            old = None
        elif old is not None and old.version == resource.version:
            return
        draft.content[name] = resource
        if (size := resource_size(resource)) > LARGE:
            draft.oversized[name] = size
        elif name in self.oversized:
            draft.oversized[name] = 0
        draft.changes.append(Change(name, old, resource, self.by_name))

    def enter(self, draft: "Draft") -> tuple[Change, ...]:
        """Makes it so, in one step; tells what changed, puts first."""
        content = self._content
        for name in draft.gone:
            self._pending -= content.pop(name) is PENDING
        if self._pending:
            self._pending -= sum([content.get(name) is PENDING for name in draft.content])
        content.update(draft.content)
        if draft.names is not None:
            fresh = draft.names - content.keys()
            content.update(dict.fromkeys(fresh, PENDING))
            self._pending += len(fresh)
            self.ready = True
        for name, size in draft.oversized.items():
            if size:
                self.oversized[name] = size
            else:
                self.oversized.pop(name, None)
        self.stated = ""
        if draft.changes:
            self._sorted = self._digest = None
        return tuple(draft.changes)

    def forget(self, name: str) -> None:
        """This is no longer kept up to date, since nobody asks for it: it is pending again. No stream may be subscribed to it."""
        if isinstance(old := self._content.get(name), Resource):
            self.oversized.pop(old.name, None)
            self._content[name] = PENDING
            self._pending += 1
            self._sorted = self._digest = None

    def replace(self, resources: Iterable[Resource], version: str = "") -> tuple[Change, ...]:
        """Makes this the whole content, ready and complete. `version`, if given, is stated for the whole."""
        given = tuple(resources)
        changes = self.apply(given, {resource.name for resource in given})
        self.stated = version
        return changes


class LayeredTable:
    """Several tables of one type, with disjoint names, seen as one: what is shared by many stands beside what is one workload's own.

    Nothing is copied: a change of a part is seen at once. Streams that stand here are told the parts' changes. Without parts it is ready
    and empty: what a proxy is told of a type that is not for it. `parts`: what a wildcard covers; `by_name`: the others.
    """

    __slots__ = ("__weakref__", "_all", "_joined", "_made_of", "by_name", "parts")

    def __init__(self, parts: Iterable[ResourceTable] = ()) -> None:
        self._all = tuple(parts)
        self.parts = tuple(part for part in self._all if not part.by_name)
        self.by_name = tuple(part for part in self._all if part.by_name)
        self._made_of: tuple[Sequence[Resource], ...] = ()
        self._joined: tuple[Resource, ...] = ()

    @property
    def ready(self) -> bool:
        for part in self._all:  # noqa: SIM110 - asked for each push: all() over a generator takes three times as long
            if not part.ready:
                return False
        return True

    @property
    def complete(self) -> bool:
        return self.ready and all(part.complete for part in self.parts)

    @property
    def version(self) -> str:
        return version_of_digest(sum(part.digest for part in self.parts) & _MASK)

    @property
    def stated(self) -> str:
        return ""

    def lookup(self, name: str) -> Answer:
        for part in self._all:
            if (answer := part.lookup(name)) is not None:
                return answer
        return None

    def listed(self, name: str) -> Answer:
        for part in self.parts:
            if (answer := part.lookup(name)) is not None:
                return answer
        return None

    def differing(self, held: Mapping[str, str]) -> Iterable[str]:
        left = held
        for part in self._all if self.ready else ():
            left = {name: held[name] for name in part.differing(left)}
        return left

    def names(self) -> Iterable[str]:
        for part in self.parts:
            yield from part.names()

    def content(self) -> Sequence[Resource]:
        parts = tuple(part.content() for part in self.parts)
        if len(parts) != len(self._made_of) or any(now is not then for now, then in zip(parts, self._made_of, strict=True)):
            self._joined = tuple(sorted((resource for part in parts for resource in part), key=_NAME))
            self._made_of = parts
        return self._joined

    def everything(self) -> Sequence[Resource]:
        """Everything present, what is had by name only as well, sorted by name."""
        return sorted((*self.content(), *(resource for part in self.by_name for resource in part.content())), key=_NAME)


class RefusedTable:
    """A type of which this client may have nothing: every name is refused, by name, and the stream goes on. As the last part of a layered
    table it refuses every name that the others don't have."""

    __slots__ = ("_refused",)

    by_name = False
    digest = 0
    ready = True
    complete = True
    version = "0" * 16
    stated = ""

    def __init__(self, refused: Refused) -> None:
        self._refused = refused

    def lookup(self, name: str) -> Answer:
        return self._refused

    listed = lookup

    def differing(self, held: Mapping[str, str]) -> Iterable[str]:
        return held

    def names(self) -> Iterable[str]:
        return ()

    def content(self) -> Sequence[Resource]:
        return ()


def in_one_go(steps: Generator[Any, None, T]) -> T:
    """Runs it to its end; what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def checked(type_url: str, put: Iterable[Resource], remove: Iterable[str]) -> tuple[tuple[Resource, ...], tuple[str, ...]]:
    """What may be set at once, each name once and none empty: clients refuse a response with a duplicate, having applied half of it.

    Raises InvalidObject naming the resource.
    """
    resources, gone = tuple(put), tuple(remove)
    names = [resource.name for resource in resources]
    names += gone
    if len(names) > 1 and len(set(names)) < len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise InvalidObject(f"resource {twice!r} of type {type_url} is set or removed twice at once; keep one of them")
    if "" in names:
        raise InvalidObject(f"a resource of type {type_url} has no name; give it one")
    return resources, gone


def resource_size(resource: Resource) -> int:
    """Bytes of the resource's message."""
    return sum(map(len, resource.parts))


def digest_of(name: str, version: str) -> int:
    """A 64-bit hash of one resource; that of a set is the sum, whatever order it is in."""
    return xxh3_64_intdigest(f"{name}\0{version}".encode())


def digest_of_all(resources: Iterable[Resource]) -> int:
    """The same of a set of them."""
    return sum([digest_of(resource.name, resource.version) for resource in resources]) & _MASK


def version_of(resources: Iterable[Resource]) -> str:
    """The version of a set of resources, as tables give it for their whole content."""
    return version_of_digest(digest_of_all(resources))


def version_of_digest(digest: int) -> str:
    return f"{digest:016x}"
