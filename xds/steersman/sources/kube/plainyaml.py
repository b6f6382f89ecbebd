"""YAML from strangers: mappings, lists and texts, bounded in size and depth. Pure.

A value that isn't quoted is a text too, but for what means null, true or false: nothing is ever made of a tag, a number or a date. An alias
is refused, as it makes much of little, and so is a key that stands twice, of which others take one or the other.
"""

from typing import Any

import yaml

_LARGEST = 1 << 20
"""Bytes: what a Secret holds at most."""
_EVENTS = 5_000
"""Of the parser: about one for each key, each value and each end. All of them take some 10 ms."""
_DEPTH = 16
_PLAIN = {"": None, "~": None, "null": None, "true": True, "false": False}


class NotPlain(Exception):
    """The text says why, and nothing of what was read."""


def plain(text: bytes) -> Any:
    """The one document in this text: dicts with texts as keys, lists, texts, booleans and None. Raises NotPlain."""
    if len(text) > _LARGEST:
        raise NotPlain(f"it has more than {_LARGEST} bytes")
    try:
        return _Reader(text.decode("utf-8")).document()
    except UnicodeDecodeError:
        raise NotPlain("it is no UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f" (line {mark.line + 1})" if mark is not None else ""
        raise NotPlain(f"it is no YAML{at}") from None  # its message would repeat the line, with a token in it


class _Reader:
    """One text, event by event."""

    def __init__(self, text: str) -> None:
        self._events = yaml.parse(text, Loader=yaml.CSafeLoader)
        self._count = 0

    def document(self) -> Any:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        value = self._value(self._next(), 0)
        self._next()
        if not isinstance(self._next(), yaml.StreamEndEvent):
            raise NotPlain("it has more than one document")
        return value

    def _next(self) -> yaml.Event:
        self._count += 1
        if self._count > _EVENTS:
            raise NotPlain(f"it has more than {_EVENTS} keys and values")
        event: yaml.Event = next(self._events)
        return event

    def _value(self, event: yaml.Event, depth: int) -> Any:
        if depth > _DEPTH:
            raise NotPlain(f"it is nested deeper than {_DEPTH} levels ({_line(event)})")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise NotPlain(f"it has an anchor or an alias ({_line(event)}), which is not taken")
        if getattr(event, "tag", None) is not None:
            raise NotPlain(f"it has a tag ({_line(event)}), which is not taken")
        match event:
            case yaml.ScalarEvent():
                return _PLAIN.get(event.value, event.value) if event.implicit[0] else event.value
            case yaml.SequenceStartEvent():
                return self._list(depth)
            case _:
                return self._mapping(depth)

    def _list(self, depth: int) -> list[Any]:
        found = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            found.append(self._value(event, depth + 1))
        return found

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise NotPlain(f"it has a key that is no text ({_line(event)})")
            self._value(event, depth + 1)
            if event.value in found:
                raise NotPlain(f"it has a key twice in one mapping ({_line(event)})")
            found[event.value] = self._value(self._next(), depth + 1)
        return found


def _line(event: yaml.Event) -> str:
    mark = event.start_mark
    return f"line {mark.line + 1}" if mark is not None else "somewhere"
