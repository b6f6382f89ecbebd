"""`steersman serve` on a core of its own over a mesh in files, with so many streams of proxies that have what there is."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from steersman.ads.messages import Variant
from tests.bench import processes
from tests.bench.http2 import Load, Wire
from tests.bench.meshes import Client, Mesh, Names, delta_requests, names_of, sotw_requests
from tests.support.live import ControlPlane

_SERVICE = b"/envoy.service.discovery.v3.AggregatedDiscoveryService/"
PATHS = {Variant.DELTA: _SERVICE + b"DeltaAggregatedResources", Variant.SOTW: _SERVICE + b"StreamAggregatedResources"}
READY = 120.0


class Served:
    """The server and its mesh. `pid`: its process. `address`: where its streams are opened."""

    def __init__(self, plane: ControlPlane, mesh: Mesh, pid: int) -> None:
        self.plane = plane
        self.mesh = mesh
        self.pid = pid
        host, _, port = plane.xds.rpartition(":")
        self.address = (host, int(port))
        self._names: dict[str, Names] = {}

    def open(self, load: Load, client: Client, variant: Variant = Variant.DELTA) -> Wire:
        """A stream of this proxy, which asks for everything at once."""
        if variant is Variant.DELTA:
            return self.reopen(load, delta_requests(client, self.names(client)))
        requests, acknowledgement = sotw_requests(client, self.names(client))
        return load.open(self.address, PATHS[variant], requests, acknowledgement)

    def reopen(self, load: Load, requests: Iterable[bytes]) -> Wire:
        """A delta stream that sends these."""
        return load.open(self.address, PATHS[Variant.DELTA], requests)

    def names(self, client: Client) -> Names:
        """What a proxy of its cluster asks for by name."""
        names = self._names.get(client.cluster)
        if names is None:
            names = self._names[client.cluster] = names_of(client, self.plane.xds)
        return names

    def streams(self) -> int:
        """How many there are at the server."""
        return int(sum(self.plane.metrics("steersman_connections").values()))


@contextmanager
def served(services: int, endpoints: int, networks: int = 1) -> Iterator[Served]:
    """A server over such a mesh, ready."""
    processes.more_files()
    with TemporaryDirectory() as base:
        plane = ControlPlane(Path(base), {f"c{number}": {"network": f"network-c{number}"} for number in range(networks)})
        mesh = Mesh(plane, services, endpoints)
        plane.start()
        try:
            processes.apart(plane.pid)  # before it has threads
            plane.ready(READY)
            yield Served(plane, mesh, plane.pid)
        finally:
            plane.stop()
            processes.together()
