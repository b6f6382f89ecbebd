"""A mesh of two networks that never stands still, under load that never pauses: what a change must not cost is a request.

    callers (east) --> web pods of east
                  '--> east-west gateways of west --> web pods of west

Every request is one that can be answered before a change, during it and after it, as in a rollout that is done with care: a new pod is
there before the old one goes, a backend listens on the old port and on the new one, a caller uses a new name once it is known and an old
one until then, a new gateway stands before the address of the old one is taken away. Pods that were replaced are drained: they live on.
"""

import os
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steersman.server.bootstrap import Mode
from tests.support.live import ControlPlane, Workload, envoys, eventually, listeners, refusals, serving, warming
from tests.support.load import Lane, Load, Target
from tests.support.objects import NETWORK, Directory, Object, endpoint, pod, service, slice_of
from tests.support.running import Envoy, free_port, loopback, started_envoy

EAST, WEST = "east", "west"
CLUSTERS = {EAST: {"network": "network-east"}, WEST: {"network": "network-west"}}

WEB = (
    Workload("web-1", 30, EAST, account="red"),
    Workload("web-2", 31, EAST, account="green", mode=Mode.SOTW),
    Workload("web-3", 32, WEST, account="blue", mode=Mode.SOTW),
    Workload("web-4", 33, WEST, account="grey"),
)
GATEWAYS = (
    Workload("eastwest-1", 34, WEST, "router", account="eastwest", namespace="istio-system"),
    Workload("eastwest-2", 35, WEST, "router", account="eastwest", namespace="istio-system", mode=Mode.SOTW),
)
CALLERS = (Workload("caller-1", 36, EAST, account="caller"), Workload("caller-2", 37, EAST, account="caller", mode=Mode.SOTW))

PASSTHROUGH_PORT = 15443
TARGET, TARGETS, SPOKEN = 18080, (18081, 18082, 18083), 18084
"""Where the applications listen: for everyone, for a service whose target port changes, for one whose protocol does."""
WEB_PORT, FAR_PORT, PORTED_PORT, PROTOCOL_PORT, SHOP_PORTS = 9080, 9081, 9082, 9083, (9084, 9085)
PROTOCOLS = ("http", "http2", "grpc", "tcp")

_TOLD, _BEFORE = 10, 0.5
"""Failures that are told, and for how many seconds before each what was changed."""

Endpoints = dict[Workload, bool]
"""Who stands in a service's slices, and whether it is ready."""


@contextmanager
def application(directory: Path, places: Sequence[tuple[str, int]]) -> Iterator[Envoy]:
    """Answers 200 on these addresses and ports. It speaks HTTP/1.1 and HTTP/2 on each, and takes as long as it is asked to."""
    addresses = [{"socket_address": {"address": address, "port_value": port}} for address, port in places]
    types = "type.googleapis.com/envoy.extensions.filters"
    fault = {
        "@type": f"{types}.http.fault.v3.HTTPFault",
        "delay": {"header_delay": {}, "percentage": {"numerator": 100}},
    }
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "app",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "envoy.filters.http.fault", "typed_config": fault},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}},
        ],
    }
    listener = {
        "name": "app",
        "address": addresses[0],
        "additional_addresses": [{"address": address} for address in addresses[1:]],
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
    }
    host = loopback(200)
    admin = {"address": {"socket_address": {"address": host, "port_value": free_port(host)}}}
    with started_envoy({"admin": admin, "static_resources": {"listeners": [listener]}}, directory, "app") as envoy:
        envoy.wait_ready()
        yield envoy


