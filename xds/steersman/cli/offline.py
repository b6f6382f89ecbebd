"""A mesh without a server: the configuration and its directories, read once into a pipeline like a server's."""

import time
from collections.abc import Iterable
from pathlib import Path

from steersman.errors import SteersmanError
from steersman.graph import ComputeFailed
from steersman.model.facts import Fact, Leaf, Origin, Root, Upsert
from steersman.model.objects import Kind
from steersman.model.proxy import Proxy
from steersman.pipeline import Pipeline
from steersman.registry.collections import LEAVES, ROOTS
from steersman.resources.resource import Resource
from steersman.settings import Settings, read_settings
from steersman.snapshot.cache import SnapshotCache
from steersman.sources.configuration import configuration_facts
from steersman.sources.files import directories_of, read_directory

NOT_SIGNED = b"[not signed yet: steersman serve does that]"


class Offline:
    """A settled mesh. `settings`: where it was read from."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pipeline = Pipeline()
        self._cache = SnapshotCache(self.pipeline.graph)
        now = time.time()
        self.pipeline.apply(configuration_facts(settings, now))
        for cluster, directory in directories_of(settings).items():
            self.pipeline.apply(read_directory(cluster, directory))
        self._settle()

    def connect(self, proxy: Proxy) -> None:
        """From now on this proxy is a part of the mesh."""
        origin = Origin(source="proxy", seen=time.time())
        self.pipeline.apply([Upsert(kind=Kind.PROXY, key=proxy.id, value=proxy, origin=origin)])
        self._settle()

    def served(self, proxy: Proxy, types: Iterable[str]) -> dict[str, tuple[Resource, ...]]:
        """What a stream of this proxy would be sent that asks for all there is of these types, by type URL, sorted by name."""
        place = self._cache.join(proxy.id)
        for type_url in types:
            self._cache.hold(place, type_url, None)
        self._settle()
        self._stand_in()
        found = {type_url: tuple(place.tables[type_url].content()) for type_url in types if type_url in place.tables}
        self._cache.leave(place)
        return found

    def _stand_in(self) -> None:
        """Where a stream would be sent a certificate, which only a server's CA may make, something stands that says so."""
        graph = self.pipeline.graph
        origin = Origin(source="ca", seen=time.time())
        missing = sorted(graph.wanted(LEAVES) - graph.rows(LEAVES).keys(), key=lambda key: (key.cluster, key.identity))
        leaf = Leaf(chain=NOT_SIGNED, key=NOT_SIGNED)
        facts: list[Fact] = [Upsert(kind=Kind.LEAF, key=key, value=leaf, origin=origin) for key in missing]
        if "" not in graph.rows(ROOTS):
            facts.append(Upsert(kind=Kind.ROOT, key="", value=Root(bundle=NOT_SIGNED), origin=origin))
        self.pipeline.apply(facts)
        self._settle()

    def _settle(self) -> None:
        published = self._cache.publish(self.pipeline.settle(self._cache.absorb))
        if published.failed:
            raise _failure(published.failed[0])


def _failure(failed: ComputeFailed) -> SteersmanError:
    return SteersmanError(f"a value could not be computed, which is a bug in Steersman; please report it with the objects: {failed}")


def offline(config: str) -> Offline:
    """The mesh of this configuration file. Raises ConfigError."""
    return Offline(read_settings(Path(config)))
