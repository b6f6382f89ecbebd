"""The wiring: every table, index and derived collection, and which may read which. Data flows down this page, never up.

facts -> tables -> registry (one mesh) -> views (by standpoint) -> resources (bytes) -> manifests (what each proxy is sent)
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

import msgspec

from steersman.graph import Graph, NodeRef
from steersman.model.facts import Delete, Fact, Origin, Synced, Upsert
from steersman.model.objects import Kind
from steersman.registry import (
    cells,
    endpoints,
    families,
    gateways,
    identities,
    mesh,
    networks,
    outages,
    services,
    source_cells,
    workloads,
)
from steersman.registry.collections import (
    ALL_CLUSTERS,
    ALL_SERVICES,
    CELL_INDEX,
    CELL_SOURCES,
    CELLS,
    CIDR_NETWORKS,
    CLUSTER_NETWORKS,
    CLUSTER_OUTAGES,
    CLUSTER_STATES,
    CLUSTER_TRUST,
    CLUSTERS,
    ENDPOINT_SOURCES,
    GATEWAY_ADDRESSES,
    GATEWAYS,
    GATEWAYS_IN,
    HOSTS,
    IDENTITIES,
    INDEXES,
    LABELS_WITH,
    LEAVES,
    LIMITED_SERVICES,
    MESH,
    MESH_SERVICES,
    NAMESPACES,
    NETWORK_GATEWAYS,
    NETWORK_SERVICES,
    NETWORK_SERVICES_IN,
    NETWORKS,
    NODES,
    NODES_IN,
    POD_CANDIDATES,
    POD_ENDPOINTS,
    PODS,
    PODS_AT,
    PODS_LABELLED,
    PROXIES,
    RESOLVED,
    ROOTS,
    SERVICE_KEYS,
    SERVICES,
    SERVICES_AT,
    SERVICES_NAMED,
    SERVICES_OF_NETWORK,
    SERVICES_SELECTING,
    SLICE_CANDIDATES,
    SLICE_ENDPOINTS,
    SLICE_MEMBERS,
    SLICES,
    SLICES_LISTING,
    SLICES_OF,
    SLICES_OF_FAMILY,
    SOURCE_CELLS,
    SOURCE_IDENTITIES,
    TABLES,
    TWINS,
    VIPS,
    VISIBLE_SERVICES,
    WORKLOADS,
)
from steersman.resources import (
    clusters,
    gateway_listeners,
    inbound_listeners,
    listeners,
    manifests,
    proxyless,
    routes,
    secrets,
)
from steersman.resources import endpoints as assignments
from steersman.resources.collections import (
    ASSIGNMENTS,
    ENCODED_CELLS,
    FIXED_CLUSTERS,
    INBOUND_CLUSTERS,
    INBOUND_LISTENERS,
    LEAF_SECRETS,
    LOCAL_SERVICES,
    MANIFESTS,
    OUTBOUND_CLUSTERS,
    OUTBOUND_LISTENERS,
    OUTBOUND_ROUTES,
    PASSTHROUGH_CHAINS,
    PASSTHROUGH_CLUSTERS,
    PROXYLESS_CLUSTERS,
    PROXYLESS_LISTENERS,
    PROXYLESS_ROUTES,
    ROOT_SECRETS,
    ROUTER_LISTENERS,
    ROUTER_ROUTES,
    TABLES_OF,
    VIRTUAL_HOSTS,
)
from steersman.views import (
    admission,
    callees,
    inbound,
    ports,
    servers,
    split_horizon,
    standpoints,
    verdicts,
)
from steersman.views.collections import (
    ADMISSIONS,
    CALLABLE,
    CALLEES,
    CLAIMS,
    INBOUNDS,
    LAYOUTS,
    OUTBOUND_PORTS,
    OUTBOUNDS,
    ROUTE_HOSTS,
    ROUTERS,
    SEEN,
    SERVER_PORTS,
    SERVERS,
    STANDPOINTS,
    TRUST_DOMAINS,
    VERDICTS,
)

Absorb = Callable[[tuple[NodeRef, ...]], None]

Cause = tuple[Kind, Any]
"""A fact that changed something: its kind and key. Its origin is in `Pipeline.origins`."""


_NO_OBJECTS = (Kind.FINDING, Kind.CLUSTER_STATE, Kind.HELD_REMOVAL)
"""What a source says beside its objects."""


class Origins(MutableMapping[Cause, Origin]):
    """Where each object came from. Kept by kind, so that there is no key more for each object."""

    def __init__(self) -> None:
        self._of_kind: dict[Kind, dict[Any, Origin]] = {kind: {} for kind in Kind}

    def __getitem__(self, cause: Cause) -> Origin:
        return self._of_kind[cause[0]][cause[1]]

    def __setitem__(self, cause: Cause, origin: Origin) -> None:
        self._of_kind[cause[0]][cause[1]] = origin

    def __delitem__(self, cause: Cause) -> None:
        del self._of_kind[cause[0]][cause[1]]

    def replace(self, kind: Kind, key: Any, origin: Origin | None) -> Origin | None:
        """Sets it, or with None takes it away; what stood there."""
        held = self._of_kind[kind]
        before = held.get(key)
        if origin is not None:
            held[key] = origin
        elif before is not None:
            del held[key]
        return before

    def __iter__(self) -> Iterator[Cause]:
        return ((kind, key) for kind, held in self._of_kind.items() for key in held)

    def __len__(self) -> int:
        return sum(map(len, self._of_kind.values()))

    def all(self) -> list[tuple[Kind, list[tuple[Any, Origin]]]]:
        """As they are now, by kind: a copy, to be looked through in steps."""
        return [(kind, list(held.items())) for kind, held in self._of_kind.items()]

    def of(self, source: str) -> list[Cause]:
        """What came from this source."""
        return [(kind, key) for kind, held in self._of_kind.items() for key, origin in held.items() if origin.source == source]


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """A complete state. `changed`: the demanded values that are new or different. `causes`: the facts taken together, by kind and key, with
    their origins as of then (None for one that was deleted). `computed`: how many values it took."""

    number: int
    causes: Mapping[Kind, Mapping[Any, Origin | None]]
    changed: tuple[NodeRef, ...]
    computed: int


class Pipeline:
    """The graph, wired, and what stands beside it: where each object came from, which only explain and history read."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.origins = Origins()
        self.held: Counter[str] = Counter()
        """How many objects each source has told and not taken back."""
        self.synced: frozenset[str] = frozenset()
        self.generation = 0
        self._causes: dict[Kind, dict[Any, Origin | None]] = {}
        wire_inputs(self.graph)
        wire_registry(self.graph)
        wire_cells(self.graph)
        wire_views(self.graph)
        wire_resources(self.graph)

    def apply(self, facts: Iterable[Fact]) -> None:
        """Writes facts; the next settlement takes them together. Not while one runs."""
        for fact in facts:
            match fact:
                case Upsert():
                    self._hold(fact.kind, fact.key, fact.origin, self.graph.put(TABLES[fact.kind], fact.key, fact.value))
                case Delete():
                    self._hold(fact.kind, fact.key, None, self.graph.delete(TABLES[fact.kind], fact.key))
                case Synced():
                    self.synced |= {fact.source}

    def _hold(self, kind: Kind, key: Any, origin: Origin | None, changed: bool) -> None:
        """Keeps an object's origin beside it, and the count of each source's objects; and notes what the next generation comes from."""
        before = self.origins.replace(kind, key, origin)
        if kind not in _NO_OBJECTS and (before is None or origin is None or before.source != origin.source):
            if before is not None:
                self.held[before.source] -= 1
            if origin is not None:
                self.held[origin.source] += 1
        causes = self._causes.setdefault(kind, {})
        if changed or key in causes:
            causes[key] = origin

    def settling(self, absorb: Absorb | None = None) -> Generator[None, None, Generation]:
        """Settles in steps (see Graph.settling) into the next generation.

        After each pass `absorb` is told what changed and may demand what has thereby turned out to be needed; passes go on until nothing
        waits, so that a generation never names a resource that it does not hold.
        """
        changed: tuple[NodeRef, ...] = ()
        computed = 0
        while True:
            settled = yield from self.graph.settling()
            computed += settled.computed
            changed = tuple(dict.fromkeys((*changed, *settled.changed))) if changed else settled.changed
            yield
            if absorb is not None:
                absorb(settled.changed)
                yield
            if self.graph.settled:
                break
        self.generation += 1
        causes, self._causes = self._causes, {}
        return Generation(number=self.generation, causes=causes, changed=changed, computed=computed)

    def settle(self, absorb: Absorb | None = None) -> Generation:
        """Settles in one go."""
        run = self.settling(absorb)
        while True:
            try:
                next(run)
            except StopIteration as end:
                generation: Generation = end.value
                return generation


