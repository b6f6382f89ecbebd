"""What a guard tells of what it holds: slices of held endpoints, the holds themselves, and what should be known of them. Pure."""

from collections.abc import Callable

from steersman.model.facts import Delete, Fact, FindingKey, Origin, Upsert
from steersman.model.ids import ClusterID, ObjectKey
from steersman.model.mesh import ObjectRef
from steersman.model.objects import EndpointSlice, Kind
from steersman.model.removals import HeldRemoval, held_slice
from steersman.sources.kube.findings import removal_held


class HeldFacts:
    """Facts in the order in which they are to be told.

    `held`: the holds that were told of. `began` and `ended`: those that are new, and those that are over with why, for whoever takes them
    out. `place`: of the findings, wherever that is by then.
    """

    def __init__(self, cluster: ClusterID, place: Callable[[], str]) -> None:
        self.held: dict[ObjectRef, HeldRemoval] = {}
        self.began: list[HeldRemoval] = []
        self.ended: list[tuple[HeldRemoval, str]] = []
        self._cluster = cluster
        self._place = place
        self._found_at = place()
        self._facts: list[Fact] = []
        self._shown: set[ObjectKey] = set()
        self._changed: dict[ObjectRef, str] = {}

    def tell(self, fact: Fact) -> None:
        self._facts.append(fact)

    def show(self, service: ObjectKey, key: ObjectKey, shown: EndpointSlice | None, now: float) -> None:
        """`shown`: what stands for what is held of a Service, of the slice under this key; None: nothing is."""
        held = held_slice(key, service.name)
        if shown is not None:
            self._shown.add(held)
            self._facts.append(Upsert(kind=Kind.ENDPOINT_SLICE, key=held, value=shown, origin=Origin(source=self._cluster, seen=now)))
        elif held in self._shown:
            self._shown.discard(held)
            self._facts.append(Delete(kind=Kind.ENDPOINT_SLICE, key=held))

    def change(self, ref: ObjectRef, why: str = "") -> None:
        """What is held of this changed. `why`: nothing is any more, if that is so."""
        self._changed[ref] = why or self._changed.get(ref, "")

    def taken(self, held_of: Callable[[ObjectRef], HeldRemoval | None], now: float) -> list[Fact]:
        """All since this was asked last. However often a hold changed, it is told once."""
        if (place := self._place()) != self._found_at:
            before, self._found_at = self._found_at, place
            for ref, held in self.held.items():
                self._facts.append(Delete(kind=Kind.FINDING, key=FindingKey.of(self._cluster, removal_held(held, before))))
                self._tell_held(ref, held, now)
        changed, self._changed = self._changed, {}
        for ref, why in changed.items():
            self._tell_hold(ref, held_of(ref), why, now)
        facts, self._facts = self._facts, []
        return facts

    def _tell_hold(self, ref: ObjectRef, held: HeldRemoval | None, why: str, now: float) -> None:
        before = self.held.get(ref)
        about = held or before
        if held == before or about is None:
            return
        if held is None:
            del self.held[ref]
            key = FindingKey.of(self._cluster, removal_held(about, self._found_at))
            self._facts += (Delete(kind=Kind.HELD_REMOVAL, key=ref), Delete(kind=Kind.FINDING, key=key))
            self.ended.append((about, why))
            return
        self.held[ref] = held
        self._tell_held(ref, held, now)
        if before is None:
            self.began.append(held)

    def _tell_held(self, ref: ObjectRef, held: HeldRemoval, now: float) -> None:
        finding = removal_held(held, self._found_at)
        origin = Origin(source=self._cluster, place=self._found_at, seen=now)
        self._facts.append(Upsert(kind=Kind.HELD_REMOVAL, key=ref, value=held, origin=origin))
        self._facts.append(Upsert(kind=Kind.FINDING, key=FindingKey.of(self._cluster, finding), value=finding, origin=origin))
