"""An encoded xDS resource."""

from collections.abc import Iterable
from hashlib import sha1

from google.protobuf.message import Message

from steersman.model.objects import Row


class Resource(Row, frozen=True, kw_only=True):
    """One resource as it goes on the wire, still in parts, so that parts can be shared between resources.

    `version`: hash of the content, equal on every replica; never empty. The message's bytes are `parts` joined.
    """

    name: str
    version: str
    parts: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)


def of_parts(name: str, parts: Iterable[bytes]) -> Resource:
    """The resource whose message is these bytes, joined."""
    kept = tuple(parts)
    return Resource(name=name, version=sha1(b"".join(kept), usedforsecurity=False).hexdigest()[:_DIGITS], parts=kept)


_DIGITS = 16
"""Of a version: 64 bits. SHA-1 is no secret's keeper here; processors have instructions for it, so that large assignments take half as long
as by BLAKE2."""


def of_message(name: str, message: Message) -> Resource:
    """The resource with this message, serialised deterministically (maps in key order)."""
    return of_parts(name, (message.SerializeToString(deterministic=True),))
