"""The engine: memoised computations that are brought up to date by what changed, and by nothing else.

Every collection has a level above the levels of all it may read, so one pass in order of levels brings everything up to date, and each
node gets one value a settlement. A node that comes out equal stops there. Nodes exist by demand: one that nobody reads
and nobody demands is unlinked.
"""

import math
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import msgspec

from steersman.graph.collections import Collection, Compute, Derived, Index, Reader, Table

AT_ONCE = 256
"""Values that a computation makes in one step of a settlement before it is put off: at 20 to 50 us each, about 10 ms."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
S = TypeVar("S", bound=Hashable)
R = TypeVar("R")


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


class _Demand(msgspec.Struct):
    """That a value is needed: how often, and the reference by which it is reported."""

    ref: NodeRef
    times: int = 1


class Settled(NamedTuple):
    """What a settlement changed: the demanded values that are new or different (in no order), and how many nodes were computed."""

    changed: tuple[NodeRef, ...]
    computed: int


class _Failed:
    """The value of a node whose computation raised. Never equal to another, so that a retry always propagates."""

    __slots__ = ("error",)

    def __init__(self, error: ComputeFailed) -> None:
        self.error = error


class _PutOff(BaseException):
    """Leaves a computation that has made as many values as one step may, through those that run for it; what was made stays."""


class _Node:
    """One value with its edges. `deps` and `dependents` are None, the only one, a tuple of few or (dependents) a dict of many, in the order
    in which they came: nearly all nodes have few, and what holds one alone costs more than it does."""

    __slots__ = ("demand", "dependents", "deps", "key", "plan", "value")

    def __init__(self, plan: "_Plan", key: Any) -> None:
        self.plan = plan
        self.key = key
        self.value: Any = None
        self.deps: Any = None
        self.dependents: Any = None
        self.demand: _Demand | None = None

    def each_dep(self) -> tuple["_Node", ...]:
        deps = self.deps
        return deps if type(deps) is tuple else () if deps is None else (deps,)

    def add_dependent(self, node: "_Node") -> None:
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

    def drop_dependent(self, node: "_Node") -> None:
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

    def each_dependent(self) -> Iterable["_Node"]:
        held = self.dependents
        if held is None:
            return ()
        return (held,) if type(held) is _Node else tuple(held)


_FEW = 8
"""Dependents that are looked through one by one."""


class _Plan:
    """How one collection's nodes are made: its level, its function, and what that may read."""

    __slots__ = ("by_row", "collection", "compute", "deps", "key", "level", "nodes", "of", "read")

    def __init__(self, collection: Collection[Any, Any], level: int, compute: Compute[Any, Any] | None, of: "_Plan | None" = None) -> None:
        self.collection = collection
        self.level = level
        self.compute = compute
        self.of = of
        """The table of whose rows each value is one's, under the row's key: that the value reads its row goes without an edge."""
        self.by_row: list[_Plan] = []
        """The collections that are `of` this table."""
        self.nodes: dict[Any, _Node] = {}
        self.read: Reader = _unread
        self.key: Any = None
        """Of the value that is being computed."""
        self.deps: list[_Node] = []
        """What the computation that is running has read. One list will do: a collection never reads itself, not even through others."""


def _unread(collection: Collection[Any, Any], key: Any, /) -> Any:
    """The `read` of what isn't computed."""
    raise UndeclaredRead(f"{collection.name} was read by a table or an index")


def _recorder(plan: _Plan, sources: list[_Plan], made: Callable[[_Plan, Any], _Node]) -> Reader:
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
        if type(value) is _Failed:
            raise value.error
        return value

    return read


def _row_recorder(plan: _Plan, rows: dict[Any, Any], read_other: Reader) -> Reader:
    """The same where each value is of a row of a table, which is read without being recorded."""
    assert plan.of is not None
    own = plan.of.collection

    def read(collection: Collection[Any, Any], key: Any, /) -> Any:
        if collection is own and key == plan.key:
            return rows.get(key)
        return read_other(collection, key)

    return read


