"""SnapshotCache: the tables of all connected proxies, fed from the pipeline.

    place (a stream's) --needs--> parts --demand--> graph
    graph --changed--> absorb: names, resources --publish, in one step--> tables, places told

Tables change only in `publish`, so that streams see complete generations. Needs may be stated at any time but while a settlement runs.
"""

from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from typing import Final, NamedTuple

from steersman.graph import ComputeFailed, Graph, NodeRef
from steersman.pipeline import Generation
from steersman.resources.collections import MANIFESTS, TABLES_OF, PartKey
from steersman.resources.resource import Resource
from steersman.snapshot.table import Change, Draft, LayeredTable, ResourceTable, in_one_go

_STEP: Final = 128
"""Names looked at in a step of `drafting`: less than a millisecond."""

Names = frozenset[str] | None
"""What a stream holds of a type: those names, or (None) all there are."""

Parts = tuple[PartKey, ...]

_NOTHING = LayeredTable()
"""Where a stream stands with a type of which its proxy has no table any more."""


class Need(NamedTuple):
    """What a stream needs of a type. `names`: those, or (None) all that a wildcard covers. `named`: with a wildcard, what is subscribed by
    name besides; None: all that is had by name only."""

    names: Names
    named: Names = frozenset()

    def of(self, part: PartKey) -> Names:
        return self.named if part.by_name and self.names is None else self.names


class _Part:
    """One manifest with its table, and who needs what of it. `layered`: the layered tables that it is part of. `broken`: names whose values
    could not be computed and never were before: as if there were none, so that they hold up no wildcard."""

    __slots__ = ("broken", "holders", "key", "layered", "named", "places", "refs", "table")

    def __init__(self, key: PartKey) -> None:
        self.key = key
        self.table = ResourceTable(key.type_url, by_name=key.by_name)
        self.places: dict[Place, None] = {}
        self.layered: dict[Parts, None] = {}
        self.holders: Counter[Names] = Counter()
        self.named: Counter[str] = Counter()
        self.refs: dict[str, NodeRef] = {}
        self.broken: set[str] = set()

    def needs(self, name: str) -> bool:
        return None in self.holders or self.named.get(name, 0) > 0


_Watcher = tuple[_Part, str]
_NOBODY: Final[dict[_Watcher, None]] = {}


class Place:
    """Where one stream stands: its tables by type URL. Empty until the first generation that knows the proxy. `failure`: why it is not
    known where that is now; what was known before stands."""

    __slots__ = ("failure", "holds", "node_id", "parts", "tables")

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.failure: ComputeFailed | None = None
        self.parts: dict[str, Parts] = {}
        self.holds: dict[str, Need] = {}
        self.tables: dict[str, LayeredTable] = {}


class TableChanged(NamedTuple):
    """What became of the table that a place stood at; with `moved`, it then stands at another, which may say again what is gone here."""

    place: Place
    type_url: str
    changes: tuple[Change, ...]
    moved: bool


class Published(NamedTuple):
    """What a generation did. `failed`: values that could not be computed, our bugs; the tables keep what they had."""

    generation: Generation
    changes: tuple[TableChanged, ...]
    failed: tuple[ComputeFailed, ...]


class Drafts(NamedTuple):
    """What becomes of the tables in a generation, before it does. `failed`: see Published."""

    tables: dict[_Part, Draft]
    failed: list[ComputeFailed]

    @property
    def large(self) -> bool:
        """Whether moving the tables, and telling the streams, takes more than a moment."""
        return sum(len(draft.changes) for draft in self.tables.values()) > _STEP


