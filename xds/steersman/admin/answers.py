"""The answers of the Inspect service as messages: the gRPC service and the pages under /debug/ both give these."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any
from google.protobuf.timestamp_pb2 import Timestamp

from steersman import __version__, names
from steersman.admin import inspect_pb2 as pb
from steersman.admin.loads import ProxyLoad
from steersman.admin.protojson import message_of
from steersman.admin.refusals import Refused, listed, named, refused_by, traced
from steersman.admin.selection import NotFound, Unclear, matching, only
from steersman.admin.state import CLUSTER_KINDS, ConnectionStatus, ServerState, SourceState, SourceStatus, Sync, sync
from steersman.ads.channel import ChannelStatus, Nack
from steersman.explain.explain import explain
from steersman.explain.explanation import Explanation
from steersman.explain.findings import finding_steps, in_order, settings_findings
from steersman.explain.findings.kinds import SEVERITIES
from steersman.explain.made_from import MadeFrom
from steersman.explain.served import Served, served_to
from steersman.explain.service_names import UnclearService, UnknownService, service_named
from steersman.graph import Reader
from steersman.model.facts import Finding, Severity
from steersman.model.proxy import Proxy
from steersman.pipeline import Pipeline
from steersman.views.collections import STANDPOINTS

_STRETCH = 0.010
"""Seconds of the event loop that a long question takes at a time."""

_SOURCE_STATES = {
    SourceState.SYNCING: pb.Source.SYNCING,
    SourceState.SYNCED: pb.Source.SYNCED,
    SourceState.TIMED_OUT: pb.Source.TIMED_OUT,
    SourceState.FAILED: pb.Source.FAILED,
    SourceState.WARM: pb.Source.WARM,
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
        started=timestamp(state.started),
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
    made = await traced(state.ask, state.pipeline, refused_by(connections))
    told = []
    for connection in connections:
        message = _proxy(connection, state.instance, made)
        standpoint = standpoints[connection.proxy.id]
        if standpoint is not None:
            message.network = standpoint.network
            message.inferred.extend(standpoint.inferred)
        told.append(message)
    return pb.ListProxiesResponse(proxies=told)


def _proxy(connection: ConnectionStatus, instance: str, made: Mapping[Refused, MadeFrom]) -> pb.Proxy:
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
        service=connection.service,
        agent=connection.agent,
        connected=timestamp(connection.connected),
        server=instance,
        types=[_type(channel, made) for channel in connection.channels],
    )


def _type(channel: ChannelStatus, made: Mapping[Refused, MadeFrom]) -> pb.TypeStatus:
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
        status.rejection.CopyFrom(_rejection(channel.type_url, channel.nack, made))
    return status


def _rejection(type_url: str, nack: Nack, made: Mapping[Refused, MadeFrom]) -> pb.Rejection:
    rejection = pb.Rejection(version=nack.version, code=nack.error.code, message=nack.error.text, names=nack.names)
    for name, version in zip(nack.names, nack.versions, strict=True):
        found = made.get(Refused(type_url, name, version))
        if found is not None:
            references = [pb.Reference(object=one.object, place=one.place) for one in found.objects]
            rejection.resources.add(name=name, version=version, changed=found.changed, made_from=references, others=found.others)
    return rejection


async def proxy_config(state: ServerState, wanted: str, types: Sequence[str]) -> pb.GetProxyConfigResponse:
    """Raises NotFound or Unclear."""
    urls = type_urls(types)
    proxy = only((connection.proxy for connection in state.connections()), wanted)

    def answer(read: Reader) -> tuple[int, tuple[Served, ...]]:
        with state.pipeline.graph.answering():
            return state.pipeline.generation, served_to(read, proxy.id, urls)

    generation, served = await state.ask(answer)
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
    message.resource.CopyFrom(Any(type_url=served.type_url, value=shown_body(served.type_url, served.resource.body)))
    return message


def shown_body(type_url: str, body: bytes) -> bytes:
    """A resource's bytes as they may be shown: private keys redacted."""
    return message_of(type_url, body).SerializeToString(deterministic=True) if type_url == names.SDS else body


async def explanation(state: ServerState, wanted: str, service: str) -> pb.Explanation:
    """Raises NotFound or Unclear."""
    proxy = only((connection.proxy for connection in state.connections()), wanted)
    message = message_of_explanation(await state.ask(lambda read: explained(read, state.pipeline, proxy, service)))
    now = asyncio.get_running_loop().time()
    _tell_load(message, state.loads.of(proxy.id, {port.cluster for port in message.ports}, now), now)
    return message


