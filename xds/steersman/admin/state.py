"""What the admin interfaces need to see of a running server. The server stands above this layer and provides it."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol, TypeVar

from steersman.admin.counters import Counters
from steersman.admin.loads import Loads
from steersman.ads.channel import ChannelStatus
from steersman.ads.messages import Variant
from steersman.ads.told import TypeResources
from steersman.graph import Reader
from steersman.model.ids import ClusterID, ServiceKey
from steersman.model.objects import Row
from steersman.model.proxy import Proxy
from steersman.model.removals import HeldRemoval
from steersman.pipeline import Pipeline
from steersman.settings import Settings
from steersman.sources.kube.state import ClusterStatus

T = TypeVar("T")


class Sync(StrEnum):
    """How far a proxy is with one type: not answered yet, up to date, something on its way, or the last thing sent refused."""

    NOT_SENT = "NOT SENT"
    SYNCED = "SYNCED"
    STALE = "STALE"
    ERROR = "ERROR"


def sync(channel: ChannelStatus) -> Sync:
    """How far the client of this channel is."""
    if channel.nack is not None:
        return Sync.ERROR
    if channel.sent is None:
        # A proxy that reconnects says which versions it holds: where those are right there is nothing to send.
        return Sync.NOT_SENT if channel.pending else Sync.SYNCED
    return Sync.STALE if channel.pending or channel.acked is None or channel.acked.nonce != channel.sent.nonce else Sync.SYNCED


class ConnectionStatus(Row, frozen=True, kw_only=True):
    """One open stream; a proxy may have several. `id`: unlike any other since the server started. `connected`: wall clock seconds.
    `service`: "ads" for the aggregated one, else the type's ("cds"). `agent`: the client's own name and version, as "envoy 1.40.0".
    `channels`: each type that it asked for, in the order in which types are sent."""

    id: str
    proxy: Proxy
    peer: str
    variant: Variant
    connected: float
    service: str = "ads"
    agent: str = ""
    channels: tuple[ChannelStatus, ...] = ()


class OpenStream(Protocol):
    """An open stream, to look at."""

    def status(self) -> ConnectionStatus: ...

    def resources(self) -> Sequence[TypeResources]:
        """How far its client is with each resource of each type. Nothing is worked out that isn't taken."""
        ...


class SourceState(StrEnum):
    """`TIMED_OUT`: its syncTimeout passed before everything was told; the mesh is served without the rest. `FAILED`: it can't be
    read now and is retried; what it told before still stands. `WARM`: a cluster's API has not told everything since the start; what its
    warm file has of the rest stands."""

    SYNCING = "syncing"
    SYNCED = "synced"
    TIMED_OUT = "timed out"
    FAILED = "failed"
    WARM = "warm"


CLUSTER_KINDS = ("files", "kubernetes")
"""Kinds of source that stand for a cluster."""


class SourceStatus(Row, frozen=True, kw_only=True):
    """One source of facts. `name`: the cluster, or "ca", "dns", "remoteClusters". `kind`: "files", "kubernetes", or the name. `place`:
    where it reads. `state`: see SourceState. `objects`: how many it holds. `ignored`: objects of kinds that are not used. `error`: why it
    failed, or "". `cluster`: how it stands, for one that is read from its API. `registered`: by which kubeconfig's file or Secret, for a
    cluster that the configuration doesn't have."""

    name: str
    kind: str
    place: str
    state: SourceState
    objects: int = 0
    ignored: int = 0
    error: str = ""
    cluster: ClusterStatus | None = None
    registered: str = ""


class ServerState(Protocol):
    """A running server, to look at. Nothing here changes it, but `release`. What `pipeline` holds is whole only inside `ask`."""

    @property
    def instance(self) -> str:
        """Which server this is, such as its host's name."""
        ...

    @property
    def started(self) -> float:
        """Wall clock seconds."""
        ...

    @property
    def settings(self) -> Settings: ...

    @property
    def pipeline(self) -> Pipeline: ...

    @property
    def counters(self) -> Counters: ...

    @property
    def loads(self) -> Loads:
        """Reports are taken by the event loop's clock."""
        ...

    def connections(self) -> Sequence[ConnectionStatus]:
        """Every open stream, by (node id, id)."""
        ...

    def streams(self) -> Sequence[OpenStream]:
        """The same, each to be asked for more."""
        ...

    def waiting(self) -> int:
        """Streams that have come and are not let in yet."""
        ...

    def sources(self) -> Sequence[SourceStatus]:
        """Every source, the clusters first, by name."""
        ...

    def not_ready(self) -> Sequence[str]:
        """Why the server isn't ready, in sentences; empty when it is."""
        ...

    async def release(self, cluster: ClusterID, service: ServiceKey | None) -> Sequence[HeldRemoval] | None:
        """Lets go of what is held of a cluster's removals, or of those of one service; what that was. None for a cluster that isn't read
        from its API."""
        ...

    async def ask(self, question: Callable[[Reader], T]) -> T:
        """Puts a question to a settled pipeline. While it is answered nothing else runs, so a long one is put in parts.

        Raises what it raises.
        """
        ...