class World:
    """The mesh as it is at the moment. Its methods change it, each by replacing one file or one after the other."""

    def __init__(self, plane: ControlPlane, seed: int) -> None:
        self.plane = plane
        self.envoys: dict[str, Envoy] = {}
        self.seed = seed
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.history: list[tuple[float, str]] = []
        self.web: Endpoints = {WEB[0]: True}
        self.far: Endpoints = {WEB[2]: True}
        self.target = 0
        self.protocol = 0
        self.shop, self.shop_port = 0, 0
        self.gateway = 0
        self._write_pods()
        for cluster in CLUSTERS:
            self._directory(cluster).put("all-ports.json", _all_ports())
        self._point_gateway(0)
        self._write("web", self.web, WEB_PORT)
        self._write("far", self.far, FAR_PORT, clusters=(WEST,))
        self._write_ported()
        self._write_protocol()
        self._open_shop(0, SHOP_PORTS[:1])

    def lanes(self) -> list[Lane]:
        made: list[Lane] = []
        for caller in CALLERS:
            for name, target in self._targets(caller).items():
                title = f"{caller.name} {name}"
                made.append(Lane(f"{title} kept", target))
                made.append(Lane(f"{title} anew", target, kept=False))
            made.append(Lane(f"{caller.name} web slow", Target(caller.outbound, WEB_PORT, "web"), slow=300))
        return made

    def _targets(self, caller: Workload) -> dict[str, Target]:
        return {
            "web": Target(caller.outbound, WEB_PORT, "web"),
            "far": Target(caller.outbound, FAR_PORT, "far"),
            "ported": Target(caller.outbound, PORTED_PORT, "ported"),
            "protocol": Target(caller.outbound, PROTOCOL_PORT, "protocol"),
            "shop": self._shop_of(caller),
        }

    def _shop_of(self, caller: Workload) -> Target:
        return Target(caller.outbound, SHOP_PORTS[self.shop_port], f"shop-{self.shop}")

    # -- changes --------------------------------------------------------------------------------------------------------------

    def changes(self) -> Sequence[Callable[[Load], None]]:
        return (
            self.roll_out_web,
            self.roll_out_far,
            self.repoint,
            self.change_target,
            self.change_protocol,
            self.rename,
            self.change_port,
            self.swap_gateway,
            self.rotate,
        )

    def roll_out_web(self, load: Load) -> None:
        """A pod of another identity comes up, becomes ready as the old one stops to be (before that, if it is in another cluster: no two
        clusters change at once), and the old one goes.

        Each step is known to everyone before the next: a pod takes longer than that to become ready, and to end. Callers accept its
        certificate before the gateway sends them to it, and until it has stopped to.
        """
        self._roll_out("web", self.web, WEB_PORT, WEB)

    def roll_out_far(self, load: Load) -> None:
        """The same behind the gateway."""
        self._roll_out("far", self.far, FAR_PORT, WEB[2:])

    def _roll_out(self, name: str, endpoints: Endpoints, port: int, among: Sequence[Workload]) -> None:
        (old,) = endpoints
        fresh = self.random.choice([one for one in among if one not in endpoints])
        self._step("identity added", name, endpoints | {fresh: False}, port, fresh.cluster)
        if fresh.cluster != old.cluster:
            self._step("endpoint added", name, endpoints | {fresh: True}, port, fresh.cluster)
        self._step("repointed", name, {old: False, fresh: True}, port, old.cluster)
        self._step("identity removed", name, {fresh: True}, port, old.cluster)
        endpoints.clear()
        endpoints[fresh] = True

    def _step(self, what: str, name: str, endpoints: Endpoints, port: int, cluster: str) -> None:
        """Writes the service in that cluster, and waits until whoever has something else by it has it."""
        before = self._versions()
        self._write(name, endpoints, port, clusters=(cluster,))
        self._did(what)
        eventually(lambda: self._versions() != before)
        self.synced()

    def _versions(self) -> list[dict[tuple[str, str], str]]:
        """Of the clusters and endpoints of a caller and of both gateways."""
        everything = [self.plane.versions(one.name) for one in (CALLERS[0], *GATEWAYS)]
        return [{key: version for key, version in found.items() if key[0] in ("cds", "eds")} for found in everything]

    def repoint(self, load: Load) -> None:
        """Another pod of the same cluster, of another identity, at once; of the callers' own cluster, as no two proxies take anything over
        at once."""
        (old,) = self.web
        if old.cluster != EAST:
            return
        other = next(one for one in WEB if one.cluster == EAST and one is not old)
        self.web.clear()
        self.web[other] = True
        self._write("web", self.web, WEB_PORT)
        self._did("repointed at once")

    def change_target(self, load: Load) -> None:
        self.target = (self.target + 1) % len(TARGETS)
        self._write_ported()
        self._did("target port")

    def change_protocol(self, load: Load) -> None:
        """Not before everyone has taken over the change before: Envoy closes the socket of a listener that is replaced while it warms."""
        name = f"{_virtual('protocol') if PROTOCOLS[self.protocol] == 'tcp' else '0.0.0.0'}_{PROTOCOL_PORT}"
        for caller in CALLERS:
            eventually(lambda: name in listeners(self.envoys[caller.name]))  # noqa: B023 - it is over before the next round
        self.protocol = (self.protocol + self.random.randrange(1, len(PROTOCOLS))) % len(PROTOCOLS)
        self._write_protocol()
        self._did(f"protocol {PROTOCOLS[self.protocol]}")

    def rename(self, load: Load) -> None:
        """A service of another name beside the old one; callers go over to it, then the old one goes."""
        old = self.shop
        self.shop += 1
        self._open_shop(self.shop, (SHOP_PORTS[self.shop_port],))
        self._did("renamed: new name")
        self._move_shop(load)
        for cluster in self._shuffled():
            self._directory(cluster).remove(f"shop-{old}.json")
        self._did("renamed: old name removed")

    def change_port(self, load: Load) -> None:
        """The same with a port: another one beside it first."""
        old, self.shop_port = self.shop_port, 1 - self.shop_port
        for caller in CALLERS:
            eventually(lambda: closed(self._shop_of(caller)))  # noqa: B023 - it is over before the next round
        self._open_shop(self.shop, SHOP_PORTS)
        self._did("port added")
        self._move_shop(load)
        self._open_shop(self.shop, (SHOP_PORTS[1 - old],))
        self._did("port removed")

    def swap_gateway(self, load: Load) -> None:
        self.gateway = 1 - self.gateway
        self._point_gateway(self.gateway)
        self._did("gateway")

    def rotate(self, load: Load) -> None:
        """A workload's certificate is gone, and it gets another when the authority next looks, within ten seconds."""
        if found := sorted((self.plane.directory / ".steersman" / "ca").rglob("leaves/*.pem")):
            self.random.choice(found).unlink()
            self._did("certificate")

    def _move_shop(self, load: Load) -> None:
        for caller in CALLERS:
            target = self._shop_of(caller)
            eventually(lambda: answers(target))  # noqa: B023 - it is over before the next round
            load.move(target, *(lane for lane in load.lanes if lane.name.startswith(f"{caller.name} shop")))

    def _did(self, what: str) -> None:
        """Counts it, and waits: not at all, a moment, or until everybody has everything."""
        self.done[what] += 1
        self.history.append((time.monotonic(), what))
        match self.random.randrange(4):
            case 0:
                self.synced()
            case 1:
                pass
            case _:
                time.sleep(self.random.random() * 0.1)

    # -- as it is -------------------------------------------------------------------------------------------------------------

    def synced(self) -> None:
        eventually(self._is_synced, 30)

    def _is_synced(self) -> bool:
        proxies = self.plane.json("/debug/proxies").get("proxies", ())
        return len(proxies) == len(self.envoys) and all(
            kind["sync"] == "SYNCED" for proxy in proxies for kind in proxy.get("types", ({"sync": ""},))
        )

    def rests(self) -> None:
        """Returns when everybody has everything, and nothing is left warming."""
        self.synced()
        eventually(lambda: not any(warming(one) for one in self.envoys.values()))

    def refused(self) -> dict[str, dict[str, int]]:
        """Updates that an Envoy refused, by its name and what was refused."""
        return {name: found for name, one in self.envoys.items() if (found := refusals(one))}

    def retried(self) -> int:
        """Requests of the callers that were tried once more."""
        return sum(sum(self.envoys[one.name].stats("upstream_rq_retry$").values()) for one in CALLERS)

    def _shuffled(self) -> list[str]:
        clusters = [EAST, WEST]
        self.random.shuffle(clusters)
        return clusters

    def _directory(self, cluster: str) -> Directory:
        return self.plane.clusters[cluster]

    # -- files ----------------------------------------------------------------------------------------------------------------

    def _write_pods(self) -> None:
        for cluster in CLUSTERS:
            pods = [pod(one.name, one.ip, account=one.account) for one in (*WEB, *CALLERS) if one.cluster == cluster]
            self._directory(cluster).put("pods.json", *pods)
        self._directory(WEST).put("gateways.json", *(_gateway(one, f"gw{place}") for place, one in enumerate(GATEWAYS)), *_gateway_pods())

    def _point_gateway(self, place: int) -> None:
        self._directory(WEST).put("eastwest.json", _eastwest(GATEWAYS[place].ip))

    def _write(self, name: str, endpoints: Endpoints, port: int, *, clusters: Sequence[str] | None = None) -> None:
        for cluster in clusters or self._shuffled():
            self._directory(cluster).put(f"{name}.json", *_service(name, {"http": (port, TARGET)}, endpoints, cluster))

    def _write_ported(self) -> None:
        ports = {"http": (PORTED_PORT, TARGETS[self.target])}
        everyone = dict.fromkeys(WEB, True)
        self._directory(EAST).put("ported.json", *_service("ported", ports, everyone, EAST))

    def _write_protocol(self) -> None:
        everyone = dict.fromkeys(WEB, True)
        title = f"{PROTOCOLS[self.protocol]}-it"
        self._directory(EAST).put("protocol.json", *_service("protocol", {title: (PROTOCOL_PORT, SPOKEN)}, everyone, EAST))

    def _open_shop(self, number: int, ports: Sequence[int]) -> None:
        listed = {f"http-{port}": (port, TARGET) for port in ports}
        everyone = dict.fromkeys(WEB, True)
        for cluster in self._shuffled():
            self._directory(cluster).put(f"shop-{number}.json", *_service(f"shop-{number}", listed, everyone, cluster))


