"""What Prometheus scrapes: read off the counters and the present state when it asks, under our names, and Istio's where it has the same
figure."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import grpc
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from steersman import __version__, names
from steersman.admin.counters import SECONDS, Histogram
from steersman.admin.loads import LoadFigures
from steersman.admin.refusals import Refused, refused_by, traced
from steersman.admin.state import CLUSTER_KINDS, ConnectionStatus, ServerState, SourceState, sync
from steersman.explain.made_from import MadeFrom
from steersman.model.clusters import ClusterState
from steersman.model.objects import Kind
from steersman.registry.collections import SERVICE_KEYS
from steersman.sources.kube.reflector import Standing
from steersman.sources.kube.state import ClusterStatus

_REJECTS = {names.CDS: "cds", names.EDS: "eds", names.LDS: "lds", names.RDS: "rds"}
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
_REGISTRY_KINDS = {Kind.SERVICE: "Services", Kind.ENDPOINT_SLICE: "EndpointSlice", Kind.POD: "Pods", Kind.NODE: "Nodes"}
_OBJECTS = 20
"""Objects with a label of their own."""
_REGISTRY_EVENTS = {"upsert": "update", "delete": "delete"}


class Metrics:
    """The figures of one server, in a registry of its own."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._figures = _Figures(state)
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(self._figures)

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """The figures now, and their content type, in a form that this Accept header takes."""
        self._figures.services = await self._state.ask(lambda read: len(read(SERVICE_KEYS, "")))
        self._figures.made = await traced(self._state.ask, self._state.pipeline, refused_by(self._state.connections()))
        encode, content_type = choose_encoder(accept)
        collected, loads = list(self._registry.collect()), self._state.loads.figures()
        return await asyncio.to_thread(lambda: encode(_Collected([*collected, *_loads(loads)]))), content_type


