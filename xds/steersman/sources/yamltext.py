"""YAML text -> plain values, as Kubernetes reads it, with the line of each.

PyYAML's own constructor is not used: it makes dates of unquoted timestamps and numbers of IPv6 addresses such as 1:2:3:4:5:6:7:8, keeps the
last of two equal keys, and takes twice as long. What JSON can't say is refused, as `kubectl` refuses it.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]
from yaml.events import CollectionEndEvent, CollectionStartEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_TAG = "tag:yaml.org,2002:"
_STR, _INT, _FLOAT, _BOOL, _NULL, _MERGE = (_TAG + name for name in ("str", "int", "float", "bool", "null", "merge"))
_MAP, _SEQ, _BINARY = (_TAG + name for name in ("map", "seq", "binary"))

_PLAIN = re.compile(
    r"(~|null|Null|NULL|)"
    r"|(true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)"
    r"|([-+]?(?:0x[0-9a-fA-F_]+|0b[01_]+|0o?[0-7_]*|[1-9][0-9_]*))"
    r"|([-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))"
    r"|(<<)"
)
_TAGS = (_NULL, _BOOL, _INT, _FLOAT, _MERGE)
_FIRST = frozenset("~nNtTfFyYoO-+0123456789.<")
_TRUE = frozenset(("true", "yes", "on"))

_SPARE_NODES = 1_000_000
"""How many more values than characters a text may have: only aliases make more, and a few lines of them can make billions."""

_DEEPEST = 200
"""How deep values may be nested. libyaml's composer recurses in C, where going too deep ends the process."""
_BRACKETS = re.compile(r"[\[\]{}]")
_INDENTED_DEEPLY = re.compile(rf"^[ ?-]{{{_DEEPEST}}}", re.MULTILINE)


class YAMLProblem(Exception):
    """Text that is no YAML, or says what no Kubernetes object can. `line` counts from 0."""

    def __init__(self, line: int, problem: str) -> None:
        self.line = line
        self.problem = problem
        super().__init__(problem)


class _Composer(CParser):
    """libyaml's parser and composer with the few implicit tags of JSON, and a merge key."""

    def resolve(self, kind: type[Node], value: str, implicit: tuple[bool, bool] | bool) -> str:
        if kind is ScalarNode:
            if isinstance(implicit, tuple) and implicit[0] and (not value or value[0] in _FIRST):
                match = _PLAIN.fullmatch(value)
                if match is not None and match.lastindex is not None:
                    return _TAGS[match.lastindex - 1]
            return _STR
        return _MAP if kind is MappingNode else _SEQ

    def descend_resolver(self, current_node: Node | None, current_index: object) -> None:
        """No tags by path."""

    def ascend_resolver(self) -> None:
        """No tags by path."""


def nodes_of(text: str) -> Iterator[Node]:
    """The root node of each document in the text, none for an empty one. Raises YAMLProblem."""
    try:
        if _may_be_deep(text):
            _check_depth(text)
        composer = _Composer(text)
        try:
            while composer.check_node():
                node = composer.get_node()
                if node is not None:
                    yield node
        finally:
            composer.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise YAMLProblem(mark.line if mark else 0, problem) from error
    except yaml.reader.ReaderError as error:
        raise YAMLProblem(text.count("\n", 0, error.position), f"the character {error.character!r} is not allowed") from error


def _may_be_deep(text: str) -> bool:
    """Whether brackets or indentation go so deep that a close look is worth its time. Brackets in quotes count too."""
    depth = 0
    for bracket in _BRACKETS.findall(text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        if depth > _DEEPEST:
            return True
    return _INDENTED_DEEPLY.search(text) is not None


def _check_depth(text: str) -> None:
    """Raises YAMLProblem where the text is nested too deeply for the composer; events are made without recursion."""
    depth = 0
    parser = CParser(text)
    try:
        while parser.check_event():
            event = parser.get_event()
            if isinstance(event, CollectionStartEvent):
                depth += 1
                if depth > _DEEPEST:
                    raise YAMLProblem(event.start_mark.line if event.start_mark else 0, f"it is nested more than {_DEEPEST} deep")
            elif isinstance(event, CollectionEndEvent):
                depth -= 1
    finally:
        parser.dispose()


class PlainValues:
    """Makes plain values (dict, list, str, int, float, bool, None) of the nodes of one text. Keys are strings, as in JSON."""

    def __init__(self, text: str) -> None:
        self._left = len(text) + _SPARE_NODES

    def of(self, node: Node) -> Any:
        """Raises YAMLProblem."""
        try:
            return self._value(node)
        except RecursionError as error:
            raise YAMLProblem(node.start_mark.line, "it refers to itself") from error

    def _value(self, node: Node) -> Any:
        self._left -= 1
        if self._left < 0:
            raise YAMLProblem(node.start_mark.line, "its aliases unfold to more than a million values")
        if isinstance(node, ScalarNode):
            return _scalar(node)
        if isinstance(node, MappingNode):
            return self._mapping(node)
        return [self._value(item) for item in node.value]

    def _mapping(self, node: MappingNode) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: list[Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == _STR:
                key = key_node.value
            elif key_node.tag == _MERGE:
                merged.extend(value_node.value if isinstance(value_node, SequenceNode) else [value_node])
                continue
            else:
                key = key_of(key_node)
            if key in values:
                raise YAMLProblem(key_node.start_mark.line, f"the key {key!r} stands twice in one mapping")
            values[key] = self._value(value_node)
        for source in merged:
            if not isinstance(source, MappingNode):
                raise YAMLProblem(source.start_mark.line, "only mappings can be merged by <<")
            values = self._mapping(source) | values
        return values


def key_of(node: Node) -> str:
    """A mapping's key as JSON has it."""
    value = _scalar(node) if isinstance(node, ScalarNode) else None
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case _:
            if isinstance(node, ScalarNode):
                return str(node.value)
            raise YAMLProblem(node.start_mark.line, "a key must be a text")


def _scalar(node: ScalarNode) -> Any:
    tag, text = node.tag, node.value
    if tag == _STR:
        return text
    try:
        if tag == _INT:
            return _integer(text)
        if tag == _FLOAT:
            return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError as error:
        raise YAMLProblem(node.start_mark.line, f"{text!r} is no number") from error
    if tag == _BOOL:
        return text.lower() in _TRUE
    if tag == _NULL:
        return None
    if tag in (_BINARY, _MERGE):
        return text
    raise YAMLProblem(node.start_mark.line, f"the tag {tag!r} has no meaning in a Kubernetes object")


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    sign = -1 if digits[0] == "-" else 1
    digits = digits.lstrip("+-")
    if digits[:2] in ("0x", "0b", "0o"):
        return sign * int(digits, 0)
    return sign * int(digits, 8 if digits[0] == "0" and len(digits) > 1 else 10)
