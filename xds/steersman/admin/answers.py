"""The answers of the Inspect service as messages: the gRPC service and the pages under /debug/ both give these."""

from collections.abc import Iterable, Sequence

from google.protobuf.any_pb2 import Any
from google.protobuf.timestamp_pb2 import Timestamp

from steersman import __version__, names
from steersman.admin import inspect_pb2 as pb
from steersman.admin.protojson import message_of
from steersman.admin.selection import Unclear, matching, only
from steersman.admin.state import ConnectionStatus, ServerState, SourceState, SourceStatus, Sync, sync
from steersman.ads.channel import ChannelStatus
from steersman.explain.served import Served, served_to
from steersman.model.facts import Finding, Severity
from steersman.views.collections import STANDPOINTS

_SOURCE_STATES = {
    SourceState.SYNCING: pb.Source.SYNCING,
    SourceState.SYNCED: pb.Source.SYNCED,
    SourceState.TIMED_OUT: pb.Source.TIMED_OUT,
    SourceState.FAILED: pb.Source.FAILED,
}
_SYNCS = {
    Sync.NOT_SENT: pb.TypeStatus.NOT_SENT,
    Sync.SYNCED: pb.TypeStatus.SYNCED,
    Sync.STALE: pb.TypeStatus.STALE,
    Sync.ERROR: pb.TypeStatus.ERROR,
}
_SEVERITIES = {Severity.ERROR: pb.Finding.ERROR, Severity.WARNING: pb.Finding.WARNING, Severity.INFO: pb.Finding.INFO}


def server(state: ServerState) -> pb.Server:
    reasons = state.not_ready()
    return pb.Server(
        instance=state.instance,
        version=__version__,
        started=_timestamp(state.started),
        ready=not reasons,
        not_ready=reasons,
        generation=state.pipeline.generation,
        sources=[_source(source) for source in state.sources()],
    )


def _source(source: SourceStatus) -> pb.Source:
    return pb.Source(
        name=source.name,
        kind=source.kind,
        place=source.place,
        state=_SOURCE_STATES[source.state],
        objects=source.objects,
        ignored=source.ignored,
        error=source.error,
    )


async def proxies(state: ServerState, wanted: str) -> pb.ListProxiesResponse:
    """The streams of every proxy of that name; of all where it is empty."""
    connections = state.connections()
    if wanted:
        chosen = {proxy.id for proxy in matching((connection.proxy for connection in connections), wanted)}
        connections = [connection for connection in connections if connection.proxy.id in chosen]
    ids = {connection.proxy.id for connection in connections}
    standpoints = await state.ask(lambda read: {node_id: read(STANDPOINTS, node_id) for node_id in ids})
    told = []
    for connection in connections:
        message = _proxy(connection, state.instance)
        standpoint = standpoints[connection.proxy.id]
        if standpoint is not None:
            message.network = standpoint.network
            message.inferred.extend(standpoint.inferred)
        told.append(message)
    return pb.ListProxiesResponse(proxies=told)


def _proxy(connection: ConnectionStatus, instance: str) -> pb.Proxy:
    proxy = connection.proxy
    return pb.Proxy(
        id=proxy.id,
        type=proxy.type,
        name=proxy.name,
        namespace=proxy.namespace,
        cluster=proxy.cluster,
        network=proxy.network,
        stream=connection.id,
        peer=connection.peer,
        protocol=connection.variant,
        agent=connection.agent,
        connected=_timestamp(connection.connected),
        server=instance,
        types=[_type(channel) for channel in connection.channels],
    )


def _type(channel: ChannelStatus) -> pb.TypeStatus:
    status = pb.TypeStatus(
        type=names.TYPE_NAMES.get(channel.type_url, channel.type_url),
        sync=_SYNCS[sync(channel)],
        wildcard=channel.wildcard,
        subscribed=channel.subscribed,
        pending=channel.pending,
        sent=channel.sent.version if channel.sent else "",
        acked=channel.acked.version if channel.acked else "",
    )
    if channel.nack is not None:
        error = channel.nack.error
        rejection = pb.Rejection(version=channel.nack.version, code=error.code, message=error.text, names=channel.nack.names)
        status.rejection.CopyFrom(rejection)
    return status


async def proxy_config(state: ServerState, wanted: str, types: Sequence[str]) -> pb.GetProxyConfigResponse:
    """Raises NotFound or Unclear."""
    urls = type_urls(types)
    proxy = only((connection.proxy for connection in state.connections()), wanted)
    generation, served = await state.ask(lambda read: (state.pipeline.generation, served_to(read, proxy.id, urls)))
    return pb.GetProxyConfigResponse(proxy=proxy.id, generation=generation, resources=[_resource(one) for one in served])


def type_urls(types: Iterable[str]) -> tuple[str, ...]:
    """Type URLs by short name or URL; all of them for none. Raises Unclear for a type that isn't served."""
    urls = []
    for name in types:
        url = names.SHORT_TYPES.get(name.lower(), name)
        if url not in names.TYPE_NAMES:
            raise Unclear(f"no resource type is called {name!r}; expected one of {', '.join(names.SHORT_TYPES)} or a type URL of theirs")
        urls.append(url)
    return tuple(urls) or tuple(names.TYPE_NAMES)


def _resource(served: Served) -> pb.Resource:
    message = pb.Resource(type=names.TYPE_NAMES[served.type_url], name=served.name)
    if served.resource is None:
        return message
    message.version = served.resource.version
    body = served.resource.body
    if served.type_url == names.SDS:
        body = message_of(names.SDS, body).SerializeToString(deterministic=True)
    message.resource.CopyFrom(Any(type_url=served.type_url, value=body))
    return message


def finding(found: Finding) -> pb.Finding:
    return pb.Finding(
        id=found.id,
        severity=_SEVERITIES[found.severity],
        object=found.object,
        place=found.place,
        cause=found.cause,
        remedy=found.remedy,
    )


def _timestamp(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(round(seconds * 1e6))
    return stamp