class _Collected(Collector):
    """What was collected before. There may be thousands of series of loads: they are put together and written beside the event loop."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


class _Figures(Collector):
    """`services`: how many the mesh has, and `made`: what refused resources are made from, as of the last scrape."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self.services = 0
        self.made: Mapping[Refused, MadeFrom] = {}

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        yield from self._server()
        yield from self._sources()
        yield from self._connections(self._state.connections())
        yield from self._refusals(self._state.connections())
        yield from self._pushes()
        yield from self._work()

    def _server(self) -> Iterator[Metric]:
        state = self._state
        yield _gauge("steersman_info", "The server, by version and instance.", ("version", "instance"), {(__version__, state.instance): 1})
        yield _gauge("pilot_info", "The server, by version.", ("version",), {(__version__,): 1})
        yield _single("steersman_ready", "1 when the server is ready to serve proxies, else 0.", float(not state.not_ready()))
        uptime = max(0.0, time.time() - state.started)
        yield _single("steersman_uptime_seconds", "Seconds since the server started.", uptime)
        yield _single("istiod_uptime_seconds", "Seconds since the server started.", uptime)
        yield _single("steersman_generation", "Number of the last complete generation.", state.pipeline.generation)
        yield _single("steersman_values", "Values that the pipeline holds.", state.pipeline.graph.size)
        yield _single("steersman_services", "Services of the mesh.", self.services)
        yield _single("pilot_services", "Services of the mesh.", self.services)

    def _clusters(self, clusters: Sequence[ClusterStatus]) -> Iterator[Metric]:
        """Of those that are read from their API."""
        now = time.time()
        states = {(one.cluster, state.value): float(one.state is state) for one in clusters for state in ClusterState}
        ages = {(one.cluster,): max(0.0, now - one.contact) for one in clusters if one.contact}
        outages = {(one.cluster, one.policy.value): float(one.outage) for one in clusters}
        resources = {
            (one.cluster, resource.name, standing.value): float(resource.standing is standing)
            for one in clusters
            for resource in one.resources
            for standing in Standing
        }
        held = {(one.cluster,): float(one.held_endpoints) for one in clusters}
        text = "Endpoints that a cluster's API lists no longer and that are held, as too much vanished at once in doubt."
        yield _gauge("steersman_held_endpoints", text, ("cluster",), held)
        yield _gauge("steersman_cluster_state", "1 for the state that a cluster is in.", ("cluster", "state"), states)
        text = "Seconds since all was well with a cluster's API; none where it never was."
        yield _gauge("steersman_cluster_contact_age_seconds", text, ("cluster",), ages)
        yield _gauge("steersman_cluster_outage", "1 while a cluster's outage policy holds.", ("cluster", "policy"), outages)
        warm = {(one.cluster,): float(sum(resource.warm for resource in one.resources)) for one in clusters}
        kept = {(one.cluster,): max(0.0, now - one.kept) for one in clusters if one.kept}
        text = "Objects of a cluster that are from its warm file, and that its API has not told since."
        yield _gauge("steersman_cluster_warm_objects", text, ("cluster",), warm)
        text = "Seconds since a cluster's warm file was written; none where this server never did."
        yield _gauge("steersman_cluster_warm_file_age_seconds", text, ("cluster",), kept)
        text = "1 for the state that a resource of a cluster's API is in."
        yield _gauge("steersman_cluster_resource_state", text, ("cluster", "resource", "state"), resources)

    def _sources(self) -> Iterator[Metric]:
        sources = self._state.sources()
        states = {(source.name, source.kind, one.value): float(source.state is one) for source in sources for one in SourceState}
        objects = {(source.name, source.kind): float(source.objects) for source in sources}
        ignored = {(source.name, source.kind): float(source.ignored) for source in sources}
        clusters = sum(source.kind in CLUSTER_KINDS for source in sources)
        yield _gauge("steersman_source_state", "1 for the state that a source is in.", ("source", "kind", "state"), states)
        yield _gauge("steersman_source_objects", "Objects that a source holds.", ("source", "kind"), objects)
        yield _gauge("steersman_source_ignored_objects", "Objects of kinds that are not used.", ("source", "kind"), ignored)
        yield from self._clusters([source.cluster for source in sources if source.cluster is not None])
        yield _single("steersman_clusters", "Clusters that are watched.", clusters)
        yield _single("istiod_managed_clusters", "Clusters that are watched.", clusters)

    def _connections(self, connections: Iterable[ConnectionStatus]) -> Iterator[Metric]:
        open_streams: Counter[tuple[str, ...]] = Counter()
        proxies: dict[str, tuple[str, str]] = {}
        syncs: Counter[tuple[str, ...]] = Counter()
        rejected: dict[str, dict[tuple[str, ...], float]] = {short: {} for short in _REJECTS.values()}
        for connection in connections:
            open_streams[connection.service, connection.variant, connection.proxy.type] += 1
            proxies[connection.proxy.id] = (connection.proxy.type, connection.agent or "unknown")
            for channel in connection.channels:
                syncs[_short(channel.type_url), sync(channel).value] += 1
                if channel.nack is not None and channel.type_url in _REJECTS:
                    rejected[_REJECTS[channel.type_url]][connection.proxy.id, _code(channel.nack.error.code)] = 1
        types, versions = Counter((kind,) for kind, _ in proxies.values()), Counter((agent,) for _, agent in proxies.values())
        yield _gauge("steersman_connections", "Open streams.", ("service", "protocol", "type"), open_streams)
        yield _gauge("steersman_proxies", "Connected proxies, each counted once, whatever streams it has.", ("type",), types)
        yield _gauge("pilot_xds", "Connected proxies, by their version.", ("version",), versions)
        yield _gauge("steersman_sync", "Open streams by resource type and how far their proxy is with it.", ("type", "sync"), syncs)
        for short, nodes in rejected.items():
            yield _gauge(f"pilot_xds_{short}_reject", f"Proxies whose last {short.upper()} response was refused.", ("node", "err"), nodes)

    def _refusals(self, connections: Iterable[ConnectionStatus]) -> Iterator[Metric]:
        """By the first object that a resource was made from; the names of objects are many, so most of them have no label of their own."""
        counts: Counter[tuple[str, ...]] = Counter()
        for connection in connections:
            for channel in connection.channels:
                if channel.nack is not None:
                    for name, version in zip(channel.nack.names, channel.nack.versions, strict=True):
                        made = self.made.get(Refused(channel.type_url, name, version))
                        counts[_short(channel.type_url), made.objects[0].object if made is not None and made.objects else ""] += 1
        shown: Counter[tuple[str, ...]] = Counter()
        for place, ((kind, about), count) in enumerate(counts.most_common()):
            shown[kind, about if place < _OBJECTS or not about else "others"] += count
        text = "Resources that proxies refuse now, by the first object that they were made from."
        yield _gauge("steersman_refused_resources", text, ("type", "object"), shown)

    def _pushes(self) -> Iterator[Metric]:
        counters = self._state.counters
        by_type = ("type",)
        for ours, istio, text, counts in (
            ("steersman_pushes", "pilot_xds_pushes", "Responses sent.", counters.pushes),
            ("steersman_expired_nonces", "pilot_xds_expired_nonce", "Requests with an outdated nonce.", counters.expired_nonces),
        ):
            yield _counter(ours, text, by_type, _keyed(counts))
            yield _as_istio(istio, text, by_type, _keyed(counts))
        yield _counter("steersman_pushed_resources", "Resources in the responses sent.", by_type, _keyed(counters.pushed_resources))
        yield _counter("steersman_pushed_bytes", "Bytes of the resources in the responses sent.", by_type, _keyed(counters.pushed_bytes))
        text = "Responses that only keep what a proxy has from expiring (server.xds.ttl)."
        yield _counter("steersman_heartbeats", text, by_type, _keyed(counters.heartbeats))
        yield _counter("steersman_rejects", "Responses refused by their proxy (NACK).", by_type, _keyed(counters.rejects))
        yield _as_istio("pilot_total_xds_rejects", "Responses refused by their proxy (NACK).", (), {(): counters.rejects.total()})
        yield _counter("steersman_streams", "Streams opened.", ("protocol",), _keyed(counters.streams))
        yield _counter("steersman_streams_closed", "Streams ended, by gRPC status.", ("code",), _keyed(counters.closed))
        yield _single("steersman_waiting_streams", "Streams in line to be let in.", self._state.waiting())
        yield _counter("steersman_refused_streams", "Streams not let in, by limit.", ("limit",), _keyed(counters.turned_away))
        yield _histogram("steersman_stream_wait_seconds", "Seconds that a stream stood in line.", counters.waits)
        text = "Seconds from a change's being seen to its last response being handed to a stream."
        yield _histogram("steersman_convergence_seconds", text, counters.convergence)
        yield _histogram("pilot_proxy_convergence_time", text, counters.convergence)

    def _work(self) -> Iterator[Metric]:
        counters = self._state.counters
        facts = {(str(kind), event): float(count) for (kind, event), count in counters.facts.items()}
        registry = {
            (_REGISTRY_KINDS[Kind(kind)], _REGISTRY_EVENTS[event]): count
            for (kind, event), count in facts.items()
            if kind in _REGISTRY_KINDS
        }
        yield _counter("steersman_facts", "Facts that changed something.", ("kind", "event"), facts)
        yield _as_istio("pilot_k8s_reg_events", "Changes of Kubernetes objects.", ("type", "event"), registry)
        yield _counter("steersman_generations", "Settlements.", (), {(): counters.generations})
        yield _counter("steersman_computed_values", "Values computed.", (), {(): counters.computed})
        yield _counter("steersman_failed_values", "Values whose computation failed: bugs.", (), {(): counters.failures})
        yield _counter("steersman_internal_errors", "Bugs that cost a stream or a source.", (), {(): counters.internal_errors})
        yield _as_istio("pilot_total_xds_internal_errors", "Bugs that cost a stream or a source.", (), {(): counters.internal_errors})
        text = "Seconds from the first change taken to a complete generation."
        yield _histogram("steersman_settling_seconds", text, counters.settling)
        yield _histogram("pilot_pushcontext_init_seconds", text, counters.settling)


