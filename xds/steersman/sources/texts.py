"""What objects stand in a file's text: the first stage of decoding, which looks at no more than apiVersion and kind.

A text is a sequence of entries (a YAML document, an item of a List, a JSON object). An entry is known by the digest of its text, so that of
a file that changed only what changed is parsed again; where it stands in the file is not part of the digest.
"""

import json
import re
from collections.abc import Collection, Iterator
from enum import StrEnum
from hashlib import blake2b
from typing import Any

import msgspec

from steersman.sources.yamltext import PlainValues, YAMLProblem, key_of, nodes_of


class Format(StrEnum):
    """By the file's suffix. Kubernetes YAML may be JSON too."""

    YAML = "yaml"
    JSON = "json"


FORMATS = {".yaml": Format.YAML, ".yml": Format.YAML, ".json": Format.JSON}


class Found(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One object. `line` counts from the entry's own; `api_version` and `kind` are empty where it has none, and inherited from a typed List
    (PodList). `body`: its JSON."""

    line: int
    api_version: str
    kind: str
    body: bytes


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A part of a file. `line` counts from 0. `found`: None where the digest was known and nothing was parsed."""

    digest: bytes
    line: int
    found: list[Found] | None


class BrokenText(Exception):
    """The text as a whole can't be read. `line` counts from 0."""

    def __init__(self, line: int, problem: str) -> None:
        self.line = line
        self.problem = problem
        super().__init__(f"line {line + 1}: {problem}")


class _Top(msgspec.Struct, gc=False):
    apiVersion: str = ""  # noqa: N815 - Kubernetes' name
    kind: str = ""
    items: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_top = msgspec.json.Decoder(_Top)
_raw_items = msgspec.json.Decoder(list[msgspec.Raw] | None)
_encode = msgspec.json.Encoder(order=None).encode


def entries(form: Format, data: bytes, known: Collection[bytes]) -> Iterator[Entry]:
    """The entries of a file, in its order; those whose digest is known come without objects. Raises BrokenText, maybe after some."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start)
        raise BrokenText(line, f"the byte 0x{data[error.start]:02x} is not UTF-8") from error
    if form is Format.JSON:
        return _json_entries(data, known)
    return _yaml_entries(text, known)


def _digest(text: bytes, *inherited: str) -> bytes:
    digest = blake2b(text, digest_size=16)
    for part in inherited:
        digest.update(b"\0" + part.encode())
    return digest.digest()


# --- JSON


def _json_entries(data: bytes, known: Collection[bytes]) -> Iterator[Entry]:
    try:
        yield from _json_object(data, 0, known, "", "")
    except msgspec.ValidationError as error:
        raise BrokenText(0, f"expected a Kubernetes object: {error}") from error
    except RecursionError as error:
        raise BrokenText(0, "it is nested too deeply") from error
    except msgspec.DecodeError as error:
        parts = list(_concatenated(data)) if "trailing characters" in str(error) else []
        if len(parts) < 2:
            raise _broken_json(data, error) from error
        for line, part in parts:
            try:
                yield from _json_object(part, line, known, "", "")
            except msgspec.ValidationError as wrong:
                raise BrokenText(line, f"expected a Kubernetes object: {wrong}") from wrong


def _json_object(data: bytes, line: int, known: Collection[bytes], api_version: str, kind: str) -> Iterator[Entry]:
    """The entry of one object, or those of a List's items; `api_version` and `kind`: what a typed List lends to its items."""
    digest = _digest(data, api_version, kind)
    if digest in known:
        yield Entry(digest, line, None)
        return
    top = _top.decode(data)
    if top.items is msgspec.UNSET or not top.kind.endswith("List"):
        yield Entry(digest, line, [Found(0, top.apiVersion or api_version, top.kind or kind, data)])
        return
    lends = _lent(top.apiVersion, top.kind)
    at = 0
    for raw in _raw_items.decode(top.items) or ():
        item = bytes(raw)
        if item == b"null":
            continue
        start = data.find(item, at)
        line += data.count(b"\n", at, start)
        try:
            yield from _json_object(item, line, known, *lends)
        except msgspec.ValidationError:
            yield Entry(_digest(item, *lends), line, [Found(0, "", "", item)])
        line += item.count(b"\n")
        at = start + len(item)


def _lent(api_version: str, kind: str) -> tuple[str, str]:
    """What a List says of items that don't say it themselves: a PodList's are Pods, a plain List's must say so."""
    return (api_version, kind.removesuffix("List")) if kind != "List" else ("", "")


def _concatenated(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(line, text) of JSON values that stand one after the other, as `jq` prints them; ends early at what is no JSON."""
    text = data.decode()
    decoder = json.JSONDecoder()
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return
        yield text.count("\n", 0, at), text[at:end].encode()
        at = end


def _broken_json(data: bytes, error: msgspec.DecodeError) -> BrokenText:
    byte = re.search(r" \(byte (\d+)\)", str(error))
    if byte is None:
        return BrokenText(max(0, len(data.rstrip().splitlines()) - 1), "the JSON ends too early" if data.strip() else "the file is empty")
    return BrokenText(data.count(b"\n", 0, int(byte[1])), str(error).replace(byte[0], ""))


# --- YAML

_BORDER = re.compile(r"^---(?:[ \t]*(?:\r?\n|\Z)|(?=[ \t]))", re.MULTILINE)
_DIRECTIVE_OR_END = re.compile(r"^(?:%|\.\.\.(?:[ \t\r\n]|\Z))", re.MULTILINE)
_ITEMS = re.compile(r"^items:[ \t]*(?:#[^\n]*)?\r?\n", re.MULTILINE)
_DASH = re.compile(r"^( *)-(?=[ \t\r\n])", re.MULTILINE)
_NEXT_KEY = re.compile(r"^[^\s#-]", re.MULTILINE)


def _yaml_entries(text: str, known: Collection[bytes]) -> Iterator[Entry]:
    for line, document in documents(text):
        yield from _document_entries(document, line, known)


def documents(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each document of a YAML text; of the whole where directives or end marks make the borders less plain.

    A line that begins with `---` is a border whatever it stands in: YAML allows no text to hold one. The border is not part of the document
    (where it has content beside it, the content is), so that a document is the same text in the first place and after others.
    """
    borders = [] if _DIRECTIVE_OR_END.search(text) else [match.span() for match in _BORDER.finditer(text)]
    line = start = 0
    for before, after in [*borders, (len(text), len(text))]:
        if before > start:
            yield line, text[start:before]
        line += text.count("\n", start, after)
        start = after


def _document_entries(text: str, line: int, known: Collection[bytes]) -> Iterator[Entry]:
    encoded = text.encode()
    digest = _digest(encoded)
    if digest in known:
        yield Entry(digest, line, None)
        return
    items = _list_entries(text, line, known) if _ITEMS.search(text) else None
    if items is not None:
        yield from items
        return
    if text.startswith("{"):
        try:
            found = list(_json_object(encoded, line, known, "", ""))
        except (msgspec.DecodeError, RecursionError):
            pass  # flow-style YAML, or a mistake that the YAML parser names as well
        else:
            yield from found
            return
    yield Entry(digest, line, list(_yaml_objects(text, line)))


def _list_entries(text: str, line: int, known: Collection[bytes]) -> list[Entry] | None:
    """The entries of a List's items, each parsed alone; None where that can't be done (no List, an alias across items, a mistake)."""
    split = list_items(text)
    if split is None:
        return None
    head, items = split
    try:
        values = [PlainValues(head).of(node) for node in nodes_of(head)]
        if len(values) != 1 or not isinstance(values[0], dict) or values[0].get("items") is not None:
            return None
        api_version, kind = (values[0].get(key) for key in ("apiVersion", "kind"))
        if not isinstance(kind, str) or not kind.endswith("List") or not isinstance(api_version, str):
            return None
        lends = _lent(api_version, kind)
        found: list[Entry] = []
        for item_line, item in items:
            digest = _digest(item.encode(), "item", *lends)
            if digest in known:
                found.append(Entry(digest, line + item_line, None))
                continue
            nodes = list(nodes_of(item))
            if len(nodes) != 1 or not isinstance(nodes[0].value, list) or len(nodes[0].value) != 1:
                return None
            found.append(Entry(digest, line + item_line, list(_objects_of(nodes[0].value[0], PlainValues(item), *lends))))
    except (YAMLProblem, BrokenText):
        return None
    return found


def list_items(text: str) -> tuple[str, list[tuple[int, str]]] | None:
    """A block-style List taken apart at its items: what is left of it, and (line, text) of each item. None where it isn't written so.

    Only a guess by indentation: a text in quotes may run over lines that look like items. Then neither part is YAML by itself, which tells.
    """
    start = _ITEMS.search(text)
    first = _DASH.search(text, start.end()) if start else None
    if start is None or first is None:
        return None
    indent = first[1]
    after = _NEXT_KEY.search(text, start.end())
    end = after.start() if after else len(text)
    if first.start() >= end or text[start.end() : first.start()].strip():
        return None
    dashes = [match.start() for match in re.compile(rf"^{indent}-(?=[ \t\r\n])", re.MULTILINE).finditer(text, start.end(), end)]
    items = []
    line = text.count("\n", 0, first.start())
    for begin, stop in zip(dashes, [*dashes[1:], end], strict=True):
        items.append((line, text[begin:stop]))
        line += text.count("\n", begin, stop)
    return text[: start.end()] + text[end:], items


def _yaml_objects(text: str, line: int) -> Iterator[Found]:
    """The objects in one YAML text, Lists unfolded; `line` only for errors. Raises BrokenText."""
    values = PlainValues(text)
    try:
        for node in nodes_of(text):
            yield from _objects_of(node, values, "", "")
    except (YAMLProblem, BrokenText) as error:
        last = text.rstrip().count("\n")  # what is left open is found at the end, which may be an empty line
        raise BrokenText(line + min(error.line, last), error.problem) from error


def _objects_of(node: Any, values: PlainValues, api_version: str, kind: str) -> Iterator[Found]:
    """The object that this node is, or those in the List that it is. Raises YAMLProblem; BrokenText where it isn't an object at all."""
    if node.id == "scalar" and not node.value:
        return
    line = node.start_mark.line
    if node.id != "mapping":
        value = values.of(node)
        if value is None:
            return
        raise BrokenText(line, f"expected a Kubernetes object, found {value!r}"[:200])
    fields = {key_of(key): value for key, value in node.value if key.id == "scalar"}
    own_kind, own_version = (_text_in(fields.get(key)) for key in ("kind", "apiVersion"))
    items = fields.get("items")
    if own_kind.endswith("List") and items is not None and (items.id == "sequence" or _is_null(items)):
        for item in items.value if items.id == "sequence" else ():
            yield from _objects_of(item, values, *_lent(own_version, own_kind))
        return
    try:
        body = _encode(values.of(node))
    except (ValueError, TypeError, RecursionError) as error:
        raise BrokenText(line, f"it can't be said in JSON: {error}") from error
    yield Found(line, own_version or api_version, own_kind or kind, body)


def _is_null(node: Any) -> bool:
    return node.id == "scalar" and bool(node.tag.endswith(":null"))


def _text_in(node: Any) -> str:
    return node.value if node is not None and node.id == "scalar" and node.tag.endswith(":str") else ""
