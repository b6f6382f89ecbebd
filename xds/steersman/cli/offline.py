"""A mesh without a server: the configuration and its directories, read once into a pipeline like a server's."""

import time
from collections.abc import Iterable
from pathlib import Path

from steersman.errors import SteersmanError
from steersman.graph import ComputeFailed
from steersman.model.facts import Origin, Upsert
from steersman.model.objects import Kind
from steersman.model.proxy import Proxy
from steersman.pipeline import Pipeline
from steersman.resources.resource import Resource
from steersman.settings import Settings, read_settings
from steersman.snapshot.cache import SnapshotCache
from steersman.sources.configuration import configuration_facts
from steersman.sources.files import directories_of, read_directory


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
        found = {type_url: tuple(place.tables[type_url].content()) for type_url in types if type_url in place.tables}
        self._cache.leave(place)
        return found

    def _settle(self) -> None:
        published = self._cache.publish(self.pipeline.settle(self._cache.absorb))
        if published.failed:
            raise _failure(published.failed[0])


def _failure(failed: ComputeFailed) -> SteersmanError:
    return SteersmanError(f"a value could not be computed, which is a bug in Steersman; please report it with the objects: {failed}")


def offline(config: str) -> Offline:
    """The mesh of this configuration file. Raises ConfigError."""
    return Offline(read_settings(Path(config)))
