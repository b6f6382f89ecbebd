"""A file of ours in YAML, read strictly: a mapping is taken key by key, and all that is wrong is told at once with its place."""

import difflib
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from steersman.errors import ConfigError

T = TypeVar("T")


class ConfigErrors(ConfigError):
    """Everything that is wrong with a configuration file, one line each, in the order of reading. Itself it speaks of the first."""

    def __init__(self, errors: tuple[ConfigError, ...]) -> None:
        first = errors[0]
        super().__init__(first.file, first.path, first.value, first.expected)
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class Wrong(Exception):
    """The value at hand isn't what was expected, which is the text; becomes a ConfigError where the path is known."""


def read_text(file: Path) -> str:
    """Raises ConfigError where there is no text to be read."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(str(file), "", error.object[error.start : error.start + 1], "UTF-8 text") from error
    except OSError as error:
        raise ConfigError(str(file), "", error.strerror, "a readable file") from error


def parse(text: str, file: Path, meaning: Callable[["Section"], T], *, example: str) -> T:
    """What the text of this file means, by what `meaning` takes from its root. `example`: the file that shows how such a one looks.

    Raises ConfigError: of one thing, or ConfigErrors of all that is wrong.
    """
    errors: list[ConfigError] = []
    try:
        meant = meaning(Section(errors, str(file), "", _document(text, str(file))))
    except RecursionError:  # of the parser, or of a value on its way into a message
        raise ConfigError(str(file), "", "a value that is nested very deeply", f"a mapping as in {example}") from None
    if errors:
        raise ConfigErrors(tuple(errors))
    return meant


class _StrictLoader(yaml.CSafeLoader):
    """YAML in which a key that stands twice in one mapping is an error, not a silent choice of the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} stands twice in one mapping", problem_mark=key_node.start_mark)
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


def _document(text: str, file: str) -> object:
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a CSafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        lines = text.split("\n")
        line = min(mark.line if mark else 0, len(lines) - 1)  # a text that is cut off is found wrong after its last line
        found = lines[line]
        problem = ": ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{file}:{line + 1}", "", found.strip(), f"YAML ({problem})") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{file}:{line}", "", error.character, f"YAML ({error.reason})") from error


class Section:
    """A mapping of the configuration: each key is taken once, what is left at the end is unknown. Errors are gathered, not raised."""

    def __init__(self, errors: list[ConfigError], file: str, path: str, value: object) -> None:
        self.errors, self.file, self.path = errors, file, path
        self.known: list[str] = []
        self.broken = not isinstance(value, Mapping)
        self.values: Mapping[Any, object] = value if isinstance(value, Mapping) else {}
        if self.broken:
            self.wrong("", value, "a mapping")

    def at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path and key else self.path or key

    def wrong(self, key: str, value: object, expected: str) -> None:
        self.errors.append(ConfigError(self.file, self.at(key), value, expected))

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def take(self, key: str, parse: Callable[[object], T], default: T) -> T:
        """The parsed value of a key; the default where it is absent, and where it is wrong, which is noted."""
        self.known.append(key)
        if key not in self.values:
            return default
        try:
            return parse(self.values[key])
        except Wrong as wrong:
            self.wrong(key, self.values[key], str(wrong))
            return default

    def section(self, key: str) -> "Section":
        """The section under a key; an empty one where it is absent."""
        self.known.append(key)
        return Section(self.errors, self.file, self.at(key), self.values.get(key, {}))

    def sections(self, key: str) -> list["Section"]:
        """The sections in the list under a key."""
        none: list[object] = []
        items = self.take(key, _list, none)
        return [Section(self.errors, self.file, f"{self.at(key)}[{number}]", item) for number, item in enumerate(items)]

    def named(self, expected: str) -> list[tuple[str, "Section"]]:
        """The section under every key there is, with the key, which is a name, of what `expected` says."""
        for name in self.values:
            if not isinstance(name, str) or not name:
                self.known.append(name)
                self.wrong(str(name), name, f"{expected} as a text")
        return [(name, self.section(name)) for name in self.values if isinstance(name, str) and name]

    def required(self, key: str, expected: str) -> None:
        """This key must be here."""
        if key not in self.values and not self.broken:
            self.wrong(key, None, expected)

    def one_of(self, *keys: str) -> None:
        """Exactly one of these keys must be here."""
        if not self.broken and sum(key in self.values for key in keys) != 1:
            self.wrong("", dict(self.values), f"exactly one of {', '.join(keys)}")

    def close(self) -> None:
        """Every key that nobody took is unknown."""
        for key, value in self.values.items():
            if key not in self.known:
                near = difflib.get_close_matches(str(key), self.known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                self.wrong(str(key), value, f"a known key, one of {', '.join(sorted(self.known))}{hint}")


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise Wrong("a list")
    return value
