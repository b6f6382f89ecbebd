"""Objects of a cluster that the API has no longer, and of which the mesh isn't told that they are gone. Pure."""

from typing import Any

from steersman.model.ids import ObjectKey
from steersman.model.objects import Kind


class Absent:
    """Objects of one kind that a list lacked. `before`: how many there were before it. `since`: when it was decided to hold `keys`.
    `pending`: of which it isn't decided yet."""

    __slots__ = ("before", "keys", "pending", "since")

    def __init__(self) -> None:
        self.before = 0
        self.since = 0.0
        self.keys: set[ObjectKey] = set()
        self.pending: set[ObjectKey] = set()

    def __contains__(self, key: ObjectKey) -> bool:
        """Whether the mesh is still told of it."""
        return key in self.keys or key in self.pending

    def drop(self, key: ObjectKey) -> bool:
        """It is there again, or gone; whether it was held."""
        self.pending.discard(key)
        held = key in self.keys
        self.keys.discard(key)
        return held


class Withheld:
    """`absent`: by kind. `pods`: Pods that are held because endpoints need them. `was`: what each of all these was."""

    def __init__(self) -> None:
        self.absent: dict[Kind, Absent] = {}
        self.pods: set[ObjectKey] = set()
        self.was: dict[tuple[Kind, ObjectKey], Any] = {}

    def copy(self, before: "Withheld") -> None:
        """The same is held on."""
        self.pods = set(before.pods)
        self.was = dict(before.was)
        for kind, held in before.absent.items():
            absent = self.absent[kind] = Absent()
            absent.before, absent.since = held.before, held.since
            absent.keys, absent.pending = set(held.keys), set(held.pending)

    def has_pod(self, pod: ObjectKey) -> bool:
        """Whether the mesh is still told of a Pod that the API has no longer."""
        absent = self.absent.get(Kind.POD)
        return pod in self.pods or (absent is not None and pod in absent)