def wire_inputs(graph: Graph) -> None:
    """sources -> tables -> indexes"""
    for table in TABLES.values():
        graph.table(table)
    for index in INDEXES:
        graph.index(index)


def wire_registry(graph: Graph) -> None:
    """tables, indexes -> one mesh"""
    # services of all clusters --> SERVICE_KEYS --.
    #          |                                  +--> VISIBLE_SERVICES (by namespace)
    #          '---------------> MESH_SERVICES ---+
    #                                             '--> VIPS (by cluster)
    graph.derive(SERVICE_KEYS, services.service_keys, reads=(ALL_SERVICES,))
    graph.derive(MESH_SERVICES, services.mesh_service, reads=(SERVICES_NAMED, SERVICES, MESH))
    graph.derive(VISIBLE_SERVICES, services.visible_services, reads=(SERVICE_KEYS, LIMITED_SERVICES, MESH_SERVICES))
    graph.derive(VIPS, services.vips, reads=(MESH_SERVICES, ALL_CLUSTERS, SERVICES_AT, SERVICES, PODS_AT))

    # mesh.networks ------+--> CLUSTER_NETWORKS --.
    # system namespaces --+--> CLUSTER_TRUST -----+--> HOSTS --+--> WORKLOADS (each pod, placed)
    # clusters -----------'                 nodes-'            |
    # mesh.networks ---------> CIDR_NETWORKS ------------------'
    graph.derive(CLUSTER_NETWORKS, networks.cluster_network, reads=(MESH, CLUSTERS, NAMESPACES))
    graph.derive(CIDR_NETWORKS, networks.cidr_networks, reads=(MESH,))
    graph.derive(CLUSTER_TRUST, mesh.trust_domain_of, reads=(CLUSTERS, MESH))
    graph.derive(CLUSTER_OUTAGES, outages.outage_of, reads=(CLUSTER_STATES, ALL_CLUSTERS))
    graph.derive(HOSTS, workloads.host, reads=(NODES, CLUSTER_TRUST, CLUSTER_NETWORKS))
    graph.derive(WORKLOADS, workloads.workload, reads=(HOSTS, CLUSTER_NETWORKS, CIDR_NETWORKS), of=PODS)

    # slices ---------------> ENDPOINT_SOURCES (slices, or pods where there are none)
    # slices --+--------------------------------------------------------------------.
    #          +--> SLICE_MEMBERS (who stands in it) --+--> SLICE_CANDIDATES (placed) +--> SLICE_ENDPOINTS (who is ready)
    #          '--> TWINS -----------------------------+
    # WORKLOADS ---------------------------------------+--> POD_CANDIDATES -----------> POD_ENDPOINTS
    placing = (WORKLOADS, PODS, NODES, CLUSTER_NETWORKS, CIDR_NETWORKS)
    graph.derive(ENDPOINT_SOURCES, endpoints.endpoint_sources, reads=(SERVICES, SLICES_OF, CLUSTERS))
    graph.derive(TWINS, families.twins, reads=(SLICES_OF_FAMILY, SLICES))
    graph.derive(SLICE_MEMBERS, endpoints.slice_members, reads=(SLICES,))
    graph.derive(
        SLICE_CANDIDATES,
        endpoints.slice_candidates,
        reads=(SLICE_MEMBERS, SERVICES, MESH_SERVICES, TWINS, *placing),
        again=endpoints.slice_candidates_again,
    )
    graph.derive(SLICE_ENDPOINTS, endpoints.slice_endpoints, reads=(SLICES, SLICE_CANDIDATES))
    graph.derive(POD_CANDIDATES, endpoints.pod_candidates, reads=(SERVICES, LABELS_WITH, PODS_LABELLED, MESH_SERVICES, TWINS, *placing))
    graph.derive(POD_ENDPOINTS, endpoints.pod_endpoints, reads=(POD_CANDIDATES,))

    # labelled services, mesh.networks, nodes, resolved hostnames --> NETWORK_GATEWAYS --> GATEWAY_ADDRESSES
    graph.derive(NETWORKS, networks.networks, reads=(MESH, NETWORK_SERVICES, SERVICES))
    graph.derive(
        NETWORK_GATEWAYS,
        gateways.network_gateways,
        reads=(MESH, SERVICES_OF_NETWORK, SERVICES_NAMED, SERVICES, NODES_IN, NODES, RESOLVED),
    )
    graph.derive(GATEWAY_ADDRESSES, gateways.gateway_addresses, reads=(NETWORKS, NETWORK_GATEWAYS))


