"""The collections of the resources: encoded bytes by their own keys, and which of them a proxy is sent."""

from collections.abc import Hashable
from typing import NamedTuple

from steersman.graph import Derived, NodeRef
from steersman.model.facts import LeafKey
from steersman.model.ids import ServicePortKey
from steersman.model.objects import Protocol
from steersman.model.proxy import Interception
from steersman.registry.collections import CellKey
from steersman.resources.resource import Resource
from steersman.views.collections import SeenKey


class PartKey(NamedTuple):
    """Some of the resources of one type. `scope` is one of the scopes of views: what of a standpoint the list depends on, never the proxy.

    A proxy's table of a type is made of one or several parts with disjoint names: what is shared by a namespace stands beside what
    is one workload's, so that neither is repeated.
    """

    type_url: str
    scope: Hashable


class EncodedCellKey(NamedTuple):
    """A cell with its weights multiplied by `scale`."""

    cell: CellKey
    scale: int


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

ENCODED_CELLS: Derived[EncodedCellKey, bytes] = Derived("encoded_cells")
"""The cell's LbEndpoints as fields of a LocalityLbEndpoints, in the cell's order."""

ASSIGNMENTS: Derived[tuple[str, SeenKey], Resource] = Derived("assignments")
"""ClusterLoadAssignment by (cluster name, what is seen)."""

# -- secrets ------------------------------------------------------------------------------------------------------------------

LEAF_SECRETS: Derived[LeafKey, Resource | None] = Derived("leaf_secrets")
"""`default`: the workload's own certificate and key; None until it is signed. Reading it is what gets it signed."""

ROOT_SECRETS: Derived[str, Resource | None] = Derived("root_secrets")
"""`ROOTCA`, key "": whom the mesh trusts; None until there is a CA."""
