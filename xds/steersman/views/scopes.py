"""Scopes: the projections of a standpoint that lists of resources depend on. Proxies of equal scope share the lists and the bytes."""

from typing import NamedTuple

from steersman.model.ids import ClusterID, IPFamily, NetworkID, ObjectKey, ServicePortKey, SpiffeID
from steersman.model.mesh import Horizon
from steersman.model.objects import Protocol, Row
from steersman.model.proxy import Interception


class OutboundClusters(NamedTuple):
    """What a client in this namespace may call: decides outbound clusters."""

    namespace: str


class Outbound(NamedTuple):
    """Decides outbound listeners and routes.

    `cluster`: whose VIPs count. `network`, `families`: which headless pods get a listener. `bind`: with interception NONE the address of
    bound listeners, else "". `low_ports`: whether ports under 1024 can be bound (always true unless NONE). `taken`: ports of `bind` that
    the workload's own inbound listeners or its application hold, sorted; nearly always none. `on_demand`: the proxy asks for a cluster when
    something is to go there.
    """

    namespace: str
    cluster: ClusterID
    network: NetworkID
    families: frozenset[IPFamily]
    interception: Interception
    bind: str = ""
    low_ports: bool = True
    taken: tuple[int, ...] = ()
    on_demand: bool = False


class Catchment(Row, frozen=True, kw_only=True, cache_hash=True):
    """What of an Outbound decides how one service's traffic is caught, whatever the client's namespace. A lookup for each service of the
    mesh is made by it, so it hashes once."""

    cluster: ClusterID
    network: NetworkID
    families: frozenset[IPFamily]
    interception: Interception


class Endpoints(NamedTuple):
    """Decides endpoints: what a namespace may call, as seen from `horizon` (its `cluster` and `node` are the proxy's here, and are dropped
    for services that are not local to them)."""

    namespace: str
    horizon: Horizon


class InboundPort(NamedTuple):
    """A port on which a workload is called. `port`: the target port, at the endpoint's address. `services`: whose, sorted. The protocol
    is that of the oldest service port with that target."""

    port: int
    protocol: Protocol
    services: tuple[ServicePortKey, ...]


class Inbound(NamedTuple):
    """Decides inbound listeners and clusters; equal for all replicas of a workload unless they bind addresses of their own.

    `trust_domains`: whose identities may call, sorted. `families`: those of the capturing listener's addresses, none with interception
    NONE. `addresses`: with NONE the workload's addresses to bind, else none. `app`: where the application listens, with NONE.
    """

    ports: tuple[InboundPort, ...]
    interception: Interception
    trust_domains: tuple[str, ...]
    families: frozenset[IPFamily] = frozenset()
    addresses: tuple[str, ...] = ()
    app: str = ""


class Router(NamedTuple):
    """Decides a router's listeners, routes and clusters: the Istio Gateways that select it, sorted, and what its namespace may call.

    `targets`: (port of a Service that selects the router's pod, its target port) where the two differ, sorted: a server listens on the
    target.
    """

    namespace: str
    cluster: ClusterID
    gateways: tuple[ObjectKey, ...]
    families: frozenset[IPFamily]
    targets: tuple[tuple[int, int], ...] = ()


class Proxyless(NamedTuple):
    """Decides what a gRPC client (GENERATOR grpc) in this namespace may dial."""

    namespace: str
    cluster: ClusterID


class FixedClusters(NamedTuple):
    """The clusters that are the same for everyone, by name, sorted: those that a proxy of this kind needs."""

    names: tuple[str, ...]


class PassthroughEndpoints(NamedTuple):
    """Decides the endpoints of a router's passthrough clusters: the services that its servers admit, as seen from `horizon` (as in
    Endpoints)."""

    router: Router
    horizon: Horizon


class Secrets(NamedTuple):
    """A workload's certificate, signed by its cluster's intermediate (`cluster` empty: the proxy named none), and the mesh's roots."""

    cluster: ClusterID
    identity: SpiffeID