def _loads(loads: LoadFigures) -> Iterator[Metric]:
    by = ("cluster", "locality")
    for place, name, text in (
        (0, "issued", "Requests that proxies report to have sent to an upstream cluster."),
        (1, "successful", "Those that ended well."),
        (2, "failed", "Those that ended with an error, or found no connection."),
    ):
        yield _counter(f"steersman_load_{name}_requests", text, by, {key: counts[place] for key, counts in loads.totals})
    in_progress = {key: counts[3] for key, counts in loads.totals}
    yield _gauge("steersman_load_requests_in_progress", "Requests in progress, as last reported.", by, in_progress)
    text = "Requests that proxies refused themselves."
    yield _counter("steersman_load_dropped_requests", text, ("cluster", "category"), loads.dropped)
    yield _counter("steersman_load_reports", "Load reports received.", (), {(): loads.reports})
    yield _counter("steersman_load_left_out", "Reported figures past a bound, kept in sums only.", (), {(): loads.left_out})
    yield _single("steersman_load_reporters", "Open streams of load reports.", loads.reporters)


Labelled = Mapping[Any, float]
"""Values by the values of the labels, a tuple of texts."""


def _code(number: int) -> str:
    """A google.rpc.Code as Istio spells it: Internal, InvalidArgument."""
    name = _CODES.get(number)
    return name.title().replace("_", "") if name else f"Code({number})"


def _short(type_url: str) -> str:
    return names.TYPE_NAMES.get(type_url, type_url)


def _keyed(counts: Mapping[str, int]) -> dict[tuple[str, ...], float]:
    return {(key,): float(count) for key, count in counts.items()}


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Labelled) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def _single(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, labels: tuple[str, ...], values: Labelled) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def _as_istio(name: str, text: str, labels: tuple[str, ...], values: Labelled) -> Metric:
    """A count under Istio's name, which has no `_total` at its end; so the exposition formats can't call it a counter."""
    family = Metric(name, text, "unknown")
    for key, value in sorted(values.items()):
        family.add_sample(name, dict(zip(labels, key, strict=True)), value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    buckets: list[tuple[str, float]] = []
    below = 0
    for bound, count in zip(SECONDS, histogram.buckets, strict=True):
        below += count
        buckets.append((str(bound), below))
    buckets.append(("+Inf", histogram.count))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=histogram.total)
