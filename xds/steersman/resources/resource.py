"""An encoded xDS resource."""

from collections.abc import Iterable
from hashlib import blake2b

from google.protobuf.message import Message
from xxhash import xxh3_64_hexdigest

from steersman.model.objects import Row


class Resource(Row, frozen=True, kw_only=True):
    """One resource as it goes on the wire, still in parts, so that parts can be shared between resources.

    `version`: hash of the content, 64 bits, equal on every replica; never empty. The message's bytes are `parts` joined.
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
    return Resource(name=name, version=xxh3_64_hexdigest(b"".join(kept)), parts=kept)


def of_message(name: str, message: Message) -> Resource:
    """The resource with this message, serialised deterministically (maps in key order)."""
    return of_parts(name, (message.SerializeToString(deterministic=True),))


def of_private(name: str, message: Message) -> Resource:
    """The same of a message that is not shown to whom its version is: of what is in it, that tells nothing."""
    body = message.SerializeToString(deterministic=True)
    return Resource(name=name, version=blake2b(body, digest_size=8).hexdigest(), parts=(body,))