def _tell_load(message: pb.Explanation, load: ProxyLoad | None, now: float) -> None:
    message.load_reports.open = load is not None
    if load is None or load.last is None:
        return
    message.load_reports.last.CopyFrom(timestamp(time.time() - (now - load.last)))
    message.load_reports.seconds = load.seconds
    for port in message.ports:
        found = load.clusters[port.cluster]
        for one in found.localities:
            figures = {"issued": one.issued, "succeeded": one.succeeded, "failed": one.failed, "in_progress": one.in_progress}
            port.load.add(locality=one.locality, **figures)
        for category, rate in found.dropped:
            port.dropped.add(category=category, rate=rate)


def explained(read: Reader, pipeline: Pipeline, proxy: Proxy, service: str) -> Explanation:
    """Why this proxy sees what it sees of the service that this text names. Raises NotFound or Unclear."""
    try:
        with pipeline.graph.answering():
            named = service_named(read, service, proxy.namespace)
            return explain(read, proxy.id, named.service, named.port, origins=pipeline.origins, inputs_of=pipeline.graph.inputs_of)
    except UnknownService as error:
        raise NotFound(str(error)) from error
    except UnclearService as error:
        raise Unclear(str(error)) from error


def message_of_explanation(value: Explanation) -> pb.Explanation:
    """The value's fields are called as the message's."""
    message = pb.Explanation()
    json_format.ParseDict(msgspec.to_builtins(value), message)
    return message


async def findings(state: ServerState) -> pb.ListFindingsResponse:
    """Of the mesh, step by step so that nothing waits long, then of the server itself."""
    steps = finding_steps(state.pipeline)
    found: list[Finding] = []
    while await state.ask(lambda read: _some(steps, found)):
        pass
    found += settings_findings(state.settings)
    connections = state.connections()
    made = await traced(state.ask, state.pipeline, refused_by(connections))
    found += [*_of_sources(state.sources()), *_of_connections(connections, made)]
    return pb.ListFindingsResponse(findings=[finding(one) for one in in_order(found)])


def _some(steps: Iterator[list[Finding]], found: list[Finding]) -> bool:
    """As many steps as fit into one stretch; whether there are more."""
    until = time.monotonic() + _STRETCH
    for step in steps:
        found += step
        if time.monotonic() >= until:
            return True
    return False


def _of_sources(sources: Iterable[SourceStatus]) -> Iterator[Finding]:
    for source in sources:
        match source.state:
            case SourceState.TIMED_OUT:
                cause = f"not everything was told within its syncTimeout; the mesh is served with what was ({source.objects} objects)"
                where = "remoteClusters" if source.registered else "clusters[]"
                remedy = f"see why it is slow, or raise {where}.syncTimeout; what comes later is served as it comes"
                kind = "source-not-synced"
            case SourceState.FAILED:
                cause = f"{source.error or 'it cannot be read'}; what it told before still stands, and it is tried again"
                remedy = f"make {source.place or source.name} readable"
                kind = "source-failed"
            case _:
                continue
        about = f"{'Cluster' if source.kind in CLUSTER_KINDS else 'Source'} {source.name}"
        yield Finding(id=kind, severity=SEVERITIES[kind], object=about, place=source.place, cause=cause, remedy=remedy)


def _of_connections(connections: Iterable[ConnectionStatus], made: Mapping[Refused, MadeFrom]) -> Iterator[Finding]:
    for connection in connections:
        for channel in connection.channels:
            if channel.nack is None:
                continue
            kind = names.TYPE_NAMES.get(channel.type_url, channel.type_url)
            told = zip(channel.nack.names, channel.nack.versions, strict=True)
            traces = [made[key] for name, version in told if (key := Refused(channel.type_url, name, version)) in made]
            objects = [one for trace in traces for one in trace.objects]
            behind = ", ".join(text for trace in traces if (text := listed(trace)))
            yield Finding(
                id="update-rejected",
                severity=SEVERITIES["update-rejected"],
                object=f"Proxy {connection.proxy.id}",
                place=objects[0].place if objects else "",
                cause=f"it refused {kind} {named(channel.nack.names)}{f' ({behind})' if behind else ''}: {channel.nack.error.text.strip()}",
                remedy="it keeps what it had before of these; mend the objects behind them, or report a bug if they are right",
            )


def finding(found: Finding) -> pb.Finding:
    return pb.Finding(
        id=found.id,
        severity=_SEVERITIES[found.severity],
        object=found.object,
        place=found.place,
        cause=found.cause,
        remedy=found.remedy,
    )


def timestamp(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(round(seconds * 1e6))
    return stamp
