"""The connected proxies, one each: those that ask for each type by itself have several streams."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter

from steersman import names
from steersman.admin import inspect_pb2 as pb

_CONCERN = (pb.TypeStatus.SYNC_UNSPECIFIED, pb.TypeStatus.SYNCED, pb.TypeStatus.NOT_SENT, pb.TypeStatus.STALE, pb.TypeStatus.ERROR)
"""From what is fine to what needs looking at."""

_ORDER = {short: place for place, short in enumerate(names.SHORT_TYPES)}


def one_each(streams: Iterable[pb.Proxy]) -> Iterator[pb.Proxy]:
    """Of each proxy one message, from those of its streams, which are sorted by id: as its youngest stream describes it, with the types of
    all of them. Of a type that several have, the status that needs looking at most."""
    for _, group in groupby(streams, key=attrgetter("id")):
        found = sorted(group, key=lambda stream: stream.connected.ToMicroseconds(), reverse=True)
        if len(found) == 1:
            yield found[0]
        else:
            yield _merged(found)


def _merged(streams: list[pb.Proxy]) -> pb.Proxy:
    """The youngest comes first."""
    message = pb.Proxy()
    message.CopyFrom(streams[0])
    types: dict[str, pb.TypeStatus] = {}
    for stream in streams:
        for status in stream.types:
            known = types.get(status.type)
            if known is None or _CONCERN.index(status.sync) > _CONCERN.index(known.sync):
                types[status.type] = status
    del message.types[:]
    message.types.extend(types[kind] for kind in sorted(types, key=lambda kind: (_ORDER.get(kind, len(_ORDER)), kind)))
    message.protocol = ", ".join(sorted({stream.protocol for stream in streams}))
    message.service = ", ".join(dict.fromkeys(stream.service for stream in streams))
    return message
