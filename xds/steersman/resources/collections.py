"""The collections of the resources: encoded bytes by their own keys, and which of them a proxy is sent."""

from collections.abc import Hashable
from typing import NamedTuple

from steersman.graph import Derived, NodeRef
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


TABLES_OF: Derived[str, tuple[tuple[PartKey, ...], ...]] = Derived("tables_of")
"""By node id: each table that this proxy stands at, as the parts (of one type) that it is made of, in the order in which types are sent;
empty where no such proxy is connected."""

MANIFESTS: Derived[PartKey, tuple[tuple[str, NodeRef], ...]] = Derived("manifests")
"""(resource name, the value in the graph that holds it), sorted by name, each name once. The value is of type `Resource | None`; None says
that it waits for something from outside (a signature)."""

ENCODED_CELLS: Derived[EncodedCellKey, tuple[bytes, int]] = Derived("encoded_cells")
"""The cell's LbEndpoints as fields of a LocalityLbEndpoints, and the sum of their weights."""

ASSIGNMENTS: Derived[tuple[str, SeenKey], Resource | None] = Derived("assignments")
"""ClusterLoadAssignment by (cluster name, what is seen)."""