class SnapshotCache:
    """See the module's picture."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._places: dict[str, dict[Place, None]] = {}
        self._parts: dict[PartKey, _Part] = {}
        self._layered: dict[Parts, LayeredTable] = {}
        self._watched: dict[NodeRef, _Watcher | dict[_Watcher, None]] = {}
        """Nearly all have one watcher, and a dict of one takes more than all else that is held of it."""
        self._renamed: dict[_Part, None] = {}
        self._stale: dict[_Part, dict[str, None]] = {}
        self._moved: list[NodeRef] = []
        self._failed: list[ComputeFailed] = []
        self._joined: list[Place] = []
        self._left: list[tuple[Place, str, Parts]] = []

    # -- needs ----------------------------------------------------------------------------------------------------------------

    def join(self, node_id: str) -> Place:
        """A stream of this proxy stands somewhere from now on; the proxy itself is a fact in the pipeline."""
        place = Place(node_id)
        self._places.setdefault(node_id, {})[place] = None
        self._graph.demand(TABLES_OF, node_id)
        self._joined.append(place)
        return place

    def leave(self, place: Place) -> None:
        """The stream is gone; what only it needed is forgotten."""
        if place in self._joined:
            self._joined.remove(place)
        for type_url, parts in place.parts.items():
            self._unhold(place, type_url, parts)
            self._unuse(place, parts)
        places = self._places[place.node_id]
        del places[place]
        if not places:
            del self._places[place.node_id]
        self._graph.release(TABLES_OF, place.node_id)

    def hold(self, place: Place, type_url: str, names: Names, named: Names = frozenset()) -> None:
        """The stream needs these names of that type (see Need), and no others any more."""
        need = Need(names, named)
        old = place.holds.get(type_url)
        for key in place.parts.get(type_url, ()):
            self._need(self._parts[key], need.of(key))
            if old is not None:
                self._need_no_more(self._parts[key], old.of(key))
        place.holds[type_url] = need

    def _need(self, part: _Part, names: Names) -> None:
        part.holders[names] += 1
        if part.holders[names] > 1:
            return
        if names is None:
            fresh = [name for name in part.refs if not part.named[name]]
        else:
            fresh = [name for name in names if not part.needs(name)]
            part.named.update(names)
        for name in fresh:
            self._watch(part, name)

    def _need_no_more(self, part: _Part, names: Names) -> None:
        part.holders[names] -= 1
        if part.holders[names]:
            return
        del part.holders[names]
        if names is None:
            loose: Iterable[str] = [name for name in part.refs if not part.named[name]]
        else:
            part.named.subtract(names)
            part.named = +part.named
            loose = [name for name in names if not part.needs(name)]
        for name in loose:
            if name in part.refs:
                self._unwatch(part, name, part.refs[name])
                part.table.forget(name)

    def _watch(self, part: _Part, name: str) -> None:
        ref = part.refs.get(name)
        if ref is None:
            return
        self._graph.demand(ref.collection, ref.key, ref)
        watcher = (part, name)
        held = self._watched.get(ref)
        if held is None:
            self._watched[ref] = watcher
        elif type(held) is dict:
            held[watcher] = None
        elif held != watcher:
            self._watched[ref] = dict.fromkeys((held, watcher))  # type: ignore[arg-type]
        self._stale.setdefault(part, {})[name] = None

    def _unwatch(self, part: _Part, name: str, ref: NodeRef) -> None:
        self._graph.release(ref.collection, ref.key)
        held = self._watched[ref]
        if type(held) is dict:
            del held[part, name]
            if len(held) == 1:
                (self._watched[ref],) = held
        else:
            del self._watched[ref]

    def _use(self, place: Place, parts: Parts) -> None:
        for key in parts:
            part = self._parts.get(key)
            if part is None:
                part = self._parts[key] = _Part(key)
            if not part.places:
                self._graph.demand(MANIFESTS, key)
            part.places[place] = None

    def _unuse(self, place: Place, parts: Parts) -> None:
        for key in parts:
            part = self._parts[key]
            del part.places[place]
            if not part.places:
                self._graph.release(MANIFESTS, key)
                del self._parts[key]
                self._unlayer(part)

    def _unhold(self, place: Place, type_url: str, parts: Parts) -> None:
        if type_url in place.holds:
            for key in parts:
                self._need_no_more(self._parts[key], place.holds[type_url].of(key))

    # -- settling -------------------------------------------------------------------------------------------------------------

    def absorb(self, changed: tuple[NodeRef, ...]) -> None:
        """Takes note of what a pass changed and demands what it thereby turned out to need (see Pipeline.settling)."""
        joined, self._joined = self._joined, []
        for place in joined:
            self._relocate(place)
        for ref in changed:
            if ref.collection is TABLES_OF:
                for place in self._places.get(ref.key, ()):
                    self._relocate(place)
            elif ref.collection is MANIFESTS:
                self._rename(self._parts[ref.key])
            else:
                self._moved.append(ref)

    def _relocate(self, place: Place) -> None:
        """Needs at the new place are stated now; those at the old one stand until `publish`, and its tables with them."""
        try:
            tables = self._graph.value(TABLES_OF, place.node_id)
        except ComputeFailed as failure:
            self._failed.append(failure)
            place.failure = failure
            return
        place.failure = None
        new = {parts[0].type_url: parts for parts in tables}
        for type_url in new.keys() | place.parts.keys():
            parts, old = new.get(type_url, ()), place.parts.get(type_url, ())
            if parts == old:
                continue
            self._use(place, parts)
            if type_url in place.holds:
                for key in parts:
                    self._need(self._parts[key], place.holds[type_url].of(key))
            self._left.append((place, type_url, old))
            place.parts[type_url] = parts

    def _rename(self, part: _Part) -> None:
        try:
            manifest: tuple[tuple[str, NodeRef], ...] = self._graph.value(MANIFESTS, part.key)
        except ComputeFailed as failure:
            self._failed.append(failure)
            return
        old, new = part.refs, dict(manifest)
        part.refs = new
        part.broken &= new.keys()
        self._renamed[part] = None
        for name in [name for name, ref in old.items() if new.get(name) != ref]:
            if part.needs(name):
                self._unwatch(part, name, old[name])
        for name in [name for name, ref in new.items() if old.get(name) != ref]:
            if part.needs(name):
                self._watch(part, name)

    def publish(self, generation: Generation) -> Published:
        """Moves the tables to this generation, in one step, and says who is concerned."""
        return self.enter(generation, in_one_go(self.drafting()))

    def drafting(self) -> Generator[None, None, "Drafts"]:
        """Works out in small steps what `enter` will do in one, which is short. Needs may not be stated between the two."""
        found = Drafts({}, self._failed)
        self._failed = []
        yield from self._marking()
        for part in dict.fromkeys((*self._renamed, *self._stale)):
            if part.places:
                fresh = yield from self._fresh(part, self._stale.get(part, ()), found.failed)
                names = part.refs.keys() - part.broken if part in self._renamed else None
                found.tables[part] = yield from part.table.drafting(fresh, names, remove=part.broken if names is None else ())
                yield
        self._renamed.clear()
        self._stale.clear()
        return found

    def enter(self, generation: Generation, drafts: "Drafts") -> Published:
        """Moves the tables to this generation, as drafted, and says who is concerned."""
        changes = {part: part.table.enter(draft) for part, draft in drafts.tables.items()}
        told = self._moves(changes)
        moved = {(item.place, item.type_url) for item in told}
        for part, changed in changes.items():
            type_url = part.key.type_url
            for place in part.places if changed else ():
                if not moved or (place, type_url) not in moved:
                    told.append(TableChanged(place, type_url, changed, moved=False))
        return Published(generation, tuple(told), tuple(drafts.failed))

    def _marking(self) -> Generator[None, None, None]:
        """Notes where the values that changed stand."""
        moved, self._moved = self._moved, []
        for count, ref in enumerate(moved, 1):
            held = self._watched.get(ref, _NOBODY)
            watchers: Iterable[_Watcher] = held if isinstance(held, dict) else (held,)
            for part, name in watchers:
                self._stale.setdefault(part, {})[name] = None
            if count % _STEP == 0:
                yield

    def _fresh(self, part: _Part, names: Iterable[str], failed: list[ComputeFailed]) -> Generator[None, None, list[Resource]]:
        found: list[Resource] = []
        for count, name in enumerate(names, 1):
            if count % _STEP == 0:
                yield
            ref = part.refs.get(name)
            if ref is None or not part.needs(name):
                continue
            try:
                value: Resource | None = self._graph.value(ref.collection, ref.key)
            except ComputeFailed as failure:
                failed.append(failure)
                if not isinstance(part.table.lookup(name), Resource):
                    part.broken.add(name)
                continue
            part.broken.discard(name)
            if value is not None:
                found.append(value)
        return found

    def _moves(self, changes: Mapping[_Part, tuple[Change, ...]]) -> list[TableChanged]:
        """`changes`: of this generation, in tables that have them already. What streams know was read off those tables, too, so that they
        can't find out by themselves what has become of it."""
        if not self._left:
            return []
        stood: dict[tuple[Place, str], Parts] = {}
        lost: dict[PartKey, tuple[Change, ...]] = {}
        for place, type_url, old in self._left:
            stood.setdefault((place, type_url), old)
        told = []
        for (place, type_url), old in stood.items():
            since: list[Change] = []
            for key in old:
                part = self._parts[key]
                if key in place.parts[type_url]:
                    since += changes.get(part, ())
                else:
                    if key not in lost:
                        lost[key] = _lost(part, changes)
                    since += lost[key]
            told.append(TableChanged(place, type_url, tuple(since), moved=True))
        used: dict[tuple[Place, str], dict[PartKey, None]] = {}
        for place, type_url, old in self._left:
            self._unhold(place, type_url, old)
            used.setdefault((place, type_url), {}).update(dict.fromkeys(old))
        self._left.clear()
        for (place, type_url), keys in used.items():
            self._unuse(place, tuple(key for key in keys if key not in place.parts[type_url]))
            place.tables[type_url] = self._layers(place.parts[type_url])
        return told

    def _layers(self, parts: Parts) -> LayeredTable:
        if not parts:
            return _NOTHING
        table = self._layered.get(parts)
        if table is None:
            table = self._layered[parts] = LayeredTable([self._parts[key].table for key in parts])
            for key in parts:
                self._parts[key].layered[parts] = None
        return table

    def _unlayer(self, gone: _Part) -> None:
        """Forgets the tables that a part was in which nobody needs any more."""
        for parts in gone.layered:
            del self._layered[parts]
            for key in parts:
                if key != gone.key:
                    del self._parts[key].layered[parts]


def _lost(part: _Part, changes: Mapping[_Part, tuple[Change, ...]]) -> tuple[Change, ...]:
    """All that this part's table said before this generation, as gone."""
    before = {resource.name: resource for resource in part.table.content()}
    for change in changes.get(part, ()):
        before.pop(change.name, None)
        if change.old is not None:
            before[change.name] = change.old
    return tuple(Change(name, old, None, part.key.by_name) for name, old in before.items())
