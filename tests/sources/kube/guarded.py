"""A removal guard with the objects of an API before it, and a listener to what it lets pass."""

from collections.abc import Iterable, Mapping
from typing import Any

from steersman.model.facts import Delete, Origin, Upsert
from steersman.model.ids import ClusterID, IPFamily, ObjectKey
from steersman.model.mesh import ObjectRef
from steersman.model.objects import EndpointSlice, Kind, Namespace, Pod, Service, SliceEndpoint, SlicePort
from steersman.model.removals import HeldRemoval, slice_held
from steersman.settings import RemovalGuardSettings
from steersman.sources.contents import Steps, run
from steersman.sources.kube.removals import RemovalGuard
from tests.sources.listening import Listener

EAST = ClusterID("east")
GRACE = 30.0
HOLD = 300.0
ORIGIN = Origin(source=EAST)


def key(name: str) -> ObjectKey:
    return ObjectKey(EAST, "ns", name)


def entry(text: str) -> SliceEndpoint:
    """An endpoint written short: `10.0.0.1`, `10.0.0.1=web-1`, with `!` behind it for one that isn't ready, `~` for one that terminates."""
    address, _, pod = text.rstrip("!~").partition("=")
    down = text[-1] in "!~"
    return SliceEndpoint.of(address, pod=pod, ready=not down, serving=not down, terminating=text.endswith("~"))


def short(endpoint: SliceEndpoint) -> str:
    mark = "~" if endpoint.terminating else "" if endpoint.ready else "!"
    return f"{endpoint.address}{'=' if endpoint.pod else ''}{endpoint.pod}{mark}"


def piece(name: str, *entries: str, service: str = "web", port: int = 8080, family: IPFamily = IPFamily.IPV4) -> EndpointSlice:
    return EndpointSlice.of(
        key(name),
        service=service,
        family=family,
        ports=(SlicePort(name="http", port=port),),
        endpoints=tuple(entry(text) for text in entries),
    )


def pod(name: str, *ips: str, **fields: Any) -> Pod:
    return Pod(key=key(name), ips=ips, **{"ready": True, **fields})


