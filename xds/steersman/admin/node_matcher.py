"""Which nodes a request means: envoy.type.matcher.v3.NodeMatcher, as far as it is supported."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from steersman.errors import SteersmanError


class Unsupported(SteersmanError):
    """A matcher of a kind that is not supported; the text says which are."""


Matcher = Callable[[Iterable[str]], bool]
"""Whether a node that goes by any of these ids is meant."""

_KINDS: Final[dict[str, Callable[[str, str], bool]]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
    "contains": str.__contains__,
}


def matcher_of(messages: Iterable[Any]) -> Matcher:
    """A node is meant that one of these matches; without any, all are. Raises Unsupported."""
    matchers = [_matcher(place, message) for place, message in enumerate(messages)]
    if not matchers:
        return lambda ids: True
    return lambda ids: any(matches(node_id) for node_id in ids for matches in matchers)


def _matcher(place: int, message: Any) -> Callable[[str], bool]:
    """One without a node_id matches every node."""
    if message.node_metadatas:
        raise Unsupported(f"node_matchers[{place}].node_metadatas is not supported; match by node_id")
    if not message.HasField("node_id"):
        return lambda node_id: True
    pattern = message.node_id
    kind = pattern.WhichOneof("match_pattern")
    if kind not in _KINDS:
        expected = ", ".join(_KINDS)
        raise Unsupported(f"node_matchers[{place}].node_id.{kind or 'match_pattern'} is not supported; use one of {expected}")
    matches, text = _KINDS[kind], getattr(pattern, kind)
    if pattern.ignore_case:
        folded = text.lower()
        return lambda node_id: matches(node_id.lower(), folded)
    return lambda node_id: matches(node_id, text)
