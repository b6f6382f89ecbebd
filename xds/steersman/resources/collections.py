"""The collections of the resources: encoded bytes by their own keys, and which of them a proxy is sent."""

from collections.abc import Hashable
from typing import NamedTuple

from steersman.graph import Derived, NodeRef
from steersman.model.facts import LeafKey
from steersman.model.ids import Key, ServicePortKey
from steersman.model.mesh import Traits
from steersman.model.objects import Protocol
from steersman.model.proxy import Interception
from steersman.resources.resource import Resource
from steersman.views.collections import SeenKey
from steersman.views.listeners import OutboundListener, VirtualHost
from steersman.views.scopes import Inbound, Outbound, Router


class PartKey(NamedTuple):
    """Some of the resources of one type. `scope` is one of the scopes of views: what of a standpoint the list depends on, never the proxy.

    A proxy's table of a type is made of one or several parts with disjoint names: what is shared by a namespace stands beside what
    is one workload's, so that neither is repeated. `by_name`: they are had by name only; no wildcard covers them.
    """

    type_url: str
    scope: Hashable
    by_name: bool = False


Rows = tuple[tuple[str, NodeRef], ...]
"""A manifest: (resource name, the value in the graph that holds it), sorted by name, each name once."""


class EncodedCellsKey(Key, frozen=True, order=True):
    """Cells of one service port that stand in one group, mostly a single one, with their weights multiplied by `scale`. `headless`: see
    MeshService."""

    port: ServicePortKey
    cells: tuple[Traits, ...]
    scale: int
    headless: bool


class InboundClusterKey(NamedTuple):
    """The application beside the proxy, on one port. `app`: its address with interception NONE, else "" (it is the address called)."""

    port: int
    protocol: Protocol
    interception: Interception
    app: str


TABLES_OF: Derived[str, tuple[tuple[PartKey, ...], ...]] = Derived("tables_of")
"""By node id: each table that this proxy stands at, as the parts (of one type) that it is made of, in the order in which types are sent;
empty where no such proxy is connected."""

MANIFESTS: Derived[PartKey, tuple[tuple[str, NodeRef], ...]] = Derived("manifests")
"""(resource name, the value in the graph that holds it), sorted by name, each name once. The value is of type `Resource | None`; None says
that it waits for something from outside (a signature)."""

LOCAL_SERVICES: Derived[str, tuple[bool, bool]] = Derived("local_services")
"""By the client's namespace: whether any service that it may call is cluster-local, and whether any is node-local. Where none is, neither
the client's cluster nor its node decides anything about endpoints."""

# -- clusters -----------------------------------------------------------------------------------------------------------------

OUTBOUND_CLUSTERS: Derived[ServicePortKey, Resource | None] = Derived("outbound_clusters")
"""`outbound|PORT||HOST`, the same for every proxy that may call it; None (here and below) where no such cluster is to be had."""

PASSTHROUGH_CLUSTERS: Derived[ServicePortKey, Resource | None] = Derived("passthrough_clusters")
"""`outbound_.PORT_._.HOST`, at AUTO_PASSTHROUGH gateways."""

PROXYLESS_CLUSTERS: Derived[ServicePortKey, Resource | None] = Derived("proxyless_clusters")
"""`outbound|PORT||HOST` as gRPC takes it."""

INBOUND_CLUSTERS: Derived[InboundClusterKey, Resource] = Derived("inbound_clusters")
"""`inbound|PORT||`"""

FIXED_CLUSTERS: Derived[str, Resource] = Derived("fixed_clusters")
"""By name: BlackHoleCluster, PassthroughCluster, InboundPassthroughCluster."""

# -- endpoints ----------------------------------------------------------------------------------------------------------------

ENCODED_CELLS: Derived[EncodedCellsKey, bytes] = Derived("encoded_cells")
"""The cells' LbEndpoints as fields of a LocalityLbEndpoints, sorted by (address, port) over all of them."""

ASSIGNMENTS: Derived[tuple[str, SeenKey], Resource] = Derived("assignments")
"""ClusterLoadAssignment by (cluster name, what is seen)."""

# -- secrets ------------------------------------------------------------------------------------------------------------------

LEAF_SECRETS: Derived[LeafKey, Resource | None] = Derived("leaf_secrets")
"""`default`: the workload's own certificate and key; None until it is signed. Reading it is what gets it signed."""

ROOT_SECRETS: Derived[str, Resource | None] = Derived("root_secrets")
"""`ROOTCA`, key "": whom the mesh trusts; None until there is a CA."""

# -- listeners ----------------------------------------------------------------------------------------------------------------

OUTBOUND_LISTENERS: Derived[OutboundListener, Resource] = Derived("outbound_listeners")
"""The key says all of a listener, so that every scope that has an equal one shares its bytes."""

INBOUND_LISTENERS: Derived[tuple[Inbound, str], Resource | None] = Derived("inbound_listeners")
"""By scope and name; None (here and below) for a name that the scope doesn't have."""

ROUTER_LISTENERS: Derived[tuple[Router, str], Resource | None] = Derived("router_listeners")

PASSTHROUGH_CHAINS: Derived[str, bytes] = Derived("passthrough_chains")
"""By SNI: the filter chain that leads to its passthrough cluster, as a field of a Listener."""

PROXYLESS_LISTENERS: Derived[tuple[str, ServicePortKey], Resource | None] = Derived("proxyless_listeners")
"""By what the gRPC client dials, and the service port that it thereby means."""

# -- routes -------------------------------------------------------------------------------------------------------------------

VIRTUAL_HOSTS: Derived[VirtualHost, bytes] = Derived("virtual_hosts")
"""As a field of a RouteConfiguration."""

OUTBOUND_ROUTES: Derived[tuple[Outbound, int], Resource] = Derived("outbound_routes")
"""`PORT`, by scope (see ROUTE_HOSTS) and port number."""

ROUTER_ROUTES: Derived[tuple[Router, str], Resource | None] = Derived("router_routes")

PROXYLESS_ROUTES: Derived[ServicePortKey, Resource | None] = Derived("proxyless_routes")
"""Named as the cluster it leads to."""
