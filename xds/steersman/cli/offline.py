"""A mesh without a server: the configuration and its clusters, read once into a pipeline like a server's."""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from steersman.errors import SteersmanError
from steersman.graph import ComputeFailed
from steersman.model.facts import Fact, Leaf, LeafKey, Origin, Root, Upsert
from steersman.model.ids import ClusterID
from steersman.model.objects import Kind
from steersman.model.proxy import Proxy
from steersman.pipeline import Pipeline
from steersman.registry.collections import CLUSTER_STATES, CLUSTERS, LEAVES, NETWORK_GATEWAYS, NETWORKS, RESOLVED, ROOTS
from steersman.resources.resource import Resource
from steersman.settings import Settings, read_settings
from steersman.snapshot.cache import SnapshotCache
from steersman.sources.ca import existing_facts
from steersman.sources.configuration import configuration_facts
from steersman.sources.files import directories_of, read_directory

NOT_SIGNED = b"[not signed yet: steersman serve does that]"

PATIENCE = 6.0
"""Seconds for all hostnames of gateways to be resolved."""


class Offline:
    """A settled mesh. `settings`: where it was read from. `unresolved`: hostnames of gateways that got no answer in time, sorted."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pipeline = Pipeline()
        self._cache = SnapshotCache(self.pipeline.graph)
        self.pipeline.apply(configuration_facts(settings, time.time()))
        for cluster, directory in directories_of(settings).items():
            self.pipeline.apply(read_directory(cluster, directory))
        if settings.remote_clusters.asked_for or any(cluster.kubernetes is not None for cluster in settings.clusters):
            from steersman.sources.kube.reading import read_clusters  # with aiohttp: a fifth of what a command takes

            self.pipeline.apply(read_clusters(settings))
        self.pipeline.apply(self._of_the_ca(frozenset()))
        self._settle()
        self.unresolved = self._resolve()

    def _of_the_ca(self, wanted: frozenset[LeafKey]) -> list[Fact]:
        clusters = list(self.pipeline.graph.rows(CLUSTERS).values())
        return existing_facts(self.settings.ca.directory, clusters, self.settings.mesh, wanted)

    def _resolve(self) -> tuple[str, ...]:
        """Needs every network's gateways from now on, and with them their hostnames."""
        graph = self.pipeline.graph
        for network in graph.ask(NETWORKS, ""):
            graph.demand(NETWORK_GATEWAYS, network)
        self._settle()
        names = graph.wanted(RESOLVED)
        if not names:
            return ()
        self.pipeline.apply(asyncio.run(_answers(names)))
        self._settle()
        return tuple(sorted(names - graph.rows(RESOLVED).keys()))

    def warm(self) -> dict[ClusterID, float]:
        """Clusters of which a warm file stands for what their API did not tell, and of when it is, in wall clock seconds."""
        return {cluster: health.warm for cluster, health in self.pipeline.graph.rows(CLUSTER_STATES).items() if health.warm}

    def connect(self, proxy: Proxy) -> None:
        """From now on this proxy is a part of the mesh."""
        origin = Origin(source="proxy", seen=time.time())
        self.pipeline.apply([Upsert(kind=Kind.PROXY, key=proxy.id, value=proxy, origin=origin)])
        self._settle()

    def served(self, proxy: Proxy, types: Iterable[str]) -> dict[str, tuple[Resource, ...]]:
        """What a stream of this proxy would be sent that asks for all there is of these types, by name where it is had by name only; by
        type URL, sorted by name."""
        place = self._cache.join(proxy.id)
        for type_url in types:
            self._cache.hold(place, type_url, None, None)
        self._settle()
        self._stand_in()
        found = {type_url: tuple(place.tables[type_url].everything()) for type_url in types if type_url in place.tables}
        self._cache.leave(place)
        return found

    def _stand_in(self) -> None:
        """Certificates that the CA's directory holds are there; where one isn't made yet, something stands that says so."""
        graph = self.pipeline.graph
        self.pipeline.apply(self._of_the_ca(graph.wanted(LEAVES)))
        origin = Origin(source="ca", seen=time.time())
        missing = sorted(graph.wanted(LEAVES) - graph.rows(LEAVES).keys(), key=lambda key: (key.cluster, key.identity))
        leaf = Leaf(chain=NOT_SIGNED, key=NOT_SIGNED)
        self.pipeline.apply(Upsert(kind=Kind.LEAF, key=key, value=leaf, origin=origin) for key in missing)
        if "" not in graph.rows(ROOTS):
            self.pipeline.apply([Upsert(kind=Kind.ROOT, key="", value=Root(bundle=NOT_SIGNED), origin=origin)])
        self._settle()

    def _settle(self) -> None:
        published = self._cache.publish(self.pipeline.settle(self._cache.absorb))
        if published.failed:
            raise _failure(published.failed[0])


async def _answers(names: frozenset[str]) -> list[Fact]:
    """What DNS says of each of these names, as far as it answers in time."""
    from steersman.sources.dns import Resolver  # with dnspython: a tenth

    facts: list[Fact] = []
    done = asyncio.Event()

    def emit(told: Sequence[Fact]) -> None:
        facts.extend(told)
        if names <= {fact.origin.place for fact in facts if isinstance(fact, Upsert)}:
            done.set()

    resolver = Resolver()
    resolver.want(names)
    following = asyncio.create_task(resolver.run(emit), name="dns")
    try:
        async with asyncio.timeout(PATIENCE):
            await done.wait()
    except TimeoutError:
        pass
    finally:
        following.cancel()
        await asyncio.wait([following])
    return facts


def _failure(failed: ComputeFailed) -> SteersmanError:
    return SteersmanError(f"a value could not be computed, which is a bug in Steersman; please report it with the objects: {failed}")


def offline(config: str) -> Offline:
    """The mesh of this configuration file. Raises ConfigError."""
    logging.getLogger("steersman").addHandler(logging.NullHandler())  # what a server logs of its sources, findings say here
    return Offline(read_settings(Path(config)))
