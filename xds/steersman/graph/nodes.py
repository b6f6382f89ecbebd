"""What the engine is made of: a node for each value, with its edges, and for each collection the plan by which its nodes are made."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from steersman.graph.collections import Again, Collection, Compute, Reader


class UndeclaredRead(Exception):
    """A compute function read a collection that its edge in the wiring does not name: our bug, and never served from."""


class ComputeFailed(Exception):
    """A compute function raised. Stands in place of its value: whoever reads it fails with it, and nothing else does."""

    def __init__(self, ref: "NodeRef", cause: BaseException) -> None:
        self.ref = ref
        super().__init__(f"{ref}: {type(cause).__name__}: {cause}")
        self.__cause__ = cause


class NodeRef(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """One value of one collection."""

    collection: Collection[Any, Any]
    key: Any

    def __str__(self) -> str:
        return f"{self.collection.name}[{self.key}]"


class Demand(msgspec.Struct, gc=False):
    """That a value is needed: how often, and the reference by which it is reported."""

    ref: NodeRef
    times: int = 1


class Failed:
    """The value of a node whose computation raised. Never equal to another, so that a retry always propagates."""

    __slots__ = ("error",)

    def __init__(self, error: ComputeFailed) -> None:
        self.error = error


class PutOff(BaseException):
    """Leaves a computation that has made as many values as one step may, through those that run for it; what was made stays."""


class Node:
    """One value with its edges. `deps` and `dependents` are None, the only one, a tuple of few or (dependents) a dict of many, in the order
    in which they came: nearly all nodes have few, and what holds one alone costs more than it does."""

    __slots__ = ("demand", "dependents", "deps", "key", "plan", "value")

    def __init__(self, plan: "Plan", key: Any) -> None:
        self.plan = plan
        self.key = key
        self.value: Any = None
        self.deps: Any = None
        self.dependents: Any = None
        self.demand: Demand | None = None

    def each_dep(self) -> tuple["Node", ...]:
        deps = self.deps
        return deps if type(deps) is tuple else () if deps is None else (deps,)

    def add_dependent(self, node: "Node") -> None:
        """Adds one that may be there already."""
        held = self.dependents
        if held is None:
            self.dependents = node
        elif type(held) is dict:
            held[node] = None
        elif type(held) is not tuple:
            if held is not node:
                self.dependents = (held, node)
        elif node not in held:
            self.dependents = (*held, node) if len(held) < _FEW else dict.fromkeys((*held, node))

    def drop_dependent(self, node: "Node") -> None:
        held = self.dependents
        if held is node:
            self.dependents = None
        elif type(held) is dict:
            held.pop(node, None)
            if len(held) <= _FEW // 2:
                self.dependents = tuple(held)
        elif type(held) is tuple:
            left = tuple([other for other in held if other is not node])
            self.dependents = left if len(left) > 1 else left[0] if left else None

    def each_dependent(self) -> Iterable["Node"]:
        held = self.dependents
        if held is None:
            return ()
        return (held,) if type(held) is Node else tuple(held)


_FEW = 16
"""Dependents that are looked through one by one: a dict of so many takes four times as much, and an assignment is seen from about a dozen
places."""


KEPT = 1 << 13
"""Nodes of a collection of which is kept what they go on from, those computed anew last: at some 500 bytes each."""


class Plan:
    """How one collection's nodes are made: its level, its function, and what that may read."""

    __slots__ = ("again", "by_row", "collection", "compute", "deps", "from_the_first", "kept", "key", "level", "nodes", "of", "read")

    def __init__(
        self,
        collection: Collection[Any, Any],
        level: int,
        compute: Compute[Any, Any] | None,
        of: "Plan | None" = None,
        again: Again[Any, Any] | None = None,
        *,
        from_the_first: bool = False,
    ) -> None:
        self.collection = collection
        self.level = level
        self.compute = compute
        self.again = again
        self.from_the_first = from_the_first
        self.kept: OrderedDict[Node, Any] = OrderedDict()
        """What `again` kept, the latest last. (A node's hash is its identity; a key may take a microsecond to hash.)"""
        self.of = of
        """The table of whose rows each value is one's, under the row's key: that the value reads its row goes without an edge."""
        self.by_row: list[Plan] = []
        """The collections that are `of` this table."""
        self.nodes: dict[Any, Node] = {}
        self.read: Reader = _unread
        self.key: Any = None
        """Of the value that is being computed."""
        self.deps: list[Node] = []
        """What the computation that is running has read. One list will do: a collection never reads itself, not even through others."""

    def anew(self, node: Node) -> Any:
        """The value of a node that may go on from what was kept of it. A computation that raises or is put
        off leaves that as it was: it says itself what it is of."""
        assert self.again is not None
        value, kept = self.again(self.read, node.key, self.kept.get(node))
        if kept is None:
            self.kept.pop(node, None)
            return value
        self.kept[node] = kept
        self.kept.move_to_end(node)
        if len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return value


def _unread(collection: Collection[Any, Any], key: Any, /) -> Any:
    """The `read` of what isn't computed."""
    raise UndeclaredRead(f"{collection.name} was read by a table or an index")


def recorder(plan: Plan, sources: list[Plan], made: Callable[[Plan, Any], Node]) -> Reader:
    """The `read` of one collection's computations. Reads outnumber all else that is done here, so this looks up as little as it can."""
    plans = {source.collection: source for source in sources}
    nodes_of = {source.collection: source.nodes for source in sources}
    record = plan.deps.append

    def read(collection: Collection[Any, Any], key: Any, /) -> Any:
        try:
            node = nodes_of[collection].get(key)
        except KeyError:
            raise UndeclaredRead(f"{plan.collection.name} read {collection.name}, which its edge does not declare") from None
        if node is None:
            node = made(plans[collection], key)
        record(node)
        value = node.value
        if type(value) is Failed:
            raise value.error
        return value

    return read


def row_recorder(plan: Plan, rows: dict[Any, Any], read_other: Reader) -> Reader:
    """The same where each value is of a row of a table, which is read without being recorded."""
    assert plan.of is not None
    own = plan.of.collection

    def read(collection: Collection[Any, Any], key: Any, /) -> Any:
        if collection is own and key == plan.key:
            return rows.get(key)
        return read_other(collection, key)

    return read
