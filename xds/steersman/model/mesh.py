"""One mesh: what the registry makes of the objects of all clusters, and what views make of that for one place."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from steersman.model.ids import ClusterID, Hostname, IPFamily, Key, Labels, Locality, NetworkID, ObjectKey, ServiceKey, SpiffeID
from steersman.model.objects import Kind, Protocol, Row


class ObjectRef(Key, frozen=True, order=True):
    """An object that decided something, for explain: `key` as in the kind's table (an ObjectKey, a hostname, "" for the mesh)."""

    kind: Kind
    key: Any

    def __str__(self) -> str:
        return f"{self.kind} {self.key}".rstrip()


class ServicePort(Row, frozen=True, kw_only=True):
    """A port of a merged service. `name` is what EndpointSlices call it."""

    name: str
    port: int
    protocol: Protocol


class Conflict(Row, frozen=True, kw_only=True):
    """Two clusters' Services say different things of one port (or of the type); `winner`'s stands, by (creationTimestamp, cluster)."""

    port: int
    what: str
    winner: ObjectKey
    loser: ObjectKey


class MeshService(Row, frozen=True, kw_only=True):
    """The Services of one namespace and name in all clusters, as one.

    `clusters`: those that have it, sorted. `vips`: (cluster, its canonical ClusterIPs in the order of its families) for clusters that
    have any, sorted by cluster. `headless`, `external_name` (and `ports`' disputed details) are the oldest Service's. `ports`: by number.
    `export_to`: sorted, empty is everywhere. `cluster_local`: endpoints of other clusters are never used. `node_local`: nor those of
    other nodes. `created`, `labels`, `session`: from the oldest; `created` settles disputes between services; `session`: draining endpoints
    stay in use.
    """

    key: ServiceKey
    hostname: Hostname
    clusters: tuple[ClusterID, ...]
    created: str = ""
    ports: tuple[ServicePort, ...] = ()
    vips: tuple[tuple[ClusterID, tuple[str, ...]], ...] = ()
    headless: bool = False
    external_name: str = ""
    export_to: tuple[str, ...] = ()
    cluster_local: bool = False
    node_local: bool = False
    session: bool = False
    labels: Labels = ()
    conflicts: tuple[Conflict, ...] = ()

    def port(self, number: int) -> ServicePort | None:
        return next((port for port in self.ports if port.port == number), None)

    def visible_in(self, namespace: str) -> bool:
        """Whether exportTo lets a client in that namespace use the service."""
        if not self.export_to or "*" in self.export_to:
            return True
        return namespace in self.export_to or ("." in self.export_to and namespace == self.key.namespace)


class Host(Row, frozen=True, kw_only=True):
    """What a Kubernetes node and its cluster say of the pods there: `locality` unknown where the node is, `network` that of pods without a
    label of their own (empty where only fromCidr can tell), `network_by` what says so."""

    locality: Locality
    network: NetworkID
    network_by: ObjectRef | None
    trust_domain: str


class Workload(Row, frozen=True, kw_only=True):
    """What runs behind an address: a pod, placed. `identity` is empty where there is no pod to tell it. `mtls`: labelled tlsMode istio.
    `node` is the Kubernetes node's name."""

    pod: ObjectKey | None
    cluster: ClusterID
    network: NetworkID
    network_by: ObjectRef | None
    locality: Locality
    node: str = ""
    mtls: bool = False
    identity: SpiffeID = SpiffeID("")
    labels: Labels = ()


class Health(StrEnum):
    HEALTHY = "HEALTHY"
    DRAINING = "DRAINING"


class Twin(StrEnum):
    """In a dual-stack service a pod stands in a slice of each family; only one of its addresses may count for a proxy.

    ALONE: the only address of its pod here. FIRST, SECOND: of the service's first family, or of the other while the first exists.
    """

    ALONE = ""
    FIRST = "first"
    SECOND = "second"


class Traits(Row, frozen=True, order=True, cache_hash=True):
    """All of an endpoint that the rules of split horizon look at: endpoints with equal traits share every verdict. Sorts stably.

    `node`: CLUSTER/NODE, set only for endpoints whose own cluster's Service is node-local.
    """

    locality: Locality
    network: NetworkID
    cluster: ClusterID
    mtls: bool
    family: IPFamily
    twin: Twin = Twin.ALONE
    node: str = ""


class Endpoint(Row, frozen=True, kw_only=True):
    """A usable endpoint of a service port. `weight` at least 1. `source`: the object that lists it (an EndpointSlice, or the Pod
    itself where the service has no slices)."""

    address: str
    port: int
    traits: Traits
    health: Health = Health.HEALTHY
    weight: int = 1
    workload: Workload
    source: ObjectRef


