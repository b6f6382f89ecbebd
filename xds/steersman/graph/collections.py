"""What a graph is made of: named, typed collections of values by key.

A collection is only a name with types, declared in the layer whose noun it is; which function computes it from which
others is said once, in the wiring. Keys are hashable, values immutable with a cheap `==`: equal output stops propagation.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
S = TypeVar("S", bound=Hashable)
R = TypeVar("R")


class Collection(Generic[K, V]):
    """Values of one kind, each under a key. Compared by identity; `name` is for people."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


class Table(Collection[K, R | None], Generic[K, R]):
    """Facts from outside: written by the graph's owner, read as the row or None.

    With `wanted`, what someone reads here is asked of the outside: `Graph.wanted(table)` is the set of keys read now, present or not.
    `key_of`: the key that a row holds itself, where it does; what is computed of it then shares that key.
    `indexed`: the part of a row that alone decides, with its key, in which buckets of any index it stands: while that is the very object of
    before, no index looks at the row.
    """

    __slots__ = ("indexed", "key_of", "wanted")

    def __init__(
        self, name: str, *, wanted: bool = False, key_of: Callable[[R], K] | None = None, indexed: Callable[[R], object] | None = None
    ) -> None:
        super().__init__(name)
        self.wanted = wanted
        self.key_of = key_of
        self.indexed = indexed


class Index(Collection[S, tuple[K, ...]], Generic[S, K]):
    """The keys of a table's rows that share something, sorted. A row may stand in several buckets or in none; a missing bucket is empty.

    A bucket changes when a key enters or leaves it, not when a row in it changes otherwise.

    An index may be over another one: its rows are the buckets that are not empty, each by its key, which is all that `buckets_of` sees.
    """

    __slots__ = ("buckets_of", "over")

    def __init__(self, name: str, over: "Table[K, R] | Index[K, Any]", buckets_of: Callable[[R], Iterable[S]]) -> None:
        super().__init__(name)
        self.over: Table[K, Any] | Index[K, Any] = over
        self.buckets_of: Callable[[Any], Iterable[S]] = buckets_of


class Derived(Collection[K, V], Generic[K, V]):
    """Values computed by a pure function `(read, key)`; see Graph.derive."""

    __slots__ = ()


class Reader(Protocol):
    """How a compute function sees the world: each read is recorded, so that a change of what was read computes it anew."""

    def __call__(self, collection: Collection[K, V], key: K, /) -> V: ...


Compute = Callable[[Reader, K], V]

Again = Callable[[Reader, K, Any], tuple[V, Any]]
"""The same for a value that was computed before: `(read, key, kept)` -> the value, and what to keep for the next time. See Graph.derive."""