def wire_cells(graph: Graph) -> None:
    """endpoints as they are listed -> those that no rule can tell apart, together"""
    # SLICE_ENDPOINTS --.                      .--> CELL_INDEX (which cells, how heavy) --> CELL_SOURCES --.
    #                   +--> SOURCE_CELLS -----+-----------------------------------------------------------+--> CELLS (their endpoints)
    # POD_ENDPOINTS ----'
    # SLICE_CANDIDATES, POD_CANDIDATES --> SOURCE_IDENTITIES --> IDENTITIES
    graph.derive(
        SOURCE_CELLS,
        source_cells.source_cells,
        reads=(SLICE_ENDPOINTS, POD_ENDPOINTS),
        again=source_cells.source_cells_again,
        from_the_first=True,
    )
    graph.derive(
        CELL_INDEX,
        cells.cell_index,
        reads=(SERVICES_NAMED, SERVICES, MESH_SERVICES, ENDPOINT_SOURCES, SOURCE_CELLS, PODS, GATEWAY_ADDRESSES),
        again=cells.cell_index_again,
    )
    graph.derive(CELL_SOURCES, cells.cell_sources, reads=(CELL_INDEX,))
    graph.derive(CELLS, cells.cells, reads=(CELL_SOURCES, SOURCE_CELLS), again=cells.cells_again)
    graph.derive(SOURCE_IDENTITIES, identities.source_identities, reads=(SLICE_CANDIDATES, POD_CANDIDATES))
    graph.derive(IDENTITIES, identities.identities, reads=(SERVICES_NAMED, ENDPOINT_SOURCES, SOURCE_IDENTITIES))


