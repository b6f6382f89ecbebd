"""What a file holds: its entries decoded, with the line of each object.

The functions are generators that yield between objects and return their result, so that a caller with an event loop can pause there.
"""

from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from typing import NamedTuple, TypeVar

from steersman.model.ids import ClusterID
from steersman.model.objects import Row
from steersman.sources.decode import Decoded, Ignored, InvalidField, decode, invalid
from steersman.sources.report import Complaint
from steersman.sources.texts import Entry

T = TypeVar("T")
Steps = Generator[None, None, T]


class Placed(Row, frozen=True):
    """An object of a file. `line` counts from 0."""

    line: int
    object: Decoded


class Remark(Row, frozen=True):
    """A complaint about one object of a file. `line` counts from 0; `object`: as findings name it."""

    line: int
    object: str
    complaint: Complaint


class Contents(NamedTuple):
    """All that a file says, in its order. `ignored`: how many objects of each kind that isn't used."""

    objects: tuple[Placed, ...] = ()
    remarks: tuple[Remark, ...] = ()
    ignored: Mapping[Ignored, int] = {}

    @property
    def has_invalid(self) -> bool:
        return any(remark.complaint.id == "invalid-object" for remark in self.remarks)


class Refused(Row, frozen=True, kw_only=True):
    """An object that can't be decoded."""

    object: str
    complaint: Complaint


class Piece(Row, frozen=True):
    """One object of an entry. `line` counts from the entry's own."""

    line: int
    item: Decoded | Ignored | Refused


Pieces = Mapping[bytes, tuple[Piece, ...]]
"""What was made of each entry of a file, by its digest."""


def contents_of(cluster: ClusterID, found: Iterable[Entry], known: Pieces) -> Steps[tuple[Contents, Pieces]]:
    """The contents of a file with these entries, and what was made of each; `known`: the same of the file as it was. Raises BrokenText."""
    objects: list[Placed] = []
    remarks: list[Remark] = []
    ignored: Counter[Ignored] = Counter()
    pieces: dict[bytes, tuple[Piece, ...]] = {}
    for entry in found:
        if entry.digest not in pieces:
            made = known[entry.digest] if entry.found is None else ()
            for one in entry.found or ():
                made = (*made, Piece(line=one.line, item=_item(cluster, one.api_version, one.kind, one.body)))
                yield
            pieces[entry.digest] = made
        for piece in pieces[entry.digest]:
            line = entry.line + piece.line
            match piece.item:
                case Ignored():
                    ignored[piece.item] += 1
                case Refused():
                    remarks.append(Remark(line=line, object=piece.item.object, complaint=piece.item.complaint))
                case Decoded():
                    if piece.item.value is not None:
                        objects.append(Placed(line=line, object=piece.item))
                    if piece.item.complaints:
                        name = f"{piece.item.kind} {piece.item.key}"
                        remarks.extend(Remark(line=line, object=name, complaint=complaint) for complaint in piece.item.complaints)
        yield
    return Contents(tuple(objects), tuple(remarks), ignored), pieces


def _item(cluster: ClusterID, api_version: str, kind: str, body: bytes) -> Decoded | Ignored | Refused:
    try:
        return decode(cluster, api_version, kind, body)
    except InvalidField as error:
        return Refused(object=error.object, complaint=invalid(error))


def is_cut_short(before: bytes, now: bytes) -> bool:
    """Whether `now` is a file whose writer stopped while writing over `before`: its beginning, cut inside a line, or nothing at all.

    Nobody edits a file like that; whoever wants its objects gone removes documents, or the file.
    """
    if len(now) >= len(before) or not before.startswith(now):
        return False
    return not now.strip() or (not now.endswith(b"\n") and before[len(now) : len(now) + 1] not in (b"\n", b"\r"))


def run(steps: Steps[T]) -> T:
    """The result, without pauses."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
