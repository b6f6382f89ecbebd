"""Tables that never stand still, set by hand, under load that never pauses: a real Envoy, and generations of every awkward kind."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from steersman.ads.messages import Variant
from steersman.names import CDS, EDS, LDS, RDS
from tests.support.changes import Report, application
from tests.support.load import Lane, Load, Target
from tests.support.running import Envoy, free_port
from tests.support.static import StaticServer, static_server, until
from tests.support.tables import APPS, PROXY, at, cluster, endpoints, listener, route, settles, wave
from tests.support.xds import Mesh

LISTENERS = 2
PAUSE = 0.005
"""Seconds between two requests of a lane."""
HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}

Wave = Callable[[int], Coroutine[Any, Any, str]]
"""Changes something for the listener of that number, and says what it was."""


class Waves:
    """Each listener has a route to one cluster, and is under load. Every wave leaves it so, in one generation or several."""

    def __init__(self, mesh: Mesh, seed: int, ports: Sequence[int], apps: Sequence[int]) -> None:
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.history: list[tuple[float, str]] = []
        self._mesh = mesh
        self._ports = ports
        self._apps = apps
        self._number = 0
        self._fields: dict[str, dict[str, Any]] = {}
        self._cluster = [self._new() for _ in ports]
        self._listener = [f"l{number}" for number in range(len(ports))]
        self._route = [f"r{number}" for number in range(len(ports))]
        self._renamed = [False for _ in ports]
        for place in range(len(ports)):
            put = {LDS: [self._listener_of(place)], **self._led(place)}
            wave(mesh, {**put, **self._made(self._cluster[place])})

    def lanes(self) -> list[Lane]:
        made = []
        for place, port in enumerate(self._ports):
            target = Target(PROXY, port, "any")
            made += [
                Lane(f"{place} kept", target, pause=PAUSE),
                Lane(f"{place} anew", target, kept=False, pause=PAUSE),
                Lane(f"{place} slow", target, slow=100),
            ]
        return made

    async def another(self, load: Load, settled: Callable[[], Any]) -> None:
        """One more wave. What follows on it comes in the same turn, some milliseconds later, or when the Envoy has settled.

        A listener that has another name or route is left alone until it is settled, since Envoy closes the socket of one that is replaced
        while it warms; and connections that it took before are renewed, since they keep to the route of then as it last was.
        """
        place = self.random.randrange(len(self._ports))
        made = self.random.choice(self._waves())
        if self._renamed[place] or made == self.rename_route:
            await settled()
        if self._renamed[place]:
            await asyncio.to_thread(load.renew, *(lane for lane in load.lanes if lane.name.startswith(f"{place} ")))
            self._renamed[place] = False
        what = await made(place)
        self.done[what] += 1
        self.history.append((time.monotonic(), f"{place} {what}"))
        match self.random.randrange(5):
            case 0:
                await settled()
            case 1:
                pass
            case _:
                await asyncio.sleep(self.random.random() * 0.03)

    def _waves(self) -> Sequence[Wave]:
        return (
            self.move,
            self.move_and_back,
            self.change,
            self.change_and_remove,
            self.move_endpoints,
            self.change_all,
            self.change_listener,
            self.rename_listener,
            self.rename_route,
        )

    # -- waves ----------------------------------------------------------------------------------------------------------------

    async def move(self, place: int) -> str:
        old, self._cluster[place] = self._cluster[place], self._new()
        self._tell({**self._made(self._cluster[place]), **self._led(place)}, {CDS: [old], EDS: [old]})
        return "route moved to a new cluster, the old one removed"

    async def move_and_back(self, place: int) -> str:
        """The old cluster is back while it lingers, as it was or changed, and the new one goes."""
        old, new = self._cluster[place], self._new()
        self._cluster[place] = new
        self._tell({**self._made(new), **self._led(place)}, {CDS: [old], EDS: [old]})
        await asyncio.sleep(self.random.random() * 0.01)
        self._cluster[place] = old
        if self.random.random() < 0.5:
            self._vary(old)
        self._tell({**self._made(old), **self._led(place)}, {CDS: [new], EDS: [new]})
        return "route moved away and back, the cluster back while it lingers"

    async def change(self, place: int) -> str:
        self._vary(self._cluster[place])
        self._tell({CDS: self._made(self._cluster[place])[CDS]})
        return "cluster changed"

    async def change_and_remove(self, place: int) -> str:
        self._vary(self._cluster[place])
        self._tell({CDS: self._made(self._cluster[place])[CDS]})
        await self.move(place)
        return "cluster changed and removed at once"

    async def move_endpoints(self, place: int) -> str:
        self._move(self._cluster[place])
        self._tell({EDS: self._made(self._cluster[place])[EDS]})
        return "endpoints moved"

    async def change_all(self, place: int) -> str:
        name = self._cluster[place]
        self._vary(name)
        self._move(name)
        self._tell({**self._made(name), LDS: [self._listener_of(place)], **self._led(place)})
        return "cluster, endpoints and listener changed"

    async def change_listener(self, place: int) -> str:
        self._tell({LDS: [self._listener_of(place)]})
        return "listener changed"

    async def rename_listener(self, place: int) -> str:
        """Another one on the same address."""
        old, self._listener[place] = self._listener[place], self._named("l")
        self._renamed[place] = True
        self._tell({LDS: [self._listener_of(place)]}, {LDS: [old]})
        return "listener renamed"

    async def rename_route(self, place: int) -> str:
        old, self._route[place] = self._route[place], self._named("r")
        self._renamed[place] = True
        self._tell({LDS: [self._listener_of(place)], **self._led(place)}, {RDS: [old]})
        return "route renamed"

    # -- what they are made of ------------------------------------------------------------------------------------------------

    def _tell(self, put: Mapping[str, Any], remove: Mapping[str, Any] | None = None) -> None:
        wave(self._mesh, dict(put), dict(remove or {}))

    def _named(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}-{self._number}"

    def _new(self) -> str:
        name = self._named("c")
        self._fields[name] = {}
        self._vary(name)
        self._move(name)
        return name

    def _vary(self, name: str) -> None:
        self._number += 1
        fields = self._fields[name]
        fields["connect_timeout"] = f"{1 + self._number / 1000:.3f}s"
        fields["http2"] = self.random.random() < 0.5

    def _move(self, name: str) -> None:
        self._fields[name]["apps"] = tuple(self.random.sample(self._apps, 2))

    def _made(self, name: str) -> dict[str, Any]:
        fields = dict(self._fields[name])
        apps, http2 = fields.pop("apps"), fields.pop("http2")
        options = {"typed_extension_protocol_options": HTTP2} if http2 else {}
        return {CDS: [cluster(name, **fields, **options)], EDS: [endpoints(name, *apps)]}

    def _led(self, place: int) -> dict[str, Any]:
        return {RDS: [route(self._route[place], self._cluster[place])]}

    def _listener_of(self, place: int) -> Any:
        self._number += 1
        changed = {"per_connection_buffer_limit_bytes": 100_000 + self._number} if self.random.random() < 0.5 else {}
        return listener(self._listener[place], self._ports[place], self._route[place], stat_prefix=f"s{self._number}", **changed)


@asynccontextmanager
async def waving(variant: Variant, directory: Path, seed: int) -> AsyncIterator[tuple[Waves, StaticServer, Envoy]]:
    """The Envoy has taken over the first of it."""
    mesh = Mesh()
    apps = [free_port(APPS) for _ in range(4)]
    waves = Waves(mesh, seed, [free_port(PROXY) for _ in range(LISTENERS)], apps)
    with application(directory, [(APPS, port) for port in apps]):
        async with static_server(mesh) as server, at(server, variant, directory) as envoy:
            await settles(envoy, server, 10)
            yield waves, server, envoy


async def wave_on(variant: Variant, directory: Path, seed: int, *, most: int, seconds: float) -> Report:
    """So many waves, or so long."""
    began = time.monotonic()
    async with waving(variant, directory, seed) as (waves, server, envoy):

        async def settled() -> None:
            await until(lambda: all(not channel.pending for channel in server.places[0].connection.status().channels), 10)
            await settles(envoy, server, 10)

        with Load(waves.lanes()) as load:
            await until(lambda: min(load.by_lane().values()) > 2)
            while waves.done.total() < most and time.monotonic() < began + seconds:
                await waves.another(load, settled)
            await settled()
            await asyncio.sleep(0.3)
    return Report(seed, waves.done, waves.history, load, time.monotonic() - began, server.counters.rejects, 0)
