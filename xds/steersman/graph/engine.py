"""The engine: memoised computations that are brought up to date by what changed, and by nothing else.

Every collection has a level above the levels of all it may read, so one pass in order of levels brings everything up to date, and each
node gets one value a settlement. A node that comes out equal stops there. Nodes exist by demand: one that nobody reads
and nobody demands is unlinked.
"""

import math
from collections import deque
from collections.abc import Generator, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from steersman.graph.collections import Again, Collection, Compute, Derived, Index, Table
from steersman.graph.nodes import ComputeFailed, Demand, Failed, Node, NodeRef, Plan, PutOff, UndeclaredRead, recorder, row_recorder

AT_ONCE = 256
"""Values that a computation makes in one step of a settlement before it is put off: at 20 to 50 us each, about 10 ms."""

_FEW = 32
"""Keys of a bucket that are looked through one by one: a dict of so many takes three times as much."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
S = TypeVar("S", bound=Hashable)
R = TypeVar("R")


class Settled(NamedTuple):
    """What a settlement changed: the demanded values that are new or different (in no order), and how many nodes were computed."""

    changed: tuple[NodeRef, ...]
    computed: int


class Graph:
    """A set of collections and their current values.

    Build it by `table`, `index` and `derive`, in an order in which everything read stands before its reader. Then: write facts by `put` and
    `delete`, say what is needed by `demand` and `release`, and bring it up to date by `settle`. One owner; no locks, no clock, no I/O.
    `at_once`: see AT_ONCE.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._plans: dict[Collection[Any, Any], Plan] = {}
        self._rows: dict[Table[Any, Any], dict[Any, Any]] = {}
        self._indexes: dict[Table[Any, Any] | Index[Any, Any], list[Index[Any, Any]]] = {}
        """By what they are over."""
        self._buckets: dict[Index[Any, Any], dict[Any, Any]] = {}
        """By index: buckets of one key, which are most, as that key, those of a few as lists, and of many as dicts of them."""
        self._dirty: list[dict[Node, None]] = []
        self._changed: dict[Node, None] = {}
        self._loose: dict[Node, None] = {}
        self._answering = 0
        self._allowance = math.inf
        self._wants_changed = False

    # -- wiring ---------------------------------------------------------------------------------------------------------------

    def table(self, table: Table[K, R]) -> None:
        """Adds an input table, empty."""
        self._add(Plan(table, 0, None))
        self._rows[table] = {}
        self._indexes[table] = []

    def index(self, index: Index[S, K]) -> None:
        """Adds an index over a table, or another index, that is there already and still empty."""
        over = index.over
        if self._buckets[over] if isinstance(over, Index) else self._rows[over]:
            raise ValueError(f"index {index.name} was added when {over.name} had rows")
        self._add(Plan(index, 0, None))
        self._indexes[over].append(index)
        self._indexes[index] = []
        self._buckets[index] = {}

    def derive(
        self,
        collection: Derived[K, V],
        compute: Compute[K, V],
        reads: Iterable[Collection[Any, Any]],
        *,
        of: Table[K, Any] | None = None,
        again: Again[K, V] | None = None,
        from_the_first: bool = False,
    ) -> None:
        """Adds a derived collection: the function, and every collection that it may read.

        `of`: a table whose rows' keys are the keys here. The function may read it, too, and any change of a row computes the value of its
        key anew: millions of edges need not be kept that way.

        `again`: computes in place of `compute` what has a value already, and may go on from what it kept when it last ran for that key;
        None the first time, when that was longer ago than many others, and when it kept None. Its value is equal to that of `compute`,
        whatever was kept. `from_the_first`: it computes first values as well, so that their first change goes on from them already.
        """
        sources = [self._plans[read] for read in (*reads, *(() if of is None else (of,)))]
        table = None if of is None else self._plans[of]
        plan = Plan(
            collection, 1 + max((source.level for source in sources), default=0), compute, table, again, from_the_first=from_the_first
        )
        plan.read = recorder(plan, sources, self._made)
        self._add(plan)
        if table is not None and of is not None:
            plan.read = row_recorder(plan, self._rows[of], plan.read)
            table.by_row.append(plan)

    def _add(self, plan: Plan) -> None:
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
        if old is None or table.indexed is None or table.indexed(old) is not table.indexed(row):
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
        for gone in before - after:
            self._leave(index, gone, key)
        for come in after - before:
            self._enter(index, come, key)
        plan = self._plans[index]
        for bucket_key in before ^ after:
            if bucket_key in plan.nodes:
                self._touch(plan, bucket_key, self._input(plan, bucket_key))

    def _enter(self, index: Index[Any, Any], at: Any, key: Any) -> None:
        buckets = self._buckets[index]
        if at not in buckets:
            buckets[at] = key
            for above in self._indexes[index]:
                self._reindex(above, at, None, at)
        elif type(bucket := buckets[at]) is dict:
            bucket[key] = None
        elif type(bucket) is list:
            bucket.append(key)
            if len(bucket) > _FEW:
                buckets[at] = dict.fromkeys(bucket)
        else:
            buckets[at] = [bucket, key]

    def _leave(self, index: Index[Any, Any], at: Any, key: Any) -> None:
        buckets = self._buckets[index]
        bucket = buckets[at]
        if type(bucket) is dict:
            del bucket[key]
            if len(bucket) <= _FEW // 2:
                buckets[at] = list(bucket)
        elif type(bucket) is list:
            bucket.remove(key)
            if len(bucket) == 1:
                (buckets[at],) = bucket
        else:
            del buckets[at]
            for above in self._indexes[index]:
                self._reindex(above, at, at, None)

    def _touch(self, plan: Plan, key: Any, value: Any) -> None:
        node = plan.nodes.get(key)
        if node is not None:
            node.value = value
            self._moved(node)
        for derived in plan.by_row:
            node = derived.nodes.get(key)
            if node is not None:
                self._dirty[derived.level][node] = None

    def _moved(self, node: Node) -> None:
        if node.demand is not None:
            self._changed[node] = None
        for dependent in node.each_dependent():
            self._dirty[dependent.plan.level][dependent] = None

    # -- demand ---------------------------------------------------------------------------------------------------------------

    def demand(self, collection: Collection[K, V], key: K, ref: NodeRef | None = None) -> None:
        """Someone needs this value from now on; counted. It is computed, and reported, by the next settlement. `ref`: both as one, where
        the caller keeps it: it is not made again then."""
        plan = self._plans[collection]
        node = plan.nodes.get(key)
        if node is None:
            node = Node(plan, key)
            plan.nodes[key] = node
            if plan.compute is None:
                node.value = self._input(plan, key)
                self._note_want(plan)
            else:
                node.value = _UNMADE
                self._dirty[plan.level][node] = None
        if node.demand is None:
            node.demand = Demand(ref or NodeRef(collection, node.key))
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
        if type(found) is Failed:
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
        if type(found) is Failed:
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
        seen: set[Node] = set()
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

    def _asked(self, collection: Collection[Any, Any], key: Any) -> Node:
        if any(self._dirty):
            raise ValueError(f"{collection.name}[{key}] was asked for while changes wait to be settled")
        plan = self._plans[collection]
        return plan.nodes.get(key) or self._made(plan, key)

    def _forget(self, node: Node) -> None:
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
                except PutOff:
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

    def _input(self, plan: Plan, key: Any) -> Any:
        collection = plan.collection
        if isinstance(collection, Index):
            bucket = self._buckets[collection].get(key, [])
            return tuple(sorted(bucket)) if type(bucket) in (dict, list) else (bucket,)
        assert isinstance(collection, Table)
        return self._rows[collection].get(key)

    def _made(self, plan: Plan, key: Any) -> Node:
        """A new node with its value. Everything of lower levels is up to date when this runs."""
        node = Node(plan, key if plan.of is None else self._own_key(plan.of, key))
        if plan.compute is None:
            plan.nodes[key] = node
            node.value = self._input(plan, key)
            self._note_want(plan)
        else:
            if self._allowance <= 0:
                raise PutOff
            node.value = _UNMADE
            self._recomputed(node)
            plan.nodes[node.key] = node
            self._allowance -= 1
        return node

    def _own_key(self, plan: Plan, key: Any) -> Any:
        """The key as the table's row has it: one copy less of what exists by the hundred thousand."""
        table = plan.collection
        assert isinstance(table, Table)
        row = self._rows[table].get(key)
        return key if row is None or table.key_of is None else table.key_of(row)

    def _recomputed(self, node: Node) -> bool:
        """Computes a node and rewrites its edges. Returns whether its value is different."""
        plan = node.plan
        assert plan.compute is not None
        plan.deps.clear()
        plan.key = node.key
        value: Any
        try:
            value = (
                plan.anew(node)
                if plan.from_the_first or (plan.again is not None and node.value is not _UNMADE)
                else plan.compute(plan.read, node.key)
            )
        except UndeclaredRead:
            raise
        except ComputeFailed as failure:
            value = Failed(failure)
        except Exception as cause:  # noqa: BLE001 - this loop owns the radius of one node; who reads it fails with it, by name
            value = Failed(ComputeFailed(NodeRef(plan.collection, node.key), cause))
        self._relink(node, plan.deps)
        old = node.value
        if old is value or (old is not _UNMADE and old == value):
            return False
        node.value = value
        return True

    def _relink(self, node: Node, read: list[Node]) -> None:
        deps: Any
        if len(read) > 1:
            deps = tuple(read)
            if deps == node.deps:
                return  # as nearly always
            deps = tuple(dict.fromkeys(deps))
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
            node.plan.kept.pop(node, None)
            self._dirty[node.plan.level].pop(node, None)
            self._note_want(node.plan)
            for dep in node.each_dep():
                dep.drop_dependent(node)
                if dep.dependents is None:
                    self._loose[dep] = None
            node.deps = None

    def _note_want(self, plan: Plan) -> None:
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