def wire_views(graph: Graph) -> None:
    """mesh x standpoint -> what is seen"""
    # connected proxies --> STANDPOINTS
    placed = (WORKLOADS, CLUSTER_TRUST, CLUSTER_NETWORKS, CIDR_NETWORKS)
    graph.derive(
        STANDPOINTS,
        standpoints.standpoint,
        reads=(PROXIES, CLUSTERS, MESH, PODS_AT, PODS, *placed, NETWORK_SERVICES_IN, SERVICES_NAMED, SERVICES),
    )

    # NETWORK_GATEWAYS, CLUSTER_OUTAGES --> VERDICTS --> LAYOUTS --.
    # CELL_INDEX --------------------------------------------------+--> SEEN (by service port and horizon; what explain reads)
    graph.derive(VERDICTS, verdicts.verdict, reads=(MESH, NETWORK_GATEWAYS, CLUSTER_OUTAGES))
    graph.derive(LAYOUTS, split_horizon.layout_of, reads=(VERDICTS,))
    graph.derive(SEEN, split_horizon.seen_from, reads=(CELL_INDEX, CELLS, LAYOUTS))
    wire_listening(graph)


def wire_listening(graph: Graph) -> None:
    """mesh x standpoint -> what is listened on, and by which names"""
    # pods, services, slices --+--> INBOUNDS --> OUTBOUNDS (by node: the scopes of its listeners)
    # STANDPOINTS -------------+--> ROUTERS (which Gateways select it)
    here = (PROXIES, STANDPOINTS, PODS, SERVICES_SELECTING, SERVICES, SLICES_LISTING, SLICES)
    graph.derive(TRUST_DOMAINS, inbound.trust_domains, reads=(ALL_CLUSTERS, CLUSTERS, MESH))
    graph.derive(INBOUNDS, inbound.inbound_of, reads=(*here, TRUST_DOMAINS))
    graph.derive(OUTBOUNDS, ports.outbound_of, reads=(PROXIES, STANDPOINTS, INBOUNDS))
    graph.derive(ROUTERS, servers.router_of, reads=(*here, GATEWAYS_IN, GATEWAYS))

    # MESH_SERVICES --> CALLEES (what each service is called by) --> CALLABLE (all that a namespace may call, by name)
    graph.derive(CALLEES, callees.callees_of, reads=(MESH_SERVICES, MESH))
    graph.derive(CALLABLE, callees.callable_in, reads=(VISIBLE_SERVICES, CALLEES))

    # VIPS, CELLS, VERDICTS --+--> CLAIMS (what each service asks for) --> OUTBOUND_PORTS (who gets it) --> ROUTE_HOSTS (by which names)
    # CALLEES ----------------'
    # Gateways --> SERVER_PORTS (what a router listens for) --+--> SERVERS
    # IDENTITIES --> ADMISSIONS (whom it lets in) ------------'
    graph.derive(CLAIMS, ports.claims_of, reads=(MESH_SERVICES, CALLEES, VIPS, CELL_INDEX, CELLS, VERDICTS))
    graph.derive(OUTBOUND_PORTS, ports.outbound_ports_of, reads=(VISIBLE_SERVICES, CLAIMS))
    graph.derive(ROUTE_HOSTS, ports.route_hosts_of, reads=(OUTBOUND_PORTS, MESH))
    graph.derive(SERVER_PORTS, servers.server_ports_of, reads=(GATEWAYS, MESH))
    graph.derive(ADMISSIONS, admission.admission_of, reads=(MESH_SERVICES, IDENTITIES, SERVICES, SERVICES_NAMED, NETWORK_SERVICES_IN, MESH))
    graph.derive(SERVERS, admission.servers_of, reads=(SERVER_PORTS, VISIBLE_SERVICES, ADMISSIONS))


