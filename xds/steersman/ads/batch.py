"""What is said at once."""

from typing import Final

from steersman.resources.resource import Resource
from steersman.snapshot.table import Refused, resource_size

ASKED: Final = ""
"""In place of the version that a client holds (no version is empty): it asked for the name and gets an answer, whatever it holds."""

Held = str | None
"""What a client holds of a name: a version, None for nothing, or ASKED."""

_OVERHEAD = 256
"""More than the bytes that one resource takes in a response beside its message and its name."""

_ANY = 1 << 62
_RESOURCE_EXHAUSTED = 8


class Batch:
    """What is to be said at once: at most `limit` bytes, unless a single resource takes more; None for any.

    `largest`: bytes that the client can take of a resource, None for any; what is larger is refused, and told in `withheld` with its bytes.
    `adds`: some of the resources are new to the client, and it did not ask for them. `missing`: those of the removed that it asked for; the
    others were held by it. `before`: what the client held of the resources, where that is asked for.
    """

    __slots__ = ("_largest", "_room", "adds", "before", "missing", "refused", "removed", "resources", "withheld")

    def __init__(self, limit: int | None = None, largest: int | None = None, before: dict[str, Held] | None = None) -> None:
        self.resources: list[Resource] = []
        self.removed: list[str] = []
        self.refused: list[tuple[str, Refused]] = []
        self.withheld: list[tuple[str, int]] = []
        self.missing: list[str] = []
        self.adds = False
        self.before = before
        self._room = _ANY if limit is None else limit
        self._largest = _ANY if largest is None else largest

    def __bool__(self) -> bool:
        return bool(self.resources or self.removed or self.refused)

    def put(self, resource: Resource, held: Held) -> bool:
        """Takes it in; False if there is no room for it."""
        size = resource_size(resource)
        room = size + len(resource.name) + _OVERHEAD
        if room > self._largest:
            text = f"the resource takes {size} bytes, and this client can take {self._largest} at most"
            self.refused.append((resource.name, Refused(code=_RESOURCE_EXHAUSTED, text=text)))
            self.withheld.append((resource.name, size))
            return True
        if room > self._room and self:
            return False
        self._room -= room
        self.resources.append(resource)
        self.adds = self.adds or held is None
        if self.before is not None:
            self.before[resource.name] = held
        return True

    def remove(self, name: str, held: Held) -> bool:
        """Takes it in; False if there is no room for it."""
        room = len(name) + _OVERHEAD
        if room > self._room and self:
            return False
        self._room -= room
        self.removed.append(name)
        if held == ASKED:
            self.missing.append(name)
        return True