def _service(name: str, ports: dict[str, tuple[int, int]], endpoints: Endpoints, cluster: str) -> list[Object]:
    entries = [endpoint(one.name, one.ip, ready=ready) for one, ready in endpoints.items() if one.cluster == cluster]
    targets = {title: target for title, (_, target) in ports.items()}
    return [service(name, ports, ip=_virtual(name), selector={"app": "web"}), slice_of(name, targets, entries)]


def _virtual(name: str) -> str:
    """A ClusterIP."""
    number = sum(map(ord, name)) * 31 + len(name)
    return f"10.96.{number // 250 % 250}.{number % 250 + 1}"


def _all_ports() -> Object:
    """Has the pods' proxies listen on every target port, whichever a service leads to: as pods that are rolled out for another port do."""
    ports = {f"http-{target}": (1000 + target, target) for target in TARGETS}
    return service("all-ports", ports, ip="10.96.255.1", selector={"app": "web"})


def _eastwest(*addresses: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "eastwest", "namespace": "istio-system", "labels": {NETWORK: "network-west"}},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": "eastwest"},
            "ports": [{"name": "tls", "port": PASSTHROUGH_PORT, "targetPort": PASSTHROUGH_PORT}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}},
    }


def _gateway(one: Workload, label: str) -> Object:
    server = {
        "port": {"number": PASSTHROUGH_PORT, "name": "tls", "protocol": "TLS"},
        "bind": one.ip,
        "hosts": ["*.local"],
        "tls": {"mode": "AUTO_PASSTHROUGH"},
    }
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": label, "namespace": "istio-system"},
        "spec": {"selector": {"gateway": label}, "servers": [server]},
    }


