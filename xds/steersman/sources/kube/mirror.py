"""What a cluster's API holds of one resource, as facts: pure, told of each change as it comes.

Facts depend only on what the server has, not on the number, order or repetition of what it says: an event that is older than what is held
says nothing, an object of another uid is another object. What a warm file has stands until the server tells it again, or everything else.
"""

from collections.abc import Iterable, Iterator, Mapping
from sys import intern
from typing import Any

import msgspec

from steersman.model.facts import Delete, Fact, Finding, FindingKey, Origin, Upsert, object_name
from steersman.model.ids import ClusterID, ObjectKey
from steersman.model.objects import Kind
from steersman.sources import shapes
from steersman.sources.blocks import Blocks
from steersman.sources.contents import Steps
from steersman.sources.decode import Decoded, InvalidField, decode, invalid, shape_of
from steersman.sources.endpointslice import Past
from steersman.sources.kube import wire
from steersman.sources.kube.reflector import Begin, Change, Complete, Put, Remove
from steersman.sources.kube.resources import Resource
from steersman.sources.kube.sliceevents import SliceEvents
from steersman.sources.kube.warmfile import Kept
from steersman.sources.report import Complaint


class _Held(msgspec.Struct, frozen=True, gc=False):
    """An object as it was told last. `value`: None for one that says nothing, or can't be read. `findings`: keys of what is told of it.
    `blocks`: of an EndpointSlice's entries as they were written."""

    uid: str
    resource_version: str
    value: Any
    findings: tuple[FindingKey, ...] = ()
    blocks: Blocks | None = None


