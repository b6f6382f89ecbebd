"""Which resources of a refused response the client's words are about."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from steersman.ads.messages import Response

_WORD: Final = re.compile(r"[\w|-]+")
"""A word, as far as a name within another goes: c1 is not mentioned in c10, but web in web.default is."""


def suspects(response: Response, text: str) -> tuple[str, ...]:
    """The resources of a refused response that the client's words mention; if they mention none, all of them.

    In one pass over the words, however many names there are: a name that stands in them begins with a whole word of theirs.
    """
    names = tuple(resource.name for resource in response.resources)
    mentioned = set(_mentioned(names, text))
    return tuple(name for name in names if name in mentioned) or names


def _mentioned(names: Iterable[str], text: str) -> Iterator[str]:
    begun: dict[str, dict[int, set[str]]] = {}
    for name in names:
        word = _WORD.match(name)
        if word is not None:
            begun.setdefault(word[0], {}).setdefault(len(name), set()).add(name)
        elif name and name in text:
            yield name
    for word in _WORD.finditer(text):
        for size, alike in begun.get(word[0], {}).items():
            end = word.start() + size
            found = text[word.start() : end]
            if found in alike and not _WORD.match(text, end, end + 1):
                yield found