class Graph:
    """A set of collections and their current values.

    Build it by `table`, `index` and `derive`, in an order in which everything read stands before its reader. Then: write facts by `put` and
    `delete`, say what is needed by `demand` and `release`, and bring it up to date by `settle`. One owner; no locks, no clock, no I/O.
    `at_once`: see AT_ONCE.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._plans: dict[Collection[Any, Any], _Plan] = {}
        self._rows: dict[Table[Any, Any], dict[Any, Any]] = {}
        self._indexes: dict[Table[Any, Any], list[Index[Any, Any]]] = {}
        self._buckets: dict[Index[Any, Any], dict[Any, Any]] = {}
        """By index: buckets of several keys as dicts of them, those of one, which are most, as that key."""
        self._dirty: list[dict[_Node, None]] = []
        self._changed: dict[_Node, None] = {}
        self._loose: dict[_Node, None] = {}
        self._answering = 0
        self._allowance = math.inf
        self._wants_changed = False

    # -- wiring ---------------------------------------------------------------------------------------------------------------

    def table(self, table: Table[K, R]) -> None:
        """Adds an input table, empty."""
        self._add(_Plan(table, 0, None))
        self._rows[table] = {}
        self._indexes[table] = []

    def index(self, index: Index[S, K]) -> None:
        """Adds an index over a table that is there already and still empty."""
        if self._rows[index.table]:
            raise ValueError(f"index {index.name} was added when {index.table.name} had rows")
        self._add(_Plan(index, 0, None))
        self._indexes[index.table].append(index)
        self._buckets[index] = {}

    def derive(
        self, collection: Derived[K, V], compute: Compute[K, V], reads: Iterable[Collection[Any, Any]], *, of: Table[K, Any] | None = None
    ) -> None:
        """Adds a derived collection: the function, and every collection that it may read.

        `of`: a table whose rows' keys are the keys here. The function may read it, too, and any change of a row computes the value of its
        key anew: millions of edges need not be kept that way.
        """
        sources = [self._plans[read] for read in (*reads, *(() if of is None else (of,)))]
        table = None if of is None else self._plans[of]
        plan = _Plan(collection, 1 + max((source.level for source in sources), default=0), compute, table)
        plan.read = _recorder(plan, sources, self._made)
        self._add(plan)
        if table is not None and of is not None:
            plan.read = _row_recorder(plan, self._rows[of], plan.read)
            table.by_row.append(plan)

    def _add(self, plan: _Plan) -> None:
        if plan.collection in self._plans:
            raise ValueError(f"collection {plan.collection.name} was added twice")
        self._plans[plan.collection] = plan
        while len(self._dirty) <= plan.level:
            self._dirty.append({})

    # -- facts ----------------------------------------------------------------------------------------------------------------

    def put(self, table: Table[K, R], key: K, row: R) -> bool:
        """Writes a row. Returns whether that changed anything: an equal row is no event."""
        rows = self._rows[table]
        old = rows.get(key)
        if old is not None and (old is row or old == row):
            return False
        rows[key] = row
        for index in self._indexes[table]:
            self._reindex(index, key, old, row)
        self._touch(self._plans[table], key, row)
        return True

    def delete(self, table: Table[K, R], key: K) -> bool:
        """Removes a row; idempotent. Returns whether there was one."""
        old = self._rows[table].pop(key, None)
        if old is None:
            return False
        for index in self._indexes[table]:
            self._reindex(index, key, old, None)
        self._touch(self._plans[table], key, None)
        return True

    def rows(self, table: Table[K, R]) -> dict[K, R]:
        """All rows of a table, to look at, not to change."""
        return self._rows[table]

    def _reindex(self, index: Index[Any, Any], key: Any, old: Any, new: Any) -> None:
        left = index.buckets_of(old) if old is not None else ()
        entered = index.buckets_of(new) if new is not None else ()
        if left == entered:
            return
        before, after = frozenset(left), frozenset(entered)
        buckets = self._buckets[index]
        for gone in before - after:
            bucket = buckets[gone]
            if type(bucket) is dict:
                del bucket[key]
                if len(bucket) == 1:
                    (buckets[gone],) = bucket
            else:
                del buckets[gone]
        for come in after - before:
            if come not in buckets:
                buckets[come] = key
            elif type(bucket := buckets[come]) is dict:
                bucket[key] = None
            else:
                buckets[come] = {bucket: None, key: None}
        plan = self._plans[index]
        for bucket_key in before ^ after:
            if bucket_key in plan.nodes:
                self._touch(plan, bucket_key, self._input(plan, bucket_key))

    def _touch(self, plan: _Plan, key: Any, value: Any) -> None:
        node = plan.nodes.get(key)
        if node is not None:
            node.value = value
            self._moved(node)
        for derived in plan.by_row:
            node = derived.nodes.get(key)
            if node is not None:
                self._dirty[derived.level][node] = None

    def _moved(self, node: _Node) -> None:
        if node.demand is not None:
            self._changed[node] = None
        for dependent in node.each_dependent():
            self._dirty[dependent.plan.level][dependent] = None

    # -- demand ---------------------------------------------------------------------------------------------------------------

    def demand(self, collection: Collection[K, V], key: K) -> None:
        """Someone needs this value from now on; counted. It is computed, and reported, by the next settlement."""
        plan = self._plans[collection]
        node = plan.nodes.get(key)
        if node is None:
            node = _Node(plan, key)
            plan.nodes[key] = node
            if plan.compute is None:
                node.value = self._input(plan, key)
                self._note_want(plan)
            else:
                node.value = _UNMADE
                self._dirty[plan.level][node] = None
        if node.demand is None:
            node.demand = _Demand(NodeRef(collection, node.key))
            self._changed[node] = None
        else:
            node.demand.times += 1

    def release(self, collection: Collection[K, V], key: K) -> None:
        """Takes one `demand` back. What nobody needs any more is forgotten at the next settlement."""
        node = self._plans[collection].nodes[key]
        assert node.demand is not None
        node.demand.times -= 1
        if not node.demand.times:
            node.demand = None
            self._changed.pop(node, None)
            self._loose[node] = None

    def value(self, collection: Collection[K, V], key: K) -> V:
        """The value as of the last settlement, of a key that is demanded or read. Raises KeyError for others, ComputeFailed for a failed
        one."""
        found = self._plans[collection].nodes[key].value
        if type(found) is _Failed:
            raise found.error
        result: V = found
        return result

    def ask(self, collection: Collection[K, V], key: K) -> V:
        """The value, computed for this question and forgotten where nobody else needs it.

        A question is put between settlements: with facts still waiting its answer would mix two generations, so that is a ValueError.
        """
        node = self._asked(collection, key)
        found = node.value
        self._forget(node)
        if type(found) is _Failed:
            raise found.error
        result: V = found
        return result

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Questions put inside share what has to be computed for them: it is forgotten at the end, not after each. No settlement inside."""
        self._answering += 1
        try:
            yield
        finally:
            self._answering -= 1
            if not self._answering:
                self._unlink()

    def wanted(self, table: Table[K, R]) -> frozenset[K]:
        """The keys of a table that someone reads now, whether or not there is a row."""
        return frozenset(self._plans[table].nodes)

    def inputs_of(self, collection: Collection[K, V], key: K, most: int | None = None) -> tuple[NodeRef, ...]:
        """Every fact that a value was computed from, absent ones included, in the order of reading; indexes as buckets. A question, as
        `ask` is. `most`: looks at no more values than this, and at the nearest first."""
        root = self._asked(collection, key)
        found: dict[NodeRef, None] = {}
        seen: set[_Node] = set()
        stack = deque([root])
        while stack and (most is None or len(seen) < most):
            node = stack.pop() if most is None else stack.popleft()
            if node in seen:
                continue
            seen.add(node)
            if node.plan.compute is None:
                found[NodeRef(node.plan.collection, node.key)] = None
            elif node.plan.of is not None:
                found[NodeRef(node.plan.of.collection, node.key)] = None
            stack.extend(reversed(node.each_dep()) if most is None else node.each_dep())
        self._forget(root)
        return tuple(found)

    def _asked(self, collection: Collection[Any, Any], key: Any) -> _Node:
        if any(self._dirty):
            raise ValueError(f"{collection.name}[{key}] was asked for while changes wait to be settled")
        plan = self._plans[collection]
        return plan.nodes.get(key) or self._made(plan, key)

    def _forget(self, node: _Node) -> None:
        """Takes leave of a node that was made for a question, unless someone else needs it."""
        if node.demand is None and node.dependents is None:
            self._loose[node] = None
            if not self._answering:
                self._unlink()

    @property
    def size(self) -> int:
        """How many values are held."""
        return sum(len(plan.nodes) for plan in self._plans.values())

    # -- settling -------------------------------------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether nothing waits to be computed, forgotten or reported."""
        return not self._changed and not self._loose and not any(self._dirty)

    def settle(self) -> Settled:
        """Brings everything demanded up to date, in one go."""
        run = self.settling()
        while True:
            try:
                next(run)
            except StopIteration as end:
                result: Settled = end.value
                return result

    def settling(self) -> Generator[None, None, Settled]:
        """The same in steps: yields after each node that is computed or forgotten, so that the caller can give way. No facts may be written
        meanwhile.

        A computation that reads thousands of values which nobody has read before would make them all in one step. It is put off instead, as
        often as it takes: being pure, it can begin again, and finds what it made. Each try may make half as much again as the last, so
        that all of them together read a small multiple of what one would.

        Returns (as the generator's value) what changed since the last one that ran to its end.
        """
        computed = 0
        allowance = self._at_once
        for dirty in self._dirty:
            while dirty:
                node, _ = dirty.popitem()
                self._allowance = allowance
                try:
                    moved = self._recomputed(node)
                except _PutOff:
                    dirty[node] = None
                    allowance += max(1, allowance // 2)
                else:
                    computed += 1
                    allowance = self._at_once
                    if moved:
                        self._moved(node)
                finally:
                    self._allowance = math.inf
                yield
        yield from self._unlinking()
        changed = tuple([node.demand.ref for node in self._changed if node.demand is not None])
        self._changed.clear()
        return Settled(changed, computed)

    def _input(self, plan: _Plan, key: Any) -> Any:
        collection = plan.collection
        if isinstance(collection, Index):
            bucket = self._buckets[collection].get(key, {})
            return tuple(sorted(bucket)) if type(bucket) is dict else (bucket,)
        assert isinstance(collection, Table)
        return self._rows[collection].get(key)

    def _made(self, plan: _Plan, key: Any) -> _Node:
        """A new node with its value. Everything of lower levels is up to date when this runs."""
        node = _Node(plan, key if plan.of is None else self._own_key(plan.of, key))
        if plan.compute is None:
            plan.nodes[key] = node
            node.value = self._input(plan, key)
            self._note_want(plan)
        else:
            if self._allowance <= 0:
                raise _PutOff
            self._recomputed(node)
            plan.nodes[node.key] = node
            self._allowance -= 1
        return node

    def _own_key(self, plan: _Plan, key: Any) -> Any:
        """The key as the table's row has it: one copy less of what exists by the hundred thousand."""
        table = plan.collection
        assert isinstance(table, Table)
        row = self._rows[table].get(key)
        return key if row is None or table.key_of is None else table.key_of(row)

    def _recomputed(self, node: _Node) -> bool:
        """Computes a node and rewrites its edges. Returns whether its value is different."""
        plan = node.plan
        assert plan.compute is not None
        plan.deps.clear()
        plan.key = node.key
        value: Any
        try:
            value = plan.compute(plan.read, node.key)
        except UndeclaredRead:
            raise
        except ComputeFailed as failure:
            value = _Failed(failure)
        except Exception as cause:  # noqa: BLE001 - this loop owns the radius of one node; who reads it fails with it, by name
            value = _Failed(ComputeFailed(NodeRef(plan.collection, node.key), cause))
        self._relink(node, plan.deps)
        old = node.value
        if old is value or (old is not _UNMADE and old == value):
            return False
        node.value = value
        return True

    def _relink(self, node: _Node, read: list[_Node]) -> None:
        deps: Any
        if len(read) > 1:
            deps = tuple(dict.fromkeys(read))
            if len(deps) == 1:
                (deps,) = deps
        else:
            deps = read[0] if read else None
        if node.deps == deps:
            return
        old = node.each_dep()
        node.deps = deps
        now = node.each_dep()
        for dep in now:
            dep.add_dependent(node)
        for gone in set(old).difference(now) if old else ():
            gone.drop_dependent(node)
            if gone.dependents is None:
                self._loose[gone] = None

    def _unlink(self) -> None:
        """Forgets what nobody reads and nobody demands, and what only that was read by."""
        for _ in self._unlinking():
            pass

    def _unlinking(self) -> Generator[None, None, None]:
        """The same, step by step."""
        while self._loose:
            yield
            node, _ = self._loose.popitem()
            if node.demand is not None or node.dependents is not None or node.plan.nodes.get(node.key) is not node:
                continue
            del node.plan.nodes[node.key]
            self._dirty[node.plan.level].pop(node, None)
            self._note_want(node.plan)
            for dep in node.each_dep():
                dep.drop_dependent(node)
                if dep.dependents is None:
                    self._loose[dep] = None
            node.deps = None

    def _note_want(self, plan: _Plan) -> None:
        if isinstance(plan.collection, Table) and plan.collection.wanted:
            self._wants_changed = True

    def take_wants_changed(self) -> bool:
        """Whether the wanted keys of any table changed since this was last asked."""
        changed, self._wants_changed = self._wants_changed, False
        return changed


class _Unmade:
    """The value of a node that is demanded and not computed yet: equal to nothing."""

    __slots__ = ()


_UNMADE = _Unmade()
