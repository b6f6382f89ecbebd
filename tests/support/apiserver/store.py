"""What the double holds, without I/O: objects with their resourceVersions, and the history that lists and watches read."""

import copy
import datetime as dt
import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from tests.support.apiserver.kinds import AUTHORITY, BUILT_IN, DEFINITIONS, Object, Resource, defined_by

ObjectName = tuple[str, str]
"""(namespace, name)."""
_encode = msgspec.json.Encoder().encode


class Refused(Exception):
    """A write that the API server answers with this code and reason."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


class Stored:
    """An object at one resourceVersion. Its value is never changed; its bytes are made once."""

    __slots__ = ("_bare", "_whole", "rv", "value")

    def __init__(self, value: Object, rv: int) -> None:
        self.value, self.rv = value, rv
        self._bare: bytes | None = None
        self._whole: dict[str, bytes] = {}

    @property
    def name(self) -> ObjectName:
        return self.value["metadata"].get("namespace", ""), self.value["metadata"]["name"]

    def bare(self) -> bytes:
        """Without kind and apiVersion, as items of typed lists are."""
        if self._bare is None:
            self._bare = _encode({key: value for key, value in self.value.items() if key not in ("kind", "apiVersion")})
        return self._bare

    def whole(self, api_version: str) -> bytes:
        if api_version not in self._whole:
            self._whole[api_version] = _encode({"kind": self.value["kind"], "apiVersion": api_version} | self._rest())
        return self._whole[api_version]

    def _rest(self) -> Object:
        return {key: value for key, value in self.value.items() if key not in ("kind", "apiVersion")}


class Event(NamedTuple):
    """One write. `before`: what stood there. `now`: what stands there since; for a deletion the last state, with the deletion's
    resourceVersion."""

    rv: int
    resource: Resource
    type: str
    now: Stored
    before: Stored | None


class Store:
    """All objects of one cluster. resourceVersions are shared by all kinds, with gaps.

    `oldest`: the version from which the watch cache can tell events; `compacted`: that from which etcd can.
    `seed`: of the uids. `capacity`: events that are remembered; None: all. `told`: called with every event.
    """

    def __init__(self, *, first: int = 1000, seed: int = 1, capacity: int | None = None) -> None:
        self.capacity = capacity
        self.rv = self.oldest = self.compacted = first
        self.resources = {resource.id: resource for resource in (*BUILT_IN, *AUTHORITY)}
        self.told: list[Callable[[Event], None]] = []
        self.redefined: list[Callable[[Resource, Resource | None], None]] = []
        self._random = random.Random(seed)
        self._objects: dict[tuple[str, str], dict[ObjectName, Stored]] = {resource_id: {} for resource_id in self.resources}
        self._history: list[Event] = []
        for name in ("kube-system", "default"):
            self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    # -- reading --------------------------------------------------------------------------------------------------------------

    def resource_of(self, kind: str) -> Resource:
        return next(resource for resource in self.resources.values() if resource.kind == kind)

    def get(self, resource: Resource, name: ObjectName) -> Stored | None:
        return self._objects[resource.id].get(name)

    def objects(self, resource: Resource, rv: int | None = None) -> list[Stored]:
        """All of a kind as they are, or as they were at `rv`, in etcd's order."""
        found = self._objects.get(resource.id, {})
        if rv is not None and rv < self.rv:
            found = dict(found)
            for event in reversed(self._history):
                if event.rv <= rv:
                    break
                if event.resource.id != resource.id:
                    continue
                if event.before is None:
                    found.pop(event.now.name, None)
                else:
                    found[event.now.name] = event.before
        return [found[name] for name in sorted(found)]

    def since(self, resource: Resource, rv: int) -> Iterator[Event]:
        return (event for event in self._history if event.rv > rv and event.resource.id == resource.id)

    # -- writing --------------------------------------------------------------------------------------------------------------

    def apply(self, value: Object) -> Object:
        """Creates it, or replaces what has its name; with its status, where it says one."""
        resource = self.resource_of(value["kind"])
        before = self.get(resource, _name(resource, value))
        return self.create(resource, value) if before is None else self.replace(resource, value, status=None)

    def create(self, resource: Resource, value: Object) -> Object:
        name = _name(resource, value)
        if self.get(resource, name) is not None:
            raise Refused(409, "AlreadyExists", f'{resource.name} "{name[1]}" already exists')
        value = copy.deepcopy(value)
        given = value["metadata"]
        value["metadata"] = {
            **given,
            "name": name[1],
            **({"namespace": name[0]} if resource.namespaced else {}),
            "uid": str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            "creationTimestamp": _now(),
        }
        if resource.id == DEFINITIONS.id:
            value["status"] = {"conditions": [{"type": one, "status": "True"} for one in ("NamesAccepted", "Established")]}
        stored = self._write(resource, "ADDED", value, None)
        if resource.id == DEFINITIONS.id:
            self._define(value)
        return stored.value

    def replace(self, resource: Resource, value: Object, *, status: bool | None = False) -> Object:
        """`status`: True changes nothing else, False leaves it alone where the kind has one apart, None takes all as it is."""
        name = _name(resource, value)
        before = self.get(resource, name)
        if before is None:
            raise Refused(404, "NotFound", f'{resource.name} "{name[1]}" not found')
        wanted = value["metadata"].get("resourceVersion")
        if wanted and wanted != str(before.rv):
            raise Refused(409, "Conflict", "the object has been modified; please apply your changes to the latest version and try again")
        old = before.value["metadata"]
        new = copy.deepcopy(before.value if status else value)
        if status:
            new["status"] = copy.deepcopy(value.get("status", {}))
        elif status is False and resource.status and "status" in before.value:
            new["status"] = before.value["status"]
        kept = {key: old[key] for key in ("uid", "creationTimestamp", "deletionTimestamp") if key in old}
        new["metadata"] = {**new["metadata"], "name": name[1], **({"namespace": name[0]} if resource.namespaced else {}), **kept}
        new["metadata"]["resourceVersion"] = old["resourceVersion"]
        if new == before.value:
            return before.value
        if "deletionTimestamp" in old and not new["metadata"].get("finalizers"):
            return self._gone(resource, before).value
        stored = self._write(resource, "MODIFIED", new, before)
        if resource.id == DEFINITIONS.id:
            self._define(new)
        return stored.value

    def delete(self, resource: Resource, name: ObjectName) -> Object:
        """One with finalizers is marked; it goes when the last is taken away."""
        before = self.get(resource, name)
        if before is None:
            raise Refused(404, "NotFound", f'{resource.name} "{name[1]}" not found')
        if before.value["metadata"].get("finalizers"):
            marked = copy.deepcopy(before.value)
            marked["metadata"]["deletionTimestamp"] = _now()
            return self._write(resource, "MODIFIED", marked, before).value
        return self._gone(resource, before).value

    def amend(self, resource: Resource, name: ObjectName, change: Callable[[Object], Object]) -> int:
        """What stands there becomes what `change` makes of it, a new object that may share parts with the old; its resourceVersion."""
        before = self._objects[resource.id][name]
        value = change(before.value)
        return self._write(resource, "MODIFIED", {**value, "metadata": {**value["metadata"]}}, before).rv

    def tick(self, count: int = 1) -> None:
        """Something else is written that no watch tells."""
        self.rv += count

    def restarted(self) -> None:
        """The watch cache begins anew: it knows no event from before."""
        self.oldest = self.rv

    def compact(self) -> None:
        """etcd forgets what was; the watch cache does not."""
        self.compacted = self.rv

    def _gone(self, resource: Resource, before: Stored) -> Stored:
        if resource.id == DEFINITIONS.id:
            gone = defined_by(before.value)
            for stored in self.objects(gone):
                self._gone(self.resources[gone.id], stored)
        stored = self._write(resource, "DELETED", copy.deepcopy(before.value), before)
        if resource.id == DEFINITIONS.id:
            self._undefine(defined_by(before.value))
        return stored

    def _write(self, resource: Resource, type_: str, value: Object, before: Stored | None) -> Stored:
        self.rv += 1
        value["metadata"]["resourceVersion"] = str(self.rv)
        stored = Stored(value, self.rv)
        if type_ == "DELETED":
            del self._objects[resource.id][stored.name]
        else:
            self._objects[resource.id][stored.name] = stored
        event = Event(self.rv, resource, type_, stored, before)
        self._history.append(event)
        if self.capacity is not None and len(self._history) > self.capacity:  # one by one: to let go of many takes a while
            self.oldest = self.compacted = max(self.oldest, self._history.pop(0).rv)
        for tell in list(self.told):
            tell(event)
        return stored

    def _define(self, definition: Object) -> None:
        resource = defined_by(definition)
        before = self.resources.get(resource.id)
        self.resources[resource.id] = resource
        self._objects.setdefault(resource.id, {})
        if before != resource:
            for tell in self.redefined:
                tell(resource, before)

    def _undefine(self, resource: Resource) -> None:
        before = self.resources.pop(resource.id)
        for tell in self.redefined:
            tell(before, before)


def _name(resource: Resource, value: Object) -> ObjectName:
    metadata: Any = value["metadata"]
    return (metadata.get("namespace") or "default") if resource.namespaced else "", metadata["name"]


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
