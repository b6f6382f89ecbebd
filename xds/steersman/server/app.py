"""The running control plane: everything built, wired, started, and drained in order.

files, kubernetes, ca, dns --> Sources --> Engine <--> Connections <-- gRPC
                                 |
          admin HTTP, Inspect ---'
"""

import asyncio
import gc
import logging
import resource
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from operator import attrgetter
from typing import TypeVar

from steersman.admin.counters import Counters
from steersman.admin.http import serve_http
from steersman.admin.inspect import serve_inspect
from steersman.admin.loads import Loads
from steersman.admin.state import CLUSTER_KINDS, ConnectionStatus, OpenStream, SourceStatus
from steersman.graph import Reader
from steersman.model.facts import LeafKey
from steersman.model.ids import ClusterID, ServiceKey
from steersman.model.removals import HeldRemoval
from steersman.pipeline import Pipeline
from steersman.server.connection import Connection
from steersman.server.engine import Engine
from steersman.server.memory import give_back
from steersman.server.remotes import RemoteClusters
from steersman.server.sources import Run, Source, Sources
from steersman.server.transport import XDSServer
from steersman.settings import Settings
from steersman.sources.ca import CertificateAuthority
from steersman.sources.configuration import configuration_facts
from steersman.sources.dns import Resolver
from steersman.sources.files import FileSource, directories_of
from steersman.sources.kube import registrations
from steersman.sources.kube.configured import kube_sources
from steersman.sources.kube.warmstore import warm_directory

log = logging.getLogger("steersman")

T = TypeVar("T")

CA_TIMEOUT = 30.0
"""Seconds that readiness waits for the certificate authority's directory."""
DRAIN = 5.0
"""Seconds over which streams are ended, so that not all of them come to the next server at once."""
_YOUNG = 2_000
"""Objects made before the cyclic collector looks at them, and holds the loop for it: 1 ms, and ten where each refers to many others."""
_OLD = 50_000
"""Times that it does so before it looks at all that they left: never, in practice. Nothing here is cyclic (tests hold us to that), and a
look at everything that 100,000 endpoints are made of takes half a second."""


