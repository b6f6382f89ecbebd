"""How long the event loop is held at a stretch, by the real engine with real streams: the time between two looks at what else has come.

In CPU time of the loop's thread: what other processes take of the machine is not the engine's. Streams are those of the server, but for the
transport: bytes go no further, and every response is acknowledged.
"""

import asyncio
import gc
import random
import selectors
import time
from collections.abc import Iterable, Iterator, Sequence

from envoy.config.core.v3.base_pb2 import Node as EnvoyNode
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from steersman.admin.counters import Counters
from steersman.ads.messages import Variant
from steersman.ads.shared import Shared
from steersman.model.facts import Delete, Fact, LeafKey
from steersman.model.ids import ClusterID, Hostname, ObjectKey
from steersman.model.limits import LIMITS
from steersman.model.objects import Kind, SliceEndpoint
from steersman.names import EDS, outbound_cluster
from steersman.server.connection import Connection
from steersman.server.door import Door
from steersman.server.engine import Engine
from tests.bench.figures import Figure, Reference
from tests.bench.mesh import ADDRESSES, NETWORKS, REGIONS, Mesh, gateway_fact, labels_of_service, node_fact, pod_of, upsert

SERVICES, ENDPOINTS = 1000, 100
SECONDS, RATE = 60, 1000
ROUNDS = 5
LONGEST = 20.0


def run() -> Iterator[Figure]:
    watched = Watched()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(watched)) as runner:
        yield from runner.run(_measured(watched))


WORK = "20,000 tuples, each put into a dict with a list"


def _work() -> float:
    """Milliseconds of CPU that always the same takes: how fast the machine is now."""
    began = time.thread_time()
    made = {}
    for number in range(20_000):
        made[number, "a"] = [number, number + 1]
    assert len(made) == 20_000
    return (time.thread_time() - began) * 1000


