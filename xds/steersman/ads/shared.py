"""What the streams of a server share, so that a thousand that are alike cost little more than one."""

from sys import intern
from typing import Final
from weakref import WeakValueDictionary, ref

from steersman.ads.messages import Response, Variant
from steersman.resources.resource import Resource
from steersman.snapshot.table import Refused, version_of

_Key = tuple[bool, str, str, tuple[int, ...], tuple[str, ...], tuple[tuple[str, Refused], ...], float, bool]


class Shared:
    """Subscriptions and responses, each kept once, and only as long as some stream holds it."""

    __slots__ = ("_many", "_names", "_responses")

    def __init__(self) -> None:
        self._names: WeakValueDictionary[int, frozenset[str]] = WeakValueDictionary()
        self._responses: dict[_Key, ref[Response]] = {}
        """Those that are gone among them, as there is one more with each push, and is gone soon: a WeakValueDictionary takes half as long
        again as a response to be made."""
        self._many = _MANY

    def names(self, names: frozenset[str]) -> frozenset[str]:
        """The one set that equals this."""
        kept = self._names.get(hash(names))
        if kept == names:
            return kept
        own = frozenset(map(intern, names))
        self._names[hash(own)] = own
        return own

    def response(
        self,
        variant: Variant,
        type_url: str,
        resources: tuple[Resource, ...],
        removed: tuple[str, ...] = (),
        refused: tuple[tuple[str, Refused], ...] = (),
        stated: str = "",
        ttl: float = 0.0,
        heartbeat: bool = False,
    ) -> Response:
        """The one response with this content. `stated`: its version, if one was given to the whole table; else it is the content's hash.

        Resources are told apart by identity, which is sound, since the response that is found keeps its own alive.
        """
        key = (variant is Variant.DELTA, type_url, stated, tuple(map(id, resources)), removed, refused, ttl, heartbeat)
        known = self._responses.get(key)
        response = known() if known is not None else None
        if response is None:
            version = stated or version_of(resources)
            response = Response(variant, type_url, version, resources, removed, refused, ttl, heartbeat)
            self._responses[key] = ref(response)
            if len(self._responses) > self._many:
                self._responses = {key: known for key, known in self._responses.items() if known() is not None}
                self._many = max(_MANY, 2 * len(self._responses))
        return response


_MANY: Final = 16
"""Responses, those that are gone among them, from which on these are forgotten."""