def wire_resources(graph: Graph) -> None:
    """what is seen -> bytes -> manifests"""
    wire_clusters(graph)
    wire_endpoints(graph)
    wire_secrets(graph)
    wire_listeners(graph)
    wire_routes(graph)
    wire_manifests(graph)


def wire_clusters(graph: Graph) -> None:
    """services, who may answer for them -> clusters"""
    # MESH_SERVICES --+--> PROXYLESS_CLUSTERS, PASSTHROUGH_CLUSTERS
    # IDENTITIES -----+--> OUTBOUND_CLUSTERS
    graph.derive(OUTBOUND_CLUSTERS, clusters.outbound_cluster_of, reads=(MESH_SERVICES, IDENTITIES))
    graph.derive(PASSTHROUGH_CLUSTERS, clusters.passthrough_cluster_of, reads=(MESH_SERVICES,))
    graph.derive(PROXYLESS_CLUSTERS, clusters.proxyless_cluster_of, reads=(MESH_SERVICES,))
    graph.derive(INBOUND_CLUSTERS, clusters.inbound_cluster_of, reads=())
    graph.derive(FIXED_CLUSTERS, clusters.fixed_cluster_of, reads=())


def wire_endpoints(graph: Graph) -> None:
    """cells -> bytes, once; what is seen -> which of them, in which order"""
    # CELLS --> ENCODED_CELLS --+--> ASSIGNMENTS (by cluster name and what is seen)
    # CELL_INDEX, LAYOUTS ------'
    graph.derive(ENCODED_CELLS, assignments.encoded_cells, reads=(CELLS,), again=assignments.encoded_cells_again, from_the_first=True)
    graph.derive(ASSIGNMENTS, assignments.assignment_of, reads=(CELL_INDEX, LAYOUTS, CELLS, ENCODED_CELLS))


