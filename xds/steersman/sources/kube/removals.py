"""The mass-removal guard of one cluster: what would vanish in doubt is held, and shown as it was last. Pure: time is an argument.

    mirrors --facts--> guard --facts--> the mesh        doubt: a list that is told anew, trouble with the API, and a while after it

What the API lists passes as it is, and at once. Endpoints that are held stand beside it, in slices of their own (`held_slice`), and objects
that a list lacks are held by not telling that they are gone. docs/design/removal-guard.md has the rules.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from steersman.model.facts import Delete, Fact, Origin, Upsert
from steersman.model.ids import ClusterID, ObjectKey
from steersman.model.mesh import ObjectRef
from steersman.model.objects import Kind, Pod
from steersman.model.removals import HeldRemoval
from steersman.settings import RemovalGuardSettings
from steersman.sources.contents import Steps, run
from steersman.sources.kube.held import HeldFacts
from steersman.sources.kube.losses import BACK, GONE, Losses
from steersman.sources.kube.withheld import Absent, Withheld

OVER = "its time is over"
COMMAND = "by command"
ANOTHER = "the API is another cluster's"
_OF_ENDPOINTS = (Kind.ENDPOINT_SLICE, Kind.POD)


class RemovalGuard:
    """Facts go in by `take`, between `begin` and `complete` where a list is told anew, and come out of `facts`, in order.

    `pod`: a Pod as the API has it now. `grace`: seconds after trouble in which what is lost is doubted still. `place`: of its findings,
    when they are told. Times are wall clock seconds. What takes long is done in steps, between which anything else may be told.
    """

    def __init__(
        self,
        cluster: ClusterID,
        settings: RemovalGuardSettings,
        pod: Callable[[ObjectKey], Pod | None],
        *,
        grace: float,
        place: Callable[[], str],
    ) -> None:
        self.told = HeldFacts(cluster, place)
        self._cluster = cluster
        self._settings = settings
        self._grace = grace
        self._withheld = Withheld()
        self._losses = Losses(settings, self.told, self._withheld, pod)
        self._known: set[Kind] = set()
        """Kinds of which everything was told once."""
        self._retold: dict[Kind, int] = {}
        """Kinds of which everything is being told again, and how many objects there were."""
        self._believed: set[Kind] = set()
        """Kinds of another cluster than before, of which not all was told yet."""
        self._doubted_until = 0.0
        self._another = False

    @property
    def held(self) -> tuple[HeldRemoval, ...]:
        """As it was told last, sorted."""
        return tuple(held for _, held in sorted(self.told.held.items()))

    @property
    def is_holding(self) -> bool:
        """Whether anything is shown that the API doesn't list, decided or not."""
        return bool(self._withheld.was) or any(len(doubted) for doubted in self._losses.doubted.values())

    def facts(self, now: float) -> list[Fact]:
        """What there is to be told since this was asked last."""
        return self.told.taken(self._held_of, now)

    def _held_of(self, ref: ObjectRef) -> HeldRemoval | None:
        absent = self._withheld.absent.get(ref.kind) if not ref.key.name else None
        doubted = self._losses.doubted.get(ref.key)
        if absent is not None and absent.keys:
            count, before, since, gone = len(absent.keys), absent.before, absent.since, frozenset[ObjectKey]()
            cause = f"a list that was read anew lacks {count} of {before}"
        elif doubted is not None and doubted.since and len(doubted):
            count, before, since, gone = len(doubted) - len(doubted.pending), doubted.before, doubted.since, frozenset(doubted.gone)
            cause = f"{doubted.missing} of its {before} endpoints were lost {doubted.why}"
        else:
            return None
        return HeldRemoval(object=ref, count=count, before=before, since=since, until=since + self._settings.hold, cause=cause, pods=gone)

    # -- what is doubted ------------------------------------------------------------------------------------------------------

    def look(self, now: float, *, well: bool) -> None:
        """How the cluster's API stands."""
        if not well:
            self._doubted_until = math.inf
        elif self._doubted_until == math.inf:
            self._doubted_until = now + self._grace

    def replaced(self) -> None:
        """It is another cluster's API than before: what was lost belonged to the other one, and goes with the next `expire`; what is told
        now is believed."""
        self._believed = set(Kind)
        self._another = True

    def _doubts(self, kind: Kind, now: float) -> bool:
        """Whether what is lost of a kind may be held. Of what isn't endpoints only a list may: an event says who was deleted."""
        if kind in self._believed:
            return False
        return kind in self._retold or (kind is Kind.ENDPOINT_SLICE and now < self._doubted_until)

    # -- facts ----------------------------------------------------------------------------------------------------------------

    def take(self, kind: Kind, facts: Iterable[Fact], now: float, was: Mapping[ObjectKey, Any]) -> None:
        """What a mirror of objects of this kind tells. `was`: what those were that it deletes."""
        for fact in facts:
            if not self._settings.enabled or not isinstance(fact, Upsert | Delete) or fact.kind is not kind:
                self.told.tell(fact)
            elif isinstance(fact, Upsert):
                self._put(kind, fact, now)
            else:
                self._remove(kind, fact, now, was)
        self._losses.judge_touched(now)

    def _put(self, kind: Kind, fact: Upsert, now: float) -> None:
        absent = self._withheld.absent.get(kind)
        if absent is not None:
            if fact.key in absent.pending:  # it was made again unseen: another object of the same name
                self.told.tell(Delete(kind=kind, key=fact.key))
            if absent.drop(fact.key):
                self._absence_changed(kind, BACK)
        if self._withheld.was:
            self._withheld.was.pop((kind, fact.key), None)
        self.told.tell(fact)
        if kind is Kind.ENDPOINT_SLICE:
            self._losses.list(fact.key, fact.value, now, doubts=self._doubts(kind, now))
        elif kind is Kind.SERVICE:
            self._losses.services.add(fact.key)
        elif kind is Kind.POD and kind in self._known and (self._losses.doubted or self._retold or now < self._doubted_until):
            self._losses.run(fact.key, fact.value, now)

    def _remove(self, kind: Kind, fact: Delete, now: float, was: Mapping[ObjectKey, Any]) -> None:
        if kind is Kind.ENDPOINT_SLICE:
            self.told.tell(fact)
            self._losses.list(fact.key, None, now, doubts=self._doubts(kind, now))
        elif self._doubts(kind, now):
            self._withheld.absent.setdefault(kind, Absent()).pending.add(fact.key)
            self._withheld.was[kind, fact.key] = was[fact.key]
        else:
            self._let_go(kind, fact.key, now)

    def _let_go(self, kind: Kind, key: ObjectKey, now: float) -> None:
        """An object is gone."""
        if kind is Kind.POD:
            self._losses.delete(key, now)
            return
        self._withheld.was.pop((kind, key), None)
        self.told.tell(Delete(kind=kind, key=key))
        if kind is Kind.SERVICE:
            self._losses.services.discard(key)
            run(self._losses.release(key, GONE, now))

    # -- lists ----------------------------------------------------------------------------------------------------------------

    def restored(self, kind: Kind) -> None:
        """Objects of this kind are those of a warm file, or of a run before: the first list may lack some that were served."""
        self._known.add(kind)

    def go_on(self, before: "RemovalGuard", now: float) -> Steps[None]:
        """What the guard of a run before held is held on, for the time that it had. What the API had told by then is to be taken in next,
        and `restored` to be called."""
        self._retold = dict(before._retold)
        self._believed = set(before._believed)
        self._doubted_until, self._another = before._doubted_until, before._another
        self._list_changed()
        self._withheld.copy(before._withheld)
        for (kind, key), was in self._withheld.was.items():
            self.told.tell(Upsert(kind=kind, key=key, value=was, origin=Origin(source=self._cluster, seen=now)))
            if kind is Kind.SERVICE:
                self._losses.services.add(key)
            yield
        yield from self._losses.go_on(before._losses, now)
        for kind in list(self._withheld.absent):
            self._absence_changed(kind, BACK)

    def begin(self, kind: Kind, objects: int) -> None:
        """All objects of this kind are told again; so many there were."""
        if kind in self._known:
            self._retold.setdefault(kind, objects)
            self._list_changed()

    def complete(self, kind: Kind, objects: int, now: float) -> Steps[None]:
        """All of a kind was told; so many objects there are."""
        self._known.add(kind)
        if kind in self._withheld.absent:
            yield from self._complete(kind, self._retold.get(kind, 0), objects, now)
        self._retold.pop(kind, None)
        self._believed.discard(kind)
        self._list_changed()
        if kind in _OF_ENDPOINTS and not self._losses.moving:
            yield from self._losses.judge_all(now)

    def _list_changed(self) -> None:
        self._losses.waits = any(kind in self._retold for kind in _OF_ENDPOINTS)
        self._losses.moving = Kind.ENDPOINT_SLICE in self._retold

    def _complete(self, kind: Kind, before: int, objects: int, now: float) -> Steps[None]:
        """A list that lacks too many objects is doubted as a whole; of one that lacks Pods, too many of a Service's are."""
        absent = self._withheld.absent[kind]
        if not absent.keys:
            absent.before, absent.since = before, 0.0
        missing = absent.before - objects
        over = self._losses.is_over(missing, absent.before)
        mass = over and missing >= self._settings.at_least
        if kind is Kind.POD:
            yield from self._losses.lack(absent, now, mass=mass)
        if mass and absent.pending:
            absent.keys |= absent.pending
            absent.pending.clear()
            absent.since = absent.since or now
        for key in [*absent.pending, *(() if missing > 0 else absent.keys)]:
            if key in absent:
                absent.drop(key)
                self._let_go(kind, key, now)
            yield
        self._absence_changed(kind, BACK)

    def _absence_changed(self, kind: Kind, why: str) -> None:
        absent = self._withheld.absent.get(kind)
        if absent is not None and not absent.keys and not absent.pending:
            del self._withheld.absent[kind]
        self.told.change(ObjectRef(kind, ObjectKey(self._cluster, "", "")), why)

    # -- letting go -----------------------------------------------------------------------------------------------------------

    def expire(self, now: float) -> Steps[None]:
        """Lets go of what was held for as long as it may be, and of what could not be decided for as long."""
        if self._another:
            self._another = False
            yield from self._release_all(ANOTHER, now)
        losses, hold = self._losses, self._settings.hold
        for service, doubted in list(losses.doubted.items()):
            if doubted.since or doubted.pending:
                if now >= (doubted.since or doubted.began) + hold:
                    yield from losses.release(service, OVER, now)
                elif not self._doubts(Kind.ENDPOINT_SLICE, now):
                    yield from losses.believe(doubted, now)
            elif not self._doubts(Kind.ENDPOINT_SLICE, now):
                losses.doubted.pop(service, None)
        for kind, absent in list(self._withheld.absent.items()):
            if absent.keys and now >= absent.since + hold:
                yield from self._release(kind, OVER, now)
        losses.judge_touched(now)
        if not losses.doubted and not self._retold and now >= self._doubted_until:
            yield from losses.clear()

    def release(self, service: ObjectKey | None, now: float) -> Steps[None]:
        """Lets go of what is held of this Service, or of everything, at once."""
        if service is None:
            yield from self._release_all(COMMAND, now)
            return
        yield from self._release(Kind.SERVICE, COMMAND, now, only=service)
        yield from self._losses.release(service, COMMAND, now)

    def _release_all(self, why: str, now: float) -> Steps[None]:
        for service in list(self._losses.doubted):
            yield from self._losses.release(service, why, now)
        for kind in list(self._withheld.absent):
            yield from self._release(kind, why, now)

    def _release(self, kind: Kind, why: str, now: float, *, only: ObjectKey | None = None) -> Steps[None]:
        """Lets go of the objects of a kind that are held, or of this one. What a list that is being told may lack is decided at its end."""
        absent = self._withheld.absent.get(kind)
        if absent is None or (only is not None and only not in absent.keys):
            return
        for key in list(absent.keys) if only is None else (only,):
            if key in absent.keys:
                absent.drop(key)
                if kind is Kind.POD and self._losses.needs(key):
                    self._withheld.pods.add(key)
                else:
                    self._let_go(kind, key, now)
            yield
        self._absence_changed(kind, why)
