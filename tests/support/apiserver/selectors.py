"""Label and field selectors, as far as clients of a service mesh use them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

Matches = Callable[[Mapping[str, Any]], bool]
_SET = re.compile(r"\s*(?P<key>[^\s!=,]+)\s+(?P<op>in|notin)\s+\((?P<values>[^)]*)\)\s*")


def labels_match(selector: str) -> Matches:
    """Whether an object has these labels: KEY, !KEY, KEY=VALUE, KEY==VALUE, KEY!=VALUE, KEY in (..), KEY notin (..), by commas."""
    parts = [_requirement(part) for part in re.findall(r"(?:[^,(]|\([^)]*\))+", selector)]

    def matches(value: Mapping[str, Any]) -> bool:
        labels = value["metadata"].get("labels") or {}
        return all(part(labels) for part in parts)

    return matches


def fields_match(selector: str) -> Matches:
    """Whether an object's fields are so: PATH=VALUE or PATH!=VALUE, by commas."""
    parts = [(key.rstrip("=").split("."), wanted, "!=" in part) for part in selector.split(",") for key, wanted in [_halves(part)]]

    def matches(value: Mapping[str, Any]) -> bool:
        return all((_field(value, path) == wanted) is not unequal for path, wanted, unequal in parts)

    return matches


def _requirement(part: str) -> Callable[[Mapping[str, str]], bool]:
    if match := _SET.fullmatch(part):
        values = {value.strip() for value in match["values"].split(",")}
        return lambda labels: (labels.get(match["key"]) in values) is (match["op"] == "in")
    part = part.strip()
    if "=" not in part:
        return lambda labels: (part.lstrip("!") in labels) is not part.startswith("!")
    key, value = _halves(part)
    return lambda labels: (labels.get(key) == value) is not ("!=" in part)


def _halves(part: str) -> tuple[str, str]:
    key, _, value = part.partition("!=" if "!=" in part else "=")
    return key.strip(), value.lstrip("=").strip()


def _field(value: Any, path: list[str]) -> str:
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)