class Mirror:
    """The objects of one resource of one cluster. `whole`: everything was taken in once, to the last object. `retelling`: everything is
    being taken in. `changes`: how often what is held of any came to mean something else. `gone`: what the objects were that the last
    `facts` deleted."""

    def __init__(self, cluster: ClusterID, resource: Resource) -> None:
        self.cluster = cluster
        self.resource = resource
        assert resource.kind is not None
        self.kind = resource.kind
        self._api_version = resource.api_version(resource.versions[0])
        self.whole = False
        self.retelling = False
        self._held: dict[ObjectKey, _Held] = {}
        self._put: set[ObjectKey] | None = None
        """The objects of a telling of everything that is under way."""
        self._facts: list[Fact] = []
        self._gone: dict[ObjectKey, Any] = {}
        self.gone: Mapping[ObjectKey, Any] = {}
        self._warm: set[ObjectKey] = set()
        """Objects that were restored, and that the server has not told since."""
        self._place = ""
        """The warm file that they are from; "" where a run before held them."""
        self.changes = 0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def in_parts(self) -> bool:
        """Whether what has come so far may be told before the rest: not while everything is told at first, or again."""
        return self.whole and self._put is None

    def uid(self, key: ObjectKey) -> str:
        """Of the object that is held under this key, or ""."""
        held = self._held.get(key)
        return held.uid if held is not None else ""

    def value(self, key: ObjectKey) -> Any:
        """What the object under this key is; None where there is none that says anything."""
        held = self._held.get(key)
        return held.value if held is not None else None

    def events(self) -> wire.Events:
        """What reads the lines of its watch."""
        return SliceEvents(self._past) if self.kind is Kind.ENDPOINT_SLICE else wire.Events(shape_of(self._api_version, self.kind))

    def _past(self, namespace: str, name: str) -> Past | None:
        """How the EndpointSlice of this name was read last; None where that is of no use for another reading."""
        held = self._held.get(ObjectKey(self.cluster, namespace, name))
        return Past(held.value, held.blocks) if held is not None and held.blocks is not None else None

    @property
    def restored(self) -> int:
        """How many of the objects the server has not told since they were restored."""
        return len(self._warm)

    @property
    def warm(self) -> int:
        """How many of those are from a warm file."""
        return len(self._warm) if self._place else 0

    def kept(self) -> Iterator[Kept]:
        """The objects as they are now, to be kept, last to first. They cost nothing until they are taken, but the references, of which each
        is let go then."""
        return _taken_out(self._held.copy())  # of 100,000, 2 ms; and unlike a list it is nothing to the collector

    def restore(self, objects: Iterable[Kept], place: str, seen: float) -> Steps[None]:
        """Takes in what a warm file has, as far as the server has told nothing of it; pauses after each object. `place`: the file."""
        self._place = place
        for kept in objects:
            if self.whole:
                return
            key = kept.value.key
            if key not in self._held:
                self._held[key] = _Held(kept.uid, kept.resource_version, kept.value)
                self._warm.add(key)
                self._tell_warm(key, seen)
            yield

    def go_on(self, before: "Mirror", seen: float) -> Steps[None]:
        """Takes in what the mirror of a run before held, as from a file."""
        yield from self.restore(before.kept(), before._place if before._warm else "", seen)

    def tell_warm(self, seen: float) -> None:
        """What stands from the file is told once more, which is a change to nobody."""
        for key in self._warm:
            self._tell_warm(key, seen)

    def _tell_warm(self, key: ObjectKey, seen: float) -> None:
        held = self._held[key]
        origin = Origin(source=self.cluster, place=self._place, uid=held.uid, resource_version=held.resource_version, seen=seen)
        self._facts.append(Upsert(kind=self.kind, key=key, value=held.value, origin=origin))

    def forget_warm(self) -> None:
        """What was restored is another cluster's."""
        for key in self._warm:
            self._let_go(key, self._held.pop(key))
        self._warm.clear()

    def take(self, changes: Iterable[Change], seen: float) -> Steps[None]:
        """Takes changes in; pauses after each object. `seen`: wall clock seconds."""
        for change in changes:
            match change:
                case Begin():
                    self._put = set()
                    self.retelling = True
                case Put():
                    self._take(change.body, seen)
                case Remove():
                    self._remove(change.head)
                case Complete():
                    yield from self._sweep()
            yield

    def facts(self) -> list[Fact]:
        """What changed since this was asked last, in order."""
        facts, self._facts = self._facts, []
        self.gone, self._gone = self._gone, {}
        return facts

    def _take(self, body: msgspec.Raw | shapes.Object, seen: float) -> None:
        try:
            decoded = decode(self.cluster, self._api_version, self.kind, body)
        except InvalidField as error:
            self._refuse(body, error, seen)
            return
        assert isinstance(decoded, Decoded)  # of a kind that is used: no other is asked for
        held = _Held(
            uid=decoded.uid,
            resource_version=decoded.resource_version,
            value=decoded.value,
            findings=tuple([self._finding_key(decoded.key, complaint) for complaint in decoded.complaints]),
            blocks=decoded.blocks,
        )
        self._hold(decoded.key, held, decoded.complaints, seen)

    def _refuse(self, body: msgspec.Raw | shapes.Object, error: InvalidField, seen: float) -> None:
        """An object that can't be read counts as absent, and is told of."""
        try:
            head = wire.head(body)
        except wire.BadAnswer:
            return  # without a name or a version: no API server sends it
        key = ObjectKey(self.cluster, head.namespace, head.name)
        complaint = invalid(error)
        finding = FindingKey(self.cluster, "", complaint.id, error.object)
        held = _Held(head.uid, head.resource_version, None, (finding,))
        self._hold(key, held, (complaint,), seen)

    def _hold(self, key: ObjectKey, held: _Held, complaints: tuple[Complaint, ...], seen: float) -> None:
        before = self._held.get(key)
        if self._put is not None:
            self._put.add(key)
        elif before is not None and before.uid == held.uid and _is_older(held.resource_version, before.resource_version):
            return  # told again
        confirmed = key in self._warm
        self._warm.discard(key)
        if before is not None and before.uid != held.uid:
            self._let_go(key, before)
            before = None
        if before is not None and before.value == held.value:
            # The mesh has the one that was told first; of two that are equal one is enough.
            held = _Held(held.uid, held.resource_version, before.value, held.findings, held.blocks)
        self._held[key] = held
        if before is None or confirmed or before.resource_version != held.resource_version or before.value is not held.value:
            self._tell(key, before, held, seen)
        self._tell_findings(before, held, complaints, seen)

    def _tell(self, key: ObjectKey, before: _Held | None, held: _Held, seen: float) -> None:
        if before is None or before.value is not held.value:
            self.changes += 1
        if held.value is not None:
            origin = Origin(source=self.cluster, uid=held.uid, resource_version=held.resource_version, seen=seen)
            self._facts.append(Upsert(kind=self.kind, key=key, value=held.value, origin=origin))
        elif before is not None and before.value is not None:
            self._facts.append(Delete(kind=self.kind, key=key))

    def _tell_findings(self, before: _Held | None, held: _Held, complaints: tuple[Complaint, ...], seen: float) -> None:
        if before is not None:
            self._facts.extend(Delete(kind=Kind.FINDING, key=key) for key in before.findings if key not in held.findings)
        for key, complaint in zip(held.findings, complaints, strict=True):
            value = Finding(id=key.id, severity=complaint.severity, object=key.object, cause=complaint.cause, remedy=complaint.remedy)
            self._facts.append(Upsert(kind=Kind.FINDING, key=key, value=value, origin=Origin(source=self.cluster, seen=seen)))

    def _finding_key(self, key: ObjectKey, complaint: Complaint) -> FindingKey:
        return FindingKey(self.cluster, "", complaint.id, intern(object_name(self.kind, key)))

    def _remove(self, head: wire.Head) -> None:
        key = ObjectKey(self.cluster, head.namespace, head.name)
        held = self._held.get(key)
        if held is None or _is_older(head.resource_version, held.resource_version):
            return
        del self._held[key]
        self._warm.discard(key)
        self._let_go(key, held)

    def _let_go(self, key: ObjectKey, held: _Held) -> None:
        self.changes += 1
        if held.value is not None:
            self._facts.append(Delete(kind=self.kind, key=key))
            self._gone[key] = held.value
        self._facts.extend(Delete(kind=Kind.FINDING, key=finding) for finding in held.findings)

    def _sweep(self) -> Steps[None]:
        """What was not told again while everything was is gone: its deletion happened unseen."""
        put = self._put or set()
        for key in [key for key in self._held if key not in put]:
            self._let_go(key, self._held.pop(key))
            yield
        self._warm.clear()
        self._put = None
        self.whole = True
        self.retelling = False


def _taken_out(held: dict[ObjectKey, _Held]) -> Iterator[Kept]:
    while held:
        _, one = held.popitem()
        if one.value is not None:
            yield Kept(one.uid, one.resource_version, one.value)


def _is_older(version: str, held: str) -> bool:
    """Whether a resourceVersion is before the one that is held. They are opaque where they are no numbers: then nothing is older.

    Source: KEP-5504, which makes them comparable within a resource.
    """
    if not (version.isascii() and held.isascii() and version.isdecimal() and held.isdecimal()):
        return False
    return int(version) < int(held)
