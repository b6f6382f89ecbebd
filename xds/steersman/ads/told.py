"""How far a client is with each single resource: worked out when somebody asks, from the table and the channel's exceptions from it."""

from collections.abc import Iterator
from enum import StrEnum

from steersman.ads.batch import ASKED
from steersman.ads.channel import Channel, ChannelStatus
from steersman.model.objects import Row
from steersman.resources.resource import Resource
from steersman.snapshot.table import Refused


class Told(StrEnum):
    """`NOT_SENT`: it asked and has no answer yet. `STALE`: it has not acknowledged the content that there is, whether that was sent already
    or not. `MISSING`: it asked for what does not exist, and knows. `REFUSED`: it may not have it. `NACKED`: it refused it."""

    NOT_SENT = "not sent"
    STALE = "stale"
    ACKED = "acked"
    NACKED = "nacked"
    MISSING = "missing"
    REFUSED = "refused"


class ResourceStatus(Row, frozen=True, kw_only=True):
    """One name on one stream. `resource`: the content in question, which the client holds only if it is ACKED; None where there is none, or
    it is not known yet. `text`: with NACKED the client's words, with REFUSED ours."""

    name: str
    told: Told
    resource: Resource | None = None
    text: str = ""


TypeResources = tuple[ChannelStatus, Iterator[ResourceStatus]]
"""One type on one stream."""


def resources_of(channel: Channel) -> Iterator[ResourceStatus]:
    """How far the client of this channel is with every resource that it asked for, of a wildcard with all there are, by name. There may be
    many: they can be taken in stretches, between which the stream goes on. Each is told as it is then."""
    on_its_way = {resource.name: resource for resource in channel.inflight.response.resources} if channel.inflight is not None else {}
    begun = channel.sent is not None or not channel.owed
    names = {*channel.names, *channel.dirty, *(channel.table.names() if channel.wildcard else ())}
    for name in sorted(names):
        answer = channel.look_up(name)
        resource = answer if isinstance(answer, Resource) else None
        if name in on_its_way:
            yield ResourceStatus(name=name, told=Told.STALE, resource=on_its_way[name])
        elif channel.refuses(name):
            nack = channel.nack
            words = nack.error.text if nack is not None and name in nack.names else ""
            yield ResourceStatus(name=name, told=Told.NACKED, resource=resource, text=words)
        elif (unsaid := _unsaid(channel, name, begun=begun)) is not None:
            yield ResourceStatus(name=name, told=unsaid, resource=resource)
        elif isinstance(answer, Refused):
            yield ResourceStatus(name=name, told=Told.REFUSED, text=answer.text)
        elif resource is None:
            yield ResourceStatus(name=name, told=Told.MISSING if answer is None else Told.NOT_SENT)
        else:
            yield ResourceStatus(name=name, told=Told.ACKED, resource=resource)


def _unsaid(channel: Channel, name: str, *, begun: bool) -> Told | None:
    """What the client is to be told of this name yet; None: nothing."""
    for unsaid in (channel.dirty, channel.waiting):
        if name in unsaid:
            return Told.STALE if unsaid[name] not in (None, ASKED) else Told.NOT_SENT
    return Told.NOT_SENT if not begun or (channel.sweep is not None and name not in channel.names) else None
