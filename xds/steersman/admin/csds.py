"""The Client Status Discovery Service (envoy.service.status.v3): of every connected proxy, each resource and how far the proxy is with it.

It stands at the Inspect address, not at the xDS one: who may ask for its own configuration need not see that of all others.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

import grpc
from envoy.admin.v3.config_dump_shared_pb2 import ClientResourceStatus
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.status.v3 import csds_pb2 as csds
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


SERVICE: Final = "envoy.service.status.v3.ClientStatusDiscoveryService"

_STRETCH: Final = 0.005
"""Seconds of the event loop that an answer takes at a time."""


class ClientStatus:
    """The service of one server."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    @property
    def handler(self) -> grpc.GenericRpcHandler:
        """Its methods give bytes, which are put together beside the event loop."""
        asked = csds.ClientStatusRequest.FromString
        methods: dict[str, Any] = {
            "FetchClientStatus": grpc.unary_unary_rpc_method_handler(self._fetch, request_deserializer=asked),
            "StreamClientStatus": grpc.stream_stream_rpc_method_handler(self._stream, request_deserializer=asked),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def _fetch(self, request: Any, context: Any) -> bytes:
        try:
            return await client_status(self._state, request)
        except Unsupported as error:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, str(error))
            raise AssertionError("abort raises") from None

    async def _stream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[bytes]:
        """Every request is answered once."""
        async for request in requests:
            yield await self._fetch(request, context)


async def client_status(state: ServerState, request: Any) -> bytes:
    """The ClientStatusResponse, proxies sorted by id. It holds the event loop for a stretch at a time. Raises Unsupported."""
    chosen = matcher_of(request.node_matchers)
    streams = [(stream.status(), stream) for stream in state.streams()]
    parts: list[bytes] = []
    for _, group in groupby(streams, key=lambda one: one[0].proxy.id):
        of_proxy = sorted(group, key=lambda one: one[0].connected, reverse=True)
        proxy = of_proxy[0][0].proxy
        if chosen(_ids_of(proxy)):
            found = await _found([stream for _, stream in of_proxy])
            parts.append(await asyncio.to_thread(_client_config, proxy, found, bodies=not request.exclude_resource_contents))
    return await asyncio.to_thread(b"".join, parts)


class _Found(NamedTuple):
    """One resource of one proxy. `sent`, `refused`: wall clock seconds, None for never; they are the type's, not of this resource alone."""

    type_url: str
    status: ResourceStatus
    sent: float | None
    refused: float | None


async def _found(streams: Sequence[OpenStream]) -> dict[tuple[str, str], _Found]:
    """Of the streams of a proxy, the youngest first, whose word counts where several have asked for a resource. By type URL and name."""
    clock = asyncio.get_running_loop().time
    elapsed = time.time() - clock()
    found: dict[tuple[str, str], _Found] = {}
    until = clock() + _STRETCH
    for stream in streams:
        for channel, resources in stream.resources():
            sent, refused = _times(channel, elapsed)
            for status in resources:
                key = (channel.type_url, status.name)
                if key not in found:
                    found[key] = _Found(channel.type_url, status, sent, refused)
                if clock() >= until:
                    await asyncio.sleep(0)
                    until = clock() + _STRETCH
    return found


def _times(channel: ChannelStatus, elapsed: float) -> tuple[float | None, float | None]:
    """Streams reckon by the event loop's clock."""
    return (
        None if channel.sent is None else channel.sent.at + elapsed,
        None if channel.nack is None else channel.nack.at + elapsed,
    )


def _client_config(proxy: Proxy, found: Mapping[tuple[str, str], _Found], *, bodies: bool) -> bytes:
    """A ClientStatusResponse with this one ClientConfig: those of several, one behind the other, are one with all of them."""
    order = {type_url: place for place, type_url in enumerate(names.TYPE_NAMES)}
    response = csds.ClientStatusResponse()
    message = response.config.add(node=_node(proxy))
    for key in sorted(found, key=lambda key: (order.get(key[0], len(order)), key)):
        _fill(message.generic_xds_configs.add(), found[key], bodies=bodies)
    return bytes(response.SerializeToString())


def _fill(message: Any, found: _Found, *, bodies: bool) -> None:
    type_url, status = found.type_url, found.status
    message.type_url, message.name = type_url, status.name
    message.config_status, message.client_status = _CONFIG[status.told], _CLIENT[status.told]
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
