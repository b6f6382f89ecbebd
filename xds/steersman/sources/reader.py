"""Between the disk and what a directory means: which files to read again, and what of them to parse again. No I/O, no clock."""

from typing import NamedTuple

from steersman.model.facts import Severity
from steersman.model.ids import ClusterID
from steersman.sources.contents import Contents, Pieces, Steps, contents_of, is_cut_short
from steersman.sources.directory import Directory
from steersman.sources.filesystem import Listing, Signature, Text, format_of
from steersman.sources.report import Complaint
from steersman.sources.texts import BrokenText, Entry, Format

_LARGEST_COMPARED = 1 << 20
"""Bytes of a YAML file that are kept to tell a half-written file by; a larger one is judged by its syntax alone."""


class Parse(NamedTuple):
    """A file that is to be parsed; `known`: digests of entries that need not be."""

    form: Format
    data: bytes
    known: Pieces


class _File:
    """What is remembered of a file. `text`: the YAML that its objects are of, None where it isn't kept."""

    __slots__ = ("digest", "pieces", "signature", "text")

    def __init__(self) -> None:
        self.signature: Signature | None = None
        self.digest = b""
        self.pieces: Pieces = {}
        self.text: bytes | None = None


class DirectoryReader:
    """The files of one directory as they were read last. Whoever does the I/O asks what to read, and tells what came of it."""

    def __init__(self, cluster: ClusterID, root: str) -> None:
        self.directory = Directory(cluster, root)
        self.directories: frozenset[str] = frozenset()
        self._files: dict[str, _File] = {}
        self._troubles: dict[str, Complaint] = {}

    def listed(self, found: Listing) -> Steps[list[str]]:
        """The files to be read, because they are new or look changed; files that are gone are forgotten."""
        self.directories = found.directories
        for path in self._troubles.keys() - found.troubles.keys():
            self.directory.trouble(path, None)
        self._troubles = dict(found.troubles)
        for path, complaint in found.troubles.items():
            self.directory.trouble(path, complaint)
        hidden = tuple(f"{path}/" for path in found.troubles)
        for path in self._files.keys() - found.files.keys():
            if path not in found.troubles and not path.startswith(hidden):
                yield from self.gone(path)
        return sorted(
            path for path, signature in found.files.items() if path not in self._files or self._files[path].signature != signature
        )

    def gone(self, path: str) -> Steps[None]:
        if self._files.pop(path, None) is not None or path in self.directory:
            yield from self.directory.remove(path)
        else:
            self.directory.trouble(path, None)

    def trouble(self, path: str, complaint: Complaint, signature: Signature | None = None) -> None:
        """The file could not be read; it keeps what it held."""
        file = self._files.setdefault(path, _File())
        file.signature = signature
        file.digest = b""
        self.directory.trouble(path, complaint)

    def read(self, path: str, text: Text) -> Parse | None:
        """The file holds this text. None if there is nothing to parse: it is as it was, or half-written."""
        file = self._files.setdefault(path, _File())
        file.signature = text.signature
        if text.digest == file.digest:
            return None
        file.digest = text.digest
        form = format_of(path) or Format.YAML
        if form is Format.YAML and file.text is not None and is_cut_short(file.text, text.data):
            self._cut_short(path, text.data)
            return None
        return Parse(form, text.data, file.pieces)

    def parsed(self, path: str, data: bytes, found: list[Entry]) -> Steps[None]:
        """The file that was read last, with this data, has these entries."""
        file = self._files[path]
        contents, pieces = yield from contents_of(self.directory.cluster, found, file.pieces)
        yield from self._put(path, file, data, contents, pieces)

    def _put(self, path: str, file: _File, data: bytes, contents: Contents, pieces: Pieces) -> Steps[None]:
        if contents.has_invalid and file.text is not None and len(data) < len(file.text) and file.text.startswith(data):
            self._cut_short(path, data)
            return
        file.pieces = pieces
        file.text = data if format_of(path) is Format.YAML and len(data) <= _LARGEST_COMPARED else None
        yield from self.directory.put(path, contents)
        self.directory.trouble(path, None)

    def broken(self, path: str, error: BrokenText) -> None:
        """The text that was read last is broken; the file keeps what it held."""
        self.directory.trouble(
            path,
            Complaint(
                id="file-unparsable",
                severity=Severity.ERROR,
                cause=f"{error.problem}; what the file held last is kept",
                remedy="mend the file; to replace a file at once, write another beside it and rename that",
            ),
            error.line,
        )

    def unparsed(self, path: str, why: str) -> None:
        """The text that was read last could not be parsed for a reason of ours; the file keeps what it held until it changes."""
        cause = f"parsing it failed: {why}; what the file held last is kept"
        remedy = "split the file, or touch it to have it tried again"
        self.directory.trouble(path, Complaint(id="file-unparsed", severity=Severity.ERROR, cause=cause, remedy=remedy))

    def _cut_short(self, path: str, data: bytes) -> None:
        empty = not data.strip()
        self.directory.trouble(
            path,
            Complaint(
                id="file-cut-short",
                severity=Severity.ERROR,
                cause=f"it is {'empty' if empty else 'the beginning of what it was'}, as if its writer had stopped; what it held is kept",
                remedy="delete the file to delete its objects" if empty else "write the rest; what is left must end with a newline",
            ),
            data.count(b"\n"),
        )