class Unusable(Row, frozen=True, kw_only=True):
    """An entry that is no endpoint for anyone, whoever asks: why, by which rule and object."""

    address: str
    port_name: str
    rule: "Rule"
    because: ObjectRef
    workload: Workload
    source: ObjectRef
    note: str = ""


class Rule(StrEnum):
    """Why a candidate endpoint is in or out. The numbers are those of the rules of split horizon (docs/split-horizon.md)."""

    DIRECT = "direct"  # 2: same network, or one of the two is unknown
    VIA_GATEWAY = "via-gateway"  # 3
    DIRECT_NO_GATEWAY = "direct-no-gateway"  # 5, missingGateway: direct
    NO_GATEWAY = "no-gateway"  # 5, withheld
    GATEWAY_FAMILY = "gateway-ip-family"  # 3: gateways, but none of a family that the proxy can use
    NOT_MTLS = "not-mtls"  # 4: a gateway needs SNI
    NETWORK_VIEW = "network-view"  # not in REQUESTED_NETWORK_VIEW
    OTHER_NETWORK_AT_GATEWAY = "other-network-at-gateway"  # 8
    PASSTHROUGH_NOT_MTLS = "passthrough-not-mtls"  # SNI clusters hold mTLS endpoints only
    CLUSTER_LOCAL = "cluster-local"
    NODE_LOCAL = "node-local"
    OTHER_FAMILY = "other-ip-family"  # the pod's address of the other family stands for it
    CLUSTER_OUTAGE = "cluster-outage"  # its cluster's API is silent, and the outage policy is drop
    NOT_READY = "not-ready"
    TERMINATING = "terminating"
    DRAINING = "draining"
    BAD_ADDRESS = "bad-address"
    POD_MISSING = "pod-missing"
    POD_INACTIVE = "pod-inactive"
    NO_PORT = "no-port"
    DUPLICATE = "duplicate-address"  # 10: another owner of this address on this network stands for it
    FOLDED = "folded"  # 7: kept, in another locality's group
    REMOVAL_HELD = "removal-held"  # kept though its cluster's API lists it no longer: too much vanished at once, in doubt

    @property
    def admits(self) -> bool:
        return self in (Rule.DIRECT, Rule.VIA_GATEWAY, Rule.DIRECT_NO_GATEWAY, Rule.FOLDED, Rule.REMOVAL_HELD)


class Candidates(Row, frozen=True, kw_only=True):
    """The entries of one source: of an EndpointSlice as they are while they are ready, or a Service's Pods as they are. `ports`: (port
    name, each entry in order: an endpoint, or why it is none), sorted by name. `usable`: all are endpoints. `distinct`: no two entries have
    an address in common. `session`: whether those that drain stay in use."""

    ports: tuple[tuple[str, tuple["Endpoint | Unusable", ...]], ...] = ()
    usable: bool = True
    distinct: bool = True
    session: bool = False


class SourceEndpoints(Row, frozen=True, kw_only=True):
    """What one EndpointSlice (or one Service's Pods) contributes: `ports`: (port name, its endpoints as listed), sorted by name.
    `distinct`: no two entries, whether they are endpoints or not, have an address in common."""

    ports: tuple[tuple[str, tuple[Endpoint, ...]], ...] = ()
    distinct: bool = True


class SourceCell(Row, frozen=True):
    """What one source gives to a cell: its endpoints sorted by (address, port), and the sum of their weights."""

    traits: Traits
    weight: int
    endpoints: tuple[Endpoint, ...]

    @property
    def addresses(self) -> list[str]:
        """Worked out each time, as a set of them would take a third of what the endpoints do."""
        return [endpoint.address for endpoint in self.endpoints]


class SourceCells(Row, frozen=True, kw_only=True):
    """What one source (an EndpointSlice, or a Service's Pods) contributes, by port name and cell, both sorted. `distinct`: see
    SourceEndpoints."""

    ports: tuple[tuple[str, tuple[SourceCell, ...]], ...] = ()
    distinct: bool = True


class Dropped(NamedTuple):
    """An endpoint of a source that is in no cell, as another stands for its address. `pod`: CLUSTER/NAMESPACE/NAME, or ""."""

    traits: Traits
    source: ObjectRef
    address: str
    port: int
    pod: str
    weight: int


class Shape(Row, frozen=True, cache_hash=True):
    """Which cells a service port has, sorted, without their weights: most services of a mesh have one of few shapes. `headless`: see
    MeshService."""

    cells: tuple[Traits, ...] = ()
    headless: bool = False


