"""What can go wrong between a client and the API server. A fault is scripted for requests to come, or given to watches that run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tests.support.apiserver.kinds import Object


@dataclass(frozen=True, slots=True)
class Answer:
    """This instead of what was asked for; an object is written as JSON."""

    status: int
    body: Object | bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Late:
    """The answer begins so many seconds later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Silent:
    """No byte comes, for ever, and the connection stays open. `headers`: those come first."""

    headers: bool = False


@dataclass(frozen=True, slots=True)
class Pieces:
    """A watch's bytes in chunks of this size, whatever the lines, with a pause after each."""

    size: int
    pause: float = 0.0


class Where(StrEnum):
    """How a stream ends that should not."""

    CHUNK = "chunk"
    """In the middle of a chunk, and then the end of the connection."""
    LINE = "line"
    """In the middle of a line, after a whole chunk, and then the chunk that ends an answer properly."""
    RESET = "reset"
    """In the middle of a chunk, by TCP reset."""
    UNENDED = "unended"
    """After a whole line, by the end of the connection without the chunk that ends an answer."""


@dataclass(frozen=True, slots=True)
class Cut:
    """After so many lines of a watch the next is cut. A list's body is cut in its middle, by the end of the connection or by reset."""

    where: Where
    after: int = 0


@dataclass(frozen=True, slots=True)
class Ends:
    """A watch ends properly at once, or after so many lines. `last`: a line that comes before its end."""

    after: int = 0
    last: Object | None = None


Fault = Answer | Late | Silent | Pieces | Cut | Ends