class Watched(selectors.DefaultSelector):
    """A selector that notes for how long the loop didn't ask it: `longest`, in milliseconds of the thread's CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0.0
        self._since = time.thread_time()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.longest = max(self.longest, (time.thread_time() - self._since) * 1000)
        try:
            return super().select(timeout)
        finally:
            self._since = time.thread_time()

    def taken(self) -> float:
        """The longest since this was last asked."""
        longest, self.longest = self.longest, 0.0
        return longest


async def _measured(watched: Watched) -> list[Figure]:
    gc.disable()
    mesh = Mesh(SERVICES, ENDPOINTS)
    engine = Engine(mesh.pipeline, Unwanted(), Counters())
    running = asyncio.create_task(engine.run())
    engine.ready.set()
    shared, door = Shared(), Door(LIMITS, Counters())
    streams = [Stream(engine, shared, door, number, addresses) for number in range(NETWORKS) for addresses in ADDRESSES]
    for stream in streams:
        await stream.answered()
    mesh.freeze()
    gc.set_threshold(2_000, 50_000, 10)
    gc.enable()
    await asyncio.sleep(0.1)
    watched.taken()
    figures = [
        Figure(name=name, values=tuple(values), references=(Reference(WORK, tuple(_work() for _ in values)),), most_target=LONGEST)
        for name, values in [
            (f"loop held: {RATE} events/s for {SECONDS} s, longest of each second", await _churn(engine, mesh, watched)),
            ("loop held: a gateway's address changes, 100,000 endpoints", await _changes(engine, watched, _gateways())),
            ("loop held: a Node's zone changes, 100,000 endpoints", await _changes(engine, watched, _zones())),
        ]
    ]
    for stream in streams:
        stream.end()
    running.cancel()
    return figures


async def _churn(engine: Engine, mesh: Mesh, watched: Watched) -> list[float]:
    """Readiness comes and goes, and every fourth event is a pod that is replaced by another."""
    chance = random.Random(2)
    longest = []
    loop = asyncio.get_running_loop()
    began, sent = loop.time(), 0
    for second in range(SECONDS):
        while (now := loop.time() - began) < second + 1:
            while sent < now * RATE:
                engine.submit(_replaced(mesh, chance) if sent % 4 == 0 else [mesh.changed()])
                sent += 1
            await asyncio.sleep(0.001)
        longest.append(watched.taken())
    await _settled(engine)
    return longest


def _replaced(mesh: Mesh, chance: random.Random) -> list[Fact]:
    """A pod goes, and a new one of another name and address stands in its place, ready."""
    key = chance.choice(mesh.names)
    piece = mesh.slices[key]
    place = chance.randrange(len(piece.endpoints))
    old = piece.endpoints[place]
    gone = ObjectKey(key.cluster, key.namespace, old.pod)
    name = f"{piece.service}-{chance.randrange(1 << 40):x}"
    address = f"10.{200 + chance.randrange(50)}.{chance.randrange(250)}.{1 + chance.randrange(250)}"
    pod = pod_of(ObjectKey(key.cluster, key.namespace, name), address, old.place.node, labels_of_service(piece.service))
    entry = SliceEndpoint(address=address, pod=name, place=old.place)
    piece = mesh.slices[key] = piece.listing((*piece.endpoints[:place], entry, *piece.endpoints[place + 1 :]))
    return [Delete(kind=Kind.POD, key=gone), upsert(Kind.POD, pod.key, pod), upsert(Kind.ENDPOINT_SLICE, key, piece)]


async def _changes(engine: Engine, watched: Watched, facts: Iterable[Fact]) -> list[float]:
    longest = []
    for fact in facts:
        watched.taken()
        engine.submit([fact])
        await _settled(engine)
        longest.append(watched.taken())
    return longest


def _gateways() -> list[Fact]:
    return [gateway_fact(ClusterID("c1"), 1, (f"192.0.2.{100 + number}", "2001:db8::2")) for number in range(ROUNDS)]


def _zones() -> list[Fact]:
    return [node_fact(ClusterID("c1"), number % REGIONS, f"r{number % REGIONS}-b{number}") for number in range(ROUNDS)]


async def _settled(engine: Engine) -> None:
    """Until the engine has taken in all that was submitted, and the streams are told."""
    await engine.ask(lambda read: None)
    for _ in range(50):
        await asyncio.sleep(0)


class Unwanted:
    """Nobody signs leaves or resolves names here."""

    def want_leaves(self, leaves: frozenset[LeafKey]) -> None:
        pass

    def want_names(self, names: frozenset[str]) -> None:
        pass


class Stream:
    """A delta stream that holds all endpoints, at a standpoint of its own."""

    def __init__(self, engine: Engine, shared: Shared, door: Door, number: int, addresses: Sequence[str]) -> None:
        self.peer = f"ipv4:127.0.0.1:{10_000 + number}"
        self._requests: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._answered = asyncio.Event()
        self._connection = Connection(engine, self, Variant.DELTA, Counters(), shared, door=door, secrets=False)
        self._own = f"{self._connection.id}-".encode()
        names = [outbound_cluster(80, Hostname(f"svc{name}.default.svc.cluster.local")) for name in range(SERVICES)]
        node = EnvoyNode(id=f"sidecar~{addresses[0]}~client-{number}-{len(addresses)}{addresses[0][0]}.default~default.svc.cluster.local")
        node.metadata.update({"CLUSTER_ID": f"c{number}", "INSTANCE_IPS": ",".join(addresses)})
        request = DeltaDiscoveryRequest(node=node, type_url=EDS, resource_names_subscribe=names)
        self._requests.put_nowait(request.SerializeToString())
        self._task = asyncio.create_task(self._connection.run())

    async def answered(self) -> None:
        """Until the first response has come."""
        await self._answered.wait()

    def end(self) -> None:
        self._requests.put_nowait(None)

    async def read(self) -> bytes | None:
        return await self._requests.get()

    async def write(self, message: bytes) -> None:
        """Acknowledges: the nonce stands near the end of a response."""
        start = message.rfind(self._own)
        nonce = message[start : start + message[start - 1]].decode()
        self._requests.put_nowait(DeltaDiscoveryRequest(type_url=EDS, response_nonce=nonce).SerializeToString())
        self._answered.set()