class CellIndex(Row, frozen=True, kw_only=True):
    """The cells of a service port, sorted (`shape`), and beside each the sum of its endpoints' weights. `duplicates`: rule 10's losers, who
    are in no cell. `shared`: addresses, as (address, port), that stand in cells of more than one network, with those cells; nearly always
    empty. `at_gateways`: the same for addresses that are also some network's gateway. `sources`: beside each cell, what lists its
    endpoints: (source, port name). `dropped`: all that the sources list and the cells don't hold."""

    shape: Shape = Shape()
    weights: tuple[int, ...] = ()
    duplicates: tuple[Unusable, ...] = ()
    shared: tuple[tuple[str, int, tuple[Traits, ...]], ...] = ()
    at_gateways: tuple[tuple[str, int, tuple[Traits, ...]], ...] = ()
    sources: tuple[tuple[tuple[ObjectRef, str], ...], ...] = ()
    dropped: tuple[Dropped, ...] = ()

    @property
    def cells(self) -> tuple[tuple[Traits, int], ...]:
        """(traits, weight)"""
        return tuple(zip(self.shape.cells, self.weights, strict=True))


class CellSources(Row, frozen=True, kw_only=True):
    """What of a CellIndex doesn't change with its weights."""

    shape: Shape
    sources: tuple[tuple[tuple[ObjectRef, str], ...], ...]
    dropped: tuple[Dropped, ...]


class Identities(Row, frozen=True, kw_only=True):
    """Who may answer for a service: the SPIFFE URIs of every pod behind any slice entry, ready or not, in all clusters, sorted. `mtls`:
    whether any of its endpoints speaks mTLS; `unknown`: whether one does whose identity is not known (rule 11)."""

    sans: tuple[SpiffeID, ...] = ()
    mtls: bool = False
    unknown: bool = False


class NetworkGateway(NamedTuple):
    """One address through which a network is reached. `cluster` is empty for those of mesh.networks with an address. Sorts by (address,
    port)."""

    address: str
    port: int
    network: NetworkID
    cluster: ClusterID
    source: ObjectRef


class Standpoint(Row, frozen=True, kw_only=True):
    """Where a proxy stands, worked out from its Node and the mesh. Empty parts are unknown.

    `families`: what it can dial. `pod`: its own, where one is known. `network_gateway`: a router selected by a network's gateway Service.
    `plaintext`: it speaks no mTLS (gRPC's own resolver). `inferred`: in words, what was worked out and how; explain's.
    """

    cluster: ClusterID
    network: NetworkID
    namespace: str
    families: frozenset[IPFamily]
    view: tuple[NetworkID, ...] | None
    locality: Locality
    node: str = ""
    pod: ObjectKey | None = None
    network_gateway: bool = False
    plaintext: bool = False
    identity: SpiffeID = SpiffeID("")
    trust_domain: str = "cluster.local"
    labels: Labels = ()
    inferred: tuple[str, ...] = ()


class Horizon(Row, frozen=True, cache_hash=True):
    """What of a standpoint decides the endpoints of one service, and nothing more: proxies with equal horizons share one assignment.

    `cluster` and `node` are set only for cluster-local and node-local services. `view` None: all networks. `own_network_only`: for
    passthrough clusters, and all clusters of a network's gateway (rule 8). `mtls_only`: passthrough clusters. `plaintext`: gRPC clients.
    """

    network: NetworkID
    families: frozenset[IPFamily]
    view: tuple[NetworkID, ...] | None = None
    cluster: ClusterID = ClusterID("")
    node: str = ""
    own_network_only: bool = False
    mtls_only: bool = False
    plaintext: bool = False


class Verdict(Row, frozen=True, kw_only=True):
    """In or out, and by which rule and objects. `gateways`: with VIA_GATEWAY the candidates that share the weight, sorted. `demoted`:
    behind the endpoints of other clusters, as its own one's API is silent."""

    rule: Rule
    gateways: tuple[NetworkGateway, ...] = ()
    demoted: bool = False
    because: tuple[ObjectRef, ...] = ()
    note: str = ""


class Carried(NamedTuple):
    """What one gateway's address carries for one group, (priority, locality): of the weights of the cells at these positions of the shape,
    each multiplied by the number beside it."""

    level: tuple[int, Locality]
    gateway: "NetworkGateway"
    cells: tuple[tuple[int, int], ...]

    def units(self, weights: Sequence[int]) -> int:
        """Its share, in units of 1/exact."""
        return sum([weights[position] * times for position, times in self.cells])


class DirectCells(NamedTuple):
    """The direct cells of one group, (priority, locality), in order, and their positions in the shape."""

    level: tuple[int, Locality]
    cells: tuple[Traits, ...]
    positions: tuple[int, ...]


