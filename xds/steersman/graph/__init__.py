"""The incremental engine. It has never heard of xDS: it knows tables, indexes and pure functions of them."""

from steersman.graph.collections import Again, Collection, Compute, Derived, Index, Reader, Table
from steersman.graph.differences import differences, exchanged
from steersman.graph.engine import Graph, Settled
from steersman.graph.nodes import ComputeFailed, NodeRef, UndeclaredRead

__all__ = [
    "Again",
    "Collection",
    "Compute",
    "ComputeFailed",
    "Derived",
    "Graph",
    "Index",
    "NodeRef",
    "Reader",
    "Settled",
    "Table",
    "UndeclaredRead",
    "differences",
    "exchanged",
]