def wire_secrets(graph: Graph) -> None:
    """signed leaves, roots -> secrets"""
    graph.derive(LEAF_SECRETS, secrets.leaf_secret_of, reads=(LEAVES,))
    graph.derive(ROOT_SECRETS, secrets.root_secret_of, reads=(ROOTS,))


def wire_listeners(graph: Graph) -> None:
    """what is listened on -> listeners"""
    # (keys that say all of a listener) --> OUTBOUND_LISTENERS, INBOUND_LISTENERS
    # PASSTHROUGH_CHAINS (by SNI) --+--> ROUTER_LISTENERS
    # SERVERS ----------------------'
    graph.derive(OUTBOUND_LISTENERS, listeners.outbound_listener_of, reads=(MESH,))
    graph.derive(INBOUND_LISTENERS, inbound_listeners.inbound_listener_of, reads=())
    graph.derive(PASSTHROUGH_CHAINS, gateway_listeners.passthrough_chain_of, reads=())
    graph.derive(ROUTER_LISTENERS, gateway_listeners.router_listener_of, reads=(SERVERS, TRUST_DOMAINS, PASSTHROUGH_CHAINS))
    graph.derive(PROXYLESS_LISTENERS, proxyless.proxyless_listener_of, reads=(MESH_SERVICES,))


def wire_routes(graph: Graph) -> None:
    """by which names -> routes"""
    # VIRTUAL_HOSTS (bytes, once) --+--> OUTBOUND_ROUTES, ROUTER_ROUTES
    # ROUTE_HOSTS, SERVERS ---------'
    graph.derive(VIRTUAL_HOSTS, routes.virtual_host_of, reads=())
    graph.derive(OUTBOUND_ROUTES, routes.outbound_route_of, reads=(ROUTE_HOSTS, VIRTUAL_HOSTS))
    graph.derive(ROUTER_ROUTES, routes.router_route_of, reads=(SERVERS, VIRTUAL_HOSTS))
    graph.derive(PROXYLESS_ROUTES, proxyless.proxyless_route_of, reads=(MESH_SERVICES,))


def wire_manifests(graph: Graph) -> None:
    """where a proxy stands -> the parts of its tables; a part -> its resources, by name"""
    # STANDPOINTS, INBOUNDS, OUTBOUNDS, ROUTERS --> TABLES_OF (by node)
    # CALLABLE, SERVERS -------------------------> MANIFESTS (by part)
    graph.derive(LOCAL_SERVICES, manifests.local_services, reads=(CALLABLE,))
    graph.derive(TABLES_OF, manifests.tables_of, reads=(PROXIES, STANDPOINTS, INBOUNDS, OUTBOUNDS, ROUTERS, LOCAL_SERVICES))
    graph.derive(MANIFESTS, manifests.manifest_of, reads=(CALLABLE, MESH_SERVICES, OUTBOUND_PORTS, SERVERS, MESH))
