"""The Client Status Discovery Service (envoy.service.status.v3): of every connected proxy, each resource and how far the proxy is with it.

It stands at the Inspect address, not at the xDS one: who may ask for its own configuration need not see that of all others.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

import grpc
from envoy.admin.v3.config_dump_shared_pb2 import ClientResourceStatus
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.status.v3 import csds_pb2 as csds
from envoy.service.status.v3 import csds_pb2_grpc as stubs
from google.protobuf import any_pb2

from steersman import names
from steersman.admin.answers import shown_body, timestamp
from steersman.admin.node_matcher import Unsupported, matcher_of
from steersman.admin.state import OpenStream, ServerState
from steersman.ads.channel import ChannelStatus
from steersman.ads.told import ResourceStatus, Told
from steersman.model.proxy import Proxy

_CONFIG: Final = {
    Told.NOT_SENT: csds.NOT_SENT,
    Told.STALE: csds.STALE,
    Told.ACKED: csds.SYNCED,
    Told.NACKED: csds.ERROR,
    Told.MISSING: csds.NOT_SENT,
    Told.REFUSED: csds.NOT_SENT,
}
_CLIENT: Final = {
    Told.NOT_SENT: ClientResourceStatus.REQUESTED,
    Told.STALE: ClientResourceStatus.REQUESTED,
    Told.ACKED: ClientResourceStatus.ACKED,
    Told.NACKED: ClientResourceStatus.NACKED,
    Told.MISSING: ClientResourceStatus.DOES_NOT_EXIST,
    Told.REFUSED: ClientResourceStatus.RECEIVED_ERROR,
}


class ClientStatus(stubs.ClientStatusDiscoveryServiceServicer):  # type: ignore[misc]
    """The service of one server."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    async def FetchClientStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _answered(self._state, request, context)

    async def StreamClientStatus(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Every request is answered once."""
        async for request in requests:
            yield await _answered(self._state, request, context)


async def _answered(state: ServerState, request: Any, context: Any) -> Any:
    try:
        return await client_status(state, request)
    except Unsupported as error:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, str(error))
        raise AssertionError("abort raises") from None


async def client_status(state: ServerState, request: Any) -> Any:
    """The ClientStatusResponse, proxies sorted by id. What is slow is done beside the event loop. Raises Unsupported."""
    chosen = matcher_of(request.node_matchers)
    streams = [(stream.status().proxy, stream) for stream in state.streams()]
    response = csds.ClientStatusResponse()
    for _, group in groupby(streams, key=lambda one: one[0].id):
        of_proxy = list(group)
        proxy = of_proxy[-1][0]
        if chosen(_ids_of(proxy)):
            found = _found([stream for _, stream in of_proxy])
            message = await asyncio.to_thread(_client_config, proxy, found, bodies=not request.exclude_resource_contents)
            response.config.append(message)
    return response


class _Found(NamedTuple):
    """One resource of one proxy. `sent`, `refused`: wall clock seconds, None for never; they are the type's, not of this resource alone."""

    type_url: str
    status: ResourceStatus
    sent: float | None
    refused: float | None


def _found(streams: Sequence[OpenStream]) -> list[_Found]:
    """Of a resource that several of the proxy's streams have asked for, as the youngest has it."""
    elapsed = time.time() - asyncio.get_running_loop().time()
    found: dict[tuple[str, str], _Found] = {}
    for stream in sorted(streams, key=lambda stream: stream.status().connected, reverse=True):
        for of_type in stream.resources():
            channel = of_type.channel
            sent, refused = _times(channel, elapsed)
            for status in of_type.resources:
                found.setdefault((channel.type_url, status.name), _Found(channel.type_url, status, sent, refused))
    order = tuple(names.TYPE_NAMES)
    return sorted(found.values(), key=lambda one: (order.index(one.type_url) if one.type_url in order else len(order), one.status.name))


def _times(channel: ChannelStatus, elapsed: float) -> tuple[float | None, float | None]:
    """Streams reckon by the event loop's clock."""
    return (
        None if channel.sent is None else channel.sent.at + elapsed,
        None if channel.nack is None else channel.nack.at + elapsed,
    )


def _client_config(proxy: Proxy, found: Iterable[_Found], *, bodies: bool) -> Any:
    message = csds.ClientConfig(node=_node(proxy))
    for one in found:
        message.generic_xds_configs.append(_generic(one, bodies=bodies))
    return message


def _generic(found: _Found, *, bodies: bool) -> Any:
    type_url, status = found.type_url, found.status
    message = csds.ClientConfig.GenericXdsConfig(
        type_url=type_url, name=status.name, config_status=_CONFIG[status.told], client_status=_CLIENT[status.told]
    )
    body = None
    if status.resource is not None:
        message.version_info = status.resource.version
        if bodies:
            body = any_pb2.Any(type_url=type_url, value=shown_body(type_url, status.resource.body))
            message.xds_config.CopyFrom(body)
    if found.sent is not None and status.told in (Told.ACKED, Told.NACKED, Told.STALE):
        message.last_updated.CopyFrom(timestamp(found.sent))
    if status.told in (Told.NACKED, Told.REFUSED):
        message.error_state.details = status.text
    if status.told is Told.NACKED:
        message.error_state.version_info = message.version_info
        if body is not None:
            message.error_state.failed_configuration.CopyFrom(body)
        if found.refused is not None:
            message.error_state.last_update_attempt.CopyFrom(timestamp(found.refused))
    return message


def _ids_of(proxy: Proxy) -> tuple[str, ...]:
    """The node id, and CLUSTER/NODE_ID, by which alone proxies on overlapping networks can be told apart."""
    return tuple(dict.fromkeys((proxy.id.removeprefix(f"{proxy.cluster}/"), proxy.id)))


def _node(proxy: Proxy) -> Any:
    """What is kept of the Node; most of it is not."""
    place = proxy.locality
    node = Node(id=_ids_of(proxy)[0])
    if any(place):
        node.locality.region, node.locality.zone, node.locality.sub_zone = place
    metadata = {"CLUSTER_ID": proxy.cluster, "NAMESPACE": "" if proxy.bare else proxy.namespace, "NETWORK": proxy.network}
    for key, value in metadata.items():
        if value:
            node.metadata[key] = value
    if proxy.labels:
        node.metadata["LABELS"] = dict(proxy.labels)
    return node
