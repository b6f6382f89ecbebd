"""Reads the lines of a watch of EndpointSlices. Each tells a whole slice, for one endpoint that changed as a rule: the rest isn't read
again. Pure."""

from collections.abc import Callable

from steersman.sources.blocks import blocks_again, blocks_of, same
from steersman.sources.endpointslice import Past, Written
from steersman.sources.kube.wire import Event, Events, head
from steersman.sources.shapes import EndpointSlice

_LIST = b'"endpoints":['
"""As API servers write it. It stands within no text of JSON, where a quote has a backslash before it."""


class SliceEvents(Events):
    """`past`: how the slice of this namespace and name was read last, where what came of that is held and its blocks are known."""

    def __init__(self, past: Callable[[str, str], Past | None]) -> None:
        super().__init__(EndpointSlice)
        self._past = past

    def read(self, line: bytes) -> Event:
        """The same as of any object; one that is written as API servers do is Written."""
        place = line.find(_LIST)
        if place < 0:
            return super().read(line)
        at = place + len(_LIST)
        past = self._of(line[: place - 1])
        again = self._again(line, at, past) if past is not None else None
        return again or self._anew(line, at)

    def _of(self, beginning: bytes) -> Past | None:
        """Of the slice whose event begins like this: as far as the list, which comes after its metadata."""
        said = self.there(beginning + b"}}")
        return self._past(said.object.metadata.namespace or "", said.object.metadata.name or "") if said is not None else None

    def _again(self, line: bytes, at: int, past: Past) -> Event | None:
        """None where the whole has to be read."""
        end = len(line) - 1  # the event's own brace follows
        found = same(line, at, end, past.blocks)
        said = self.there(found.text) if found is not None else None
        if found is None or said is None or not isinstance(said.object, EndpointSlice) or said.object.address_type != past.value.family:
            return None
        blocks = blocks_again(line, end, past.blocks, found, said.object.endpoints or [])
        return Event(said.type, head(said.object), Written.of(said.object, blocks, past.value, found.first, found.last))

    def _anew(self, line: bytes, at: int) -> Event:
        event = super().read(line)
        if not isinstance(event.object, EndpointSlice):
            return event
        blocks = blocks_of(line, at, len(line) - 1, event.object.endpoints or [])
        return Event(event.type, event.head, Written.of(event.object, blocks))