class Arrangement(Row, frozen=True, kw_only=True, cache_hash=True):
    """Which cells stand where, whatever they weigh. `exact`: the least common multiple of rule 6. `direct`: sorted. `fronts`: by the
    gateways' (address, port), sorted: what stands behind each, by group, sorted. `unseen`: positions of cells that are in neither.
    `headless`: see MeshService."""

    exact: int
    direct: tuple[DirectCells, ...]
    fronts: tuple[tuple[Carried, ...], ...]
    unseen: tuple[int, ...]
    headless: bool = False

    @property
    def levels(self) -> list[tuple[int, Locality]]:
        """All groups that may have endpoints, in order."""
        return sorted({cells.level for cells in self.direct} | {carried.level for front in self.fronts for carried in front})


class Layout(Row, frozen=True, kw_only=True):
    """What can be said of a shape as seen from a horizon before weights are known: a verdict for each cell, and what follows if no
    address collides with another."""

    verdicts: tuple[Verdict, ...]
    arrangement: Arrangement


class NetworkGateways(Row, frozen=True, kw_only=True):
    """The gateways of one network, sorted, each address once per cluster. `ignored`: configured or labelled candidates that give no
    address now, with the reason in words (port not exposed, hostname not resolved yet, no ingress address, ...)."""

    gateways: tuple[NetworkGateway, ...] = ()
    ignored: tuple[tuple[ObjectRef, str], ...] = ()


class GatewayShare(NamedTuple):
    """A gateway as an endpoint: its whole weight in this assignment."""

    gateway: NetworkGateway
    weight: int


class LocalityGroup(Row, frozen=True, kw_only=True):
    """One LocalityLbEndpoints: cells of direct endpoints in order, then gateways by (address, port). `weight` is the sum of all
    endpoints' weights."""

    locality: Locality
    priority: int
    direct: tuple[Traits, ...]
    gateways: tuple[GatewayShare, ...]
    weight: int


class Folded(NamedTuple):
    """A gateway's share that stands in another locality's group than its endpoints' (rule 7)."""

    gateway: NetworkGateway
    locality: Locality
    into: Locality
    weight: int


class SplitHorizon(Row, frozen=True, kw_only=True):
    """The endpoints of a service port as seen from a horizon: what thousands of services share, `arrangement`, and what is this one's own.

    `weights`: of each cell, by its position in the shape; 0 of what is not seen here. `homes` and `shares`: of each of the arrangement's
    fronts, which of the groups behind it is the one that it stands in (rule 7), and its whole weight there. `scale`: what every direct
    endpoint's weight is multiplied by (the least common multiple of rule 6). `without`: endpoints of the direct cells that are left out
    here because another network's endpoint has the same address (only a proxy of unknown network can see both), as (cell, address, port).
    `shadowed`: gateways at whose address a direct endpoint stands. `rounded`: whether weights had to be scaled down to fit (rule 6).
    """

    arrangement: Arrangement
    scale: int
    weights: tuple[int, ...]
    homes: tuple[int, ...]
    shares: tuple[int, ...]
    without: tuple[tuple[Traits, str, int], ...] = ()
    shadowed: tuple[NetworkGateway, ...] = ()
    rounded: bool = False

    @property
    def groups(self) -> tuple[LocalityGroup, ...]:
        """What it comes to, sorted by (priority, locality)."""
        direct = {cells.level: cells for cells in self.arrangement.direct}
        fronts: dict[tuple[int, Locality], list[GatewayShare]] = {}
        for front, home, share in zip(self.arrangement.fronts, self.homes, self.shares, strict=True):
            fronts.setdefault(front[home].level, []).append(GatewayShare(front[home].gateway, share))
        found = []
        for level in sorted(direct.keys() | fronts.keys()):
            _, cells, positions = direct.get(level, (level, (), ()))
            gateways = tuple(fronts.get(level, ()))
            weight = self.scale * sum(self.weights[position] for position in positions) + sum(share.weight for share in gateways)
            found.append(LocalityGroup(locality=level[1], priority=level[0], direct=cells, gateways=gateways, weight=weight))
        return tuple(found)

    @property
    def folded(self) -> tuple[Folded, ...]:
        """What stands in another group than its own (rule 7), in units of 1/exact, sorted."""
        return tuple(
            sorted(
                Folded(carried.gateway, carried.level[1], front[home].level[1], carried.units(self.weights))
                for front, home in zip(self.arrangement.fronts, self.homes, strict=True)
                for place, carried in enumerate(front)
                if place != home
            )
        )
