"""A server to look at, without one: a real pipeline, and connections, sources and readiness as the test says."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from steersman.admin.counters import Counters
from steersman.admin.loads import Loads
from steersman.admin.state import ConnectionStatus, OpenStream, SourceState, SourceStatus
from steersman.ads.channel import ChannelStatus, Nack, Sent
from steersman.ads.messages import ErrorDetail, Variant
from steersman.graph import Reader
from steersman.model.clusters import ClusterState, OutagePolicy
from steersman.model.ids import ClusterID, ObjectKey, ServiceKey
from steersman.model.mesh import ObjectRef
from steersman.model.objects import Kind
from steersman.model.proxy import Proxy, ProxyType
from steersman.model.removals import HeldRemoval
from steersman.names import CDS, EDS, LDS, RDS, SDS
from steersman.pipeline import Pipeline
from steersman.settings import Settings, parse_settings
from steersman.sources.kube.reflector import Standing
from steersman.sources.kube.state import ClusterStatus, ResourceStatus

T = TypeVar("T")

FORBIDDEN = ResourceStatus(name="pods", version="v1", standing=Standing.FORBIDDEN, whole=True, objects=3, problem="403: no")
MISSING = ResourceStatus(
    name="gateways.networking.istio.io", version="", standing=Standing.MISSING, whole=True, optional=True, problem="none"
)
SERVICES = ResourceStatus(name="services", version="v1", standing=Standing.SYNCED, whole=True, objects=4)


def api_source(
    state: ClusterState = ClusterState.FORBIDDEN,
    problem: str = "pods: 403: no",
    *,
    outage: bool = False,
    held: tuple[HeldRemoval, ...] = (),
) -> SourceStatus:
    """A cluster that is read from its API: its state since 100 s ago, with all well 90 s ago."""
    now = time.time()
    status = ClusterStatus(
        cluster=ClusterID("west"),
        server="https://west:6443",
        state=state,
        since=now - 100,
        contact=now - 90,
        uid="u-1",
        problem=problem,
        policy=OutagePolicy.DEMOTE,
        after=300.0,
        outage=outage,
        resources=(SERVICES, FORBIDDEN, MISSING),
        held=held,
    )
    return SourceStatus(
        name="west",
        kind="kubernetes",
        place="west.kubeconfig",
        state=SourceState.SYNCED,
        objects=7,
        cluster=status,
        registered="Secret east/istio-system/w",
    )


HELD = HeldRemoval(
    object=ObjectRef(Kind.SERVICE, ObjectKey(ClusterID("west"), "default", "reviews")),
    count=8,
    before=10,
    since=1_700_000_000.0,
    until=1_700_000_300.0,
    cause="8 of its 10 endpoints were lost in a list that was read anew",
)
HELD_NODES = HeldRemoval(
    object=ObjectRef(Kind.NODE, ObjectKey(ClusterID("west"), "", "")),
    count=4,
    before=4,
    since=1_700_000_000.0,
    until=1_700_000_300.0,
    cause="a list that was read anew lacks 4 of 4",
)

SETTINGS = parse_settings("clusters: [{name: east, files: .}]\n", Path(__file__).parent / "steersman.yaml")


class FakeState:
    """A ServerState of values; `unready` and the lists are the test's to change."""

    def __init__(self, pipeline: Pipeline | None = None, *connections: ConnectionStatus, settings: Settings = SETTINGS) -> None:
        self.instance = "pilot-0"
        self.settings = settings
        self.started = time.time() - 60
        self.pipeline = pipeline or Pipeline()
        self.counters = Counters()
        self.loads = Loads(10.0)
        self.connected = list(connections)
        self.opened: list[OpenStream] = []
        self.held: list[SourceStatus] = [
            SourceStatus(name="east", kind="files", place="clusters/east", state=SourceState.SYNCED, objects=7)
        ]
        self.unready: list[str] = []
        self.queued = 0
        self.released: list[tuple[ClusterID, ServiceKey | None]] = []

    def connections(self) -> Sequence[ConnectionStatus]:
        return tuple(self.connected)

    def streams(self) -> Sequence[OpenStream]:
        return tuple(self.opened)

    def waiting(self) -> int:
        return self.queued

    def sources(self) -> Sequence[SourceStatus]:
        return tuple(self.held)

    def not_ready(self) -> Sequence[str]:
        return tuple(self.unready)

    async def release(self, cluster: ClusterID, service: ServiceKey | None) -> Sequence[HeldRemoval] | None:
        (status,) = [source.cluster for source in self.held if source.name == cluster] or [None]
        if status is None:
            return None
        self.released.append((cluster, service))
        return status.held

    async def ask(self, question: Callable[[Reader], T]) -> T:
        return question(self.pipeline.graph.ask)


def sidecar(name: str, cluster: str = "east", namespace: str = "default", ip: str = "10.0.0.77", **fields: object) -> Proxy:
    return Proxy(
        id=f"{cluster}/sidecar~{ip}~{name}.{namespace}~cluster.local" if cluster else f"sidecar~{ip}~{name}.{namespace}~cluster.local",
        type=ProxyType.SIDECAR,
        name=name,
        namespace=namespace,
        cluster=ClusterID(cluster),
        ip=ip,
        **fields,  # type: ignore[arg-type]  # whichever of Proxy's the test sets
    )


def channel(type_url: str, version: str = "v1", *, acked: bool = True, pending: int = 0, names: int = 0) -> ChannelStatus:
    """A channel that was sent one response."""
    sent = Sent(version=version, nonce="1", at=1.0)
    return ChannelStatus(
        type_url=type_url, wildcard=not names, subscribed=names, sent=sent, acked=sent if acked else None, nack=None, pending=pending
    )


def refused(type_url: str, text: str, *names: str) -> ChannelStatus:
    """A channel whose last response the client refused."""
    nack = Nack(version="v2", nonce="2", at=2.0, error=ErrorDetail(13, text), names=names, versions=tuple("v2" for _ in names))
    sent = Sent(version="v2", nonce="2", at=2.0)
    return ChannelStatus(type_url=type_url, wildcard=True, subscribed=0, sent=sent, acked=None, nack=nack, pending=0)


def connection(
    proxy: Proxy, *channels: ChannelStatus, number: int = 1, variant: Variant = Variant.DELTA, service: str = "ads"
) -> ConnectionStatus:
    """A stream, the younger the higher its number; without channels, one that has everything."""
    everything = tuple(channel(type_url) for type_url in (CDS, EDS, LDS, RDS, SDS))
    return ConnectionStatus(
        id=str(number),
        proxy=proxy,
        peer="ipv4:10.0.0.77:40000",
        variant=variant,
        connected=1_760_000_000.0 + number,
        service=service,
        agent="envoy 1.40.0",
        channels=channels or everything,
    )