def serve(settings: Settings) -> int:
    """Runs the control plane until SIGTERM or SIGINT, then drains it. Returns 0.

    Raises ConfigError where the configuration can't be served: a source of a kind that is not there, an address that is taken.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    _take_files()
    asyncio.run(Server(settings).run())
    return 0


def _take_files() -> None:
    """As many as the system lets us have open: each stream is one, and the usual 1024 would turn proxies away without a word."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Server:
    """One control plane. It is the admin interfaces' ServerState."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.instance = socket.gethostname()
        self.started = time.time()
        self.pipeline = Pipeline()
        self.counters = Counters()
        self.directories = directories_of(settings)
        self.engine = Engine(self.pipeline, self, self.counters)
        self.feeds = Sources(self.engine, self.counters)
        self.ca = CertificateAuthority(settings.ca.directory, [cluster.config for cluster in settings.clusters], settings.mesh)
        self.resolver = Resolver()
        self.files = FileSource(self.directories)
        self.loads = Loads(settings.server.xds.load_reporting_interval)
        self.xds = XDSServer(self.engine, settings.server.xds, self.counters, self.loads)
        self.warm = warm_directory(settings.warm_start)
        self.remotes = RemoteClusters(settings, self.feeds, self.warm, self.ca.know)
        self.kube = kube_sources(settings, self.remotes.claimed, self.warm)
        self.draining = False

    # -- what the pipeline wants ----------------------------------------------------------------------------------------------

    def want_leaves(self, leaves: frozenset[LeafKey]) -> None:
        self.ca.want(leaves)

    def want_names(self, names: frozenset[str]) -> None:
        self.resolver.want(names)

    # -- what the admin interfaces see ----------------------------------------------------------------------------------------

    def connections(self) -> Sequence[ConnectionStatus]:
        return [connection.status() for connection in self._in_order()]

    def streams(self) -> Sequence[OpenStream]:
        return self._in_order()

    def _in_order(self) -> list[Connection]:
        """By proxy."""
        return sorted(self.engine.connections, key=attrgetter("place"))

    def waiting(self) -> int:
        return self.xds.door.waiting

    def sources(self) -> Sequence[SourceStatus]:
        return self.feeds.statuses()

    def not_ready(self) -> Sequence[str]:
        if self.draining:
            return ("the server is draining: it is about to end",)
        if self.engine.ready.is_set():
            return ()
        return self.feeds.waited_for() or ("the first generation is being computed",)

    async def release(self, cluster: ClusterID, service: ServiceKey | None) -> Sequence[HeldRemoval] | None:
        source = self.kube.get(cluster) or self.remotes.source(cluster)
        return await source.release(service) if source is not None else None

    async def ask(self, question: Callable[[Reader], T]) -> T:
        return await self.engine.ask(question)

    # -- running --------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serves until it is told to stop by SIGTERM or SIGINT, then drains."""
        gc.disable()  # until it is ready: all that is made then stays
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with AsyncExitStack() as listening:
            await self._listen(listening)
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self.engine.run(), name="engine"),
                    *self._start_sources(tasks),
                    tasks.create_task(self._become_ready(), name="readiness"),
                    tasks.create_task(give_back(self._work), name="memory"),
                    tasks.create_task(self.engine.refusals.run(), name="refusals"),
                ]
                await stop.wait()
                await self._drain()
                for task in running:
                    task.cancel()
        log.info("ended")

    async def _listen(self, listening: AsyncExitStack) -> None:
        """Takes the addresses first, so that a taken one is told before anything else is done. Streams wait until the mesh is known."""
        server = self.settings.server
        runner, admin_port = await serve_http(self, server.admin.address.host, server.admin.address.port)
        listening.push_async_callback(runner.cleanup)
        inspect, inspect_port = await serve_inspect(self, str(server.inspect.address))
        listening.push_async_callback(inspect.stop, 0.5)
        xds_port = await self.xds.start()
        listening.push_async_callback(self.xds.stop)
        log.info("xDS on %s, admin on %s, inspect on %s", xds_port, admin_port, inspect_port)

    def _start_sources(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        self.engine.submit(configuration_facts(self.settings, self.started))
        feeding: dict[tuple[str, ...], Run] = {("ca",): self.ca.run, ("dns",): self.resolver.run}
        if self.directories:
            feeding[tuple(self.directories)] = self.files.run
        for cluster in self.settings.clusters:
            name = cluster.config.name
            if name in self.directories:
                self.feeds.add(Source(name, "files", str(self.directories[name]), cluster.sync_timeout, partial(self._ignored, name)))
            else:
                source = self.kube[name]
                self.feeds.add(Source(name, "kubernetes", source.place, cluster.sync_timeout, cluster=source.status))
                feeding[name,] = source.run
        if self.settings.remote_clusters.asked_for:
            self.feeds.add(Source(registrations.SOURCE, registrations.SOURCE, self.remotes.place, self.remotes.timeout))
            self.remotes.begin()
            feeding[registrations.SOURCE,] = self.remotes.run
        self.feeds.add(Source("ca", "ca", str(self.settings.ca.directory), CA_TIMEOUT))
        self.feeds.add(Source("dns", "dns", "resolv.conf", None))
        return [tasks.create_task(self.feeds.supervise(names, run), name=f"source-{names[0]}") for names, run in feeding.items()]

    def _ignored(self, cluster: ClusterID) -> int:
        return sum(self.files.ignored[cluster].values())

    def _work(self) -> int:
        return self.counters.generations + sum(self.counters.streams.values()) + sum(self.counters.closed.values())

    async def _become_ready(self) -> None:
        await self.feeds.synced()
        # What the sources told so far is in the engine's inbox before any stream's joining is: the first answers know all of it.
        self.engine.ready.set()
        await self.engine.ask(lambda read: None)  # returns when all of that is in the pipeline
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG, _OLD, 10)
        gc.enable()
        clusters = sum(source.kind in CLUSTER_KINDS for source in self.feeds.statuses())
        log.info("ready: %d objects of %d clusters", sum(self.pipeline.held.values()), clusters)
        self._tell_of_strangers()
        while True:  # what a cluster has told that comes late stays as well
            await self.feeds.another()
            await self.engine.ask(lambda read: None)
            gc.freeze()

    def _tell_of_strangers(self) -> None:
        """Warm files of clusters that are not there, as far as all are known that are."""
        unknown = any(status.cluster is not None and not status.cluster.contact for status in self.feeds.statuses())
        if self.warm is not None and not (unknown and self.settings.remote_clusters.secrets):
            for path in self.warm.others([*self.kube, *(source.cluster for source in self.remotes.sources)]):
                log.warning("the warm file %s is of no cluster that is read from its API; remove it if that cluster is gone", path)

    async def _drain(self) -> None:
        log.info("draining: readiness is off, streams are ended within %g s", DRAIN)
        self.draining = True
        await asyncio.gather(self.xds.drain(DRAIN), *(source.keep() for source in (*self.kube.values(), *self.remotes.sources)))