def _gateway_pods() -> Iterator[Object]:
    for place, one in enumerate(GATEWAYS):
        yield pod(one.name, one.ip, app="eastwest", labels={"gateway": f"gw{place}"}, namespace="istio-system", account=one.account)


def answers(target: Target) -> bool:
    """Whether a request there is answered 200."""
    with socket.create_connection((target.address, target.port), timeout=5) as probe:
        probe.sendall(f"GET / HTTP/1.1\r\nhost: {target.host}\r\nconnection: close\r\n\r\n".encode())
        return probe.recv(4096).startswith(b"HTTP/1.1 200")


def closed(target: Target) -> bool:
    """Whether nothing listens there (any more)."""
    with socket.socket() as probe:
        return probe.connect_ex((target.address, target.port)) != 0


@contextmanager
def changing(directory: Path, seed: int, *, passthrough: str = "filterChains") -> Iterator[World]:
    """The whole of it, running and at rest."""
    plane = ControlPlane(directory, CLUSTERS, mesh={"passthrough": passthrough})
    world = World(plane, seed)
    places = [(one.app, port) for one in WEB for port in (TARGET, *TARGETS, SPOKEN)]
    with application(directory, places), serving(plane), envoys(plane, *WEB, *GATEWAYS, *CALLERS) as running:
        world.envoys = running
        world.synced()
        for lane in world.lanes():
            eventually(lambda: answers(lane.target))  # noqa: B023 - it is over before the next round
        yield world