class Guarded:
    """`api`: the objects that the API told of, by kind and key; `told`: what stands after all that the guard told."""

    def __init__(self, share: float = 0.5, at_least: int = 1, *, enabled: bool = True) -> None:
        self.now = 1000.0
        self.place = "east.kubeconfig"
        self.api: dict[Kind, dict[ObjectKey, Any]] = {kind: {} for kind in Kind}
        self.told = Listener()
        self.settings = RemovalGuardSettings(enabled=enabled, share=share, at_least=at_least, hold=HOLD)
        self.guard = self._guard()
        self.reasons: list[str] = []

    def _guard(self) -> RemovalGuard:
        return RemovalGuard(EAST, self.settings, self.api[Kind.POD].get, grace=GRACE, place=lambda: self.place)

    def sync(self, *objects: Any) -> "Guarded":
        """Everything is told for the first time."""
        for kind in (Kind.NAMESPACE, Kind.NODE, Kind.SERVICE, Kind.ENDPOINT_SLICE, Kind.POD, Kind.GATEWAY):
            self.lists(kind, *(one for one in objects if kind_of(one) is kind))
        return self

    def lists(self, kind: Kind, *objects: Any) -> None:
        """A list of this kind was told anew, and has these."""
        self.begins(kind)
        self.puts(*objects)
        self.completes(kind, {one.key for one in objects})

    def begins(self, kind: Kind) -> None:
        self.guard.begin(kind, len(self.api[kind]))

    def completes(self, kind: Kind, listed: Iterable[ObjectKey]) -> None:
        """The list is over: what it had not is gone."""
        for gone in self.api[kind].keys() - set(listed):
            self.deletes(kind, gone.name)
        self.performs(str(kind), self.guard.complete(kind, len(self.api[kind]), self.now))

    def puts(self, *objects: Any) -> None:
        """Events, or a part of a list."""
        for one in objects:
            kind = kind_of(one)
            if self.api[kind].get(one.key) != one:
                self.api[kind][one.key] = one
                self.guard.take(kind, [upsert(one)], self.now, {})
        self._hear()

    def deletes(self, kind: Kind, *names: str) -> None:
        for name in names:
            if (one := self.api[kind].pop(key(name), None)) is not None:
                self.guard.take(kind, [Delete(kind=kind, key=key(name))], self.now, {key(name): one})
        self._hear()

    def trouble(self) -> None:
        self.guard.look(self.now, well=False)

    def well(self) -> None:
        self.guard.look(self.now, well=True)

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.performs("expire", self.guard.expire(self.now))

    def releases(self, service: str = "") -> None:
        self.performs("release", self.guard.release(key(service) if service else None, self.now))

    def performs(self, who: str, steps: Steps[None]) -> None:
        """What the guard does in steps. `who`: the task that does; each does one thing at a time."""
        run(steps)
        self._hear()

    def replaced(self) -> None:
        self.guard.replaced()
        self.later(0)

    def restarts(self) -> None:
        """The source is started afresh, and nothing stands but what it tells then."""
        before, self.guard, self.told = self.guard, self._guard(), Listener()
        run(self.guard.go_on(before, self.now))
        for kind in (Kind.POD, Kind.ENDPOINT_SLICE, Kind.SERVICE, Kind.NAMESPACE):
            self.guard.take(kind, [upsert(one) for one in self.api[kind].values()], self.now, {})
            self.guard.restored(kind)
        self._hear()

    def _hear(self) -> None:
        self.told.apply(self.guard.facts(self.now))
        self.reasons += [why for _, why in self.guard.told.ended]
        self.guard.told.ended.clear()

    # -- what stands ----------------------------------------------------------------------------------------------------------

    def shown(self, service: str = "web") -> list[str]:
        """The endpoints of a service that are up for the mesh, and whose Pod, if they have one, is there."""
        values = self.told.values
        found = [
            endpoint
            for (kind, _), one in values.items()
            if kind is Kind.ENDPOINT_SLICE and one.service == service and (Kind.SERVICE, key(service)) in values
            for endpoint in one.endpoints
            if endpoint.ready and (not endpoint.pod or (Kind.POD, key(endpoint.pod)) in values)
        ]
        return sorted(short(endpoint) for endpoint in found)

    def held(self, service: str = "web") -> dict[ObjectKey, list[str]]:
        """What is shown of a service beside what the API lists, by its slice."""
        return {
            listed: [short(endpoint) for endpoint in one.endpoints]
            for (kind, of), one in self.told.values.items()
            if kind is Kind.ENDPOINT_SLICE and (listed := slice_held(of)) is not None and one.service == service
        }

    def holds(self) -> dict[str, HeldRemoval]:
        """By the Service's name, or the kind."""
        found: Mapping[ObjectRef, HeldRemoval] = {ref: one for (kind, ref), one in self.told.values.items() if kind is Kind.HELD_REMOVAL}
        assert list(self.guard.held) == [found[ref] for ref in sorted(found)]
        return {ref.key.name or str(ref.kind): one for ref, one in found.items()}

    def is_as_listed(self) -> bool:
        """Whether the mesh was told just what the API has."""
        told = dict(self.told.values)
        return told == {(kind, of): one for kind, objects in self.api.items() for of, one in objects.items()}


def upsert(one: Any) -> Upsert:
    return Upsert(kind=kind_of(one), key=one.key, value=one, origin=ORIGIN)


_KINDS: dict[Any, Kind] = {EndpointSlice: Kind.ENDPOINT_SLICE, Pod: Kind.POD, Service: Kind.SERVICE, Namespace: Kind.NAMESPACE}


def kind_of(one: Any) -> Kind:
    return _KINDS[type(one)]