class Report:
    """What came of it. `history`: when (time.monotonic()) what was changed. `refused`: updates that Envoys refused. `retried`: requests
    that they tried again."""

    def __init__(
        self,
        number: int,
        changes: Counter[str],
        history: Sequence[tuple[float, str]],
        load: Load,
        seconds: float,
        refused: Mapping[str, Any],
        retried: int,
    ) -> None:
        self.seed = number
        self.changes = changes
        self.history = history
        self.requests = load.requests
        self.failed = list(load.failed)
        self.seconds = seconds
        self.refused = refused
        self.retried = retried

    @property
    def count(self) -> int:
        return self.changes.total()

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} x {what}" for what, count in sorted(self.changes.items()))
        return (
            f"{self.count} changes in {self.seconds:.1f} s ({self.count / self.seconds:.1f}/s, seed {self.seed}), {self.requests} requests,"
            f" {self.retried} tried again, {len(self.failed)} failed, updates refused: {self.refused or 'none'}; {kinds}"
        )

    def told(self) -> str:
        """The report, and the first failures, each with what was changed shortly before."""
        lines = [str(self)]
        for failed in self.failed[:_TOLD]:
            before = [
                f"{at - failed.at:+.3f} {what}" for at, what in self.history if -_BEFORE < at - failed.at + failed.took < failed.took + 0.1
            ]
            lines += [str(failed), f"    {', '.join(before)}"]
        return "\n".join(lines)


def seed() -> int:
    """$STEERSMAN_SEED, else any."""
    return int(os.environ.get("STEERSMAN_SEED", "") or random.SystemRandom().randrange(1_000_000))


def change(world: World, *, most: int, seconds: float) -> Report:
    """So many changes, or so long."""
    began, before = time.monotonic(), world.retried()
    with Load(world.lanes()) as load:
        eventually(lambda: min(load.by_lane().values()) > 2)
        while world.done.total() < most and time.monotonic() < began + seconds:
            world.random.choice(world.changes())(load)
        world.rests()
        time.sleep(0.5)
    return Report(world.seed, world.done, world.history, load, time.monotonic() - began, world.refused(), world.retried() - before)
