"""`steersman serve` as a process of its own, and real Envoys at it, all on loopback addresses of this test process."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import yaml

from steersman.model.proxy import Interception
from steersman.server.bootstrap import Mode, envoy_bootstrap, node_metadata
from tests.support.objects import NAMESPACE, Directory
from tests.support.running import AdminHTTP, Envoy, free_port, loopback, started_envoy

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds in which whatever is waited for has to come on the slowest of machines."""
DRAINED = 10.0
"""Seconds in which a server that is told to stop has promised to end."""
SERVER = loopback(250)


def eventually(found: Callable[[], T], seconds: float = PATIENCE, pause: float = 0.02) -> T:
    """What `found` returns once that is truthy. It may raise AssertionError or OSError until then; at the end the last one is raised."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            result = found()
            if result or time.monotonic() > deadline:
                assert result, f"not so within {seconds:g} s: {result!r}"
                return result
        except (AssertionError, OSError, http.client.HTTPException):
            if time.monotonic() > deadline:
                raise
        time.sleep(pause)


def free_ports(address: str, count: int) -> list[int]:
    """Different ones."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server((address, 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in sockets]


class ControlPlane(AdminHTTP):
    """A configuration, and the server that runs with it while it is started. Its addresses stay the same over restarts.

    A cluster whose settings don't say `kubernetes` has a directory. `config`: further sections of the configuration; `server.xds` among
    them is added to the address. `host`: where xDS is bound.
    """

    def __init__(self, directory: Path, clusters: Mapping[str, Mapping[str, Any]], *, host: str = SERVER, **config: Any) -> None:
        self.directory = directory
        self.clusters = {
            name: Directory(directory / settings.get("files", name)) for name, settings in clusters.items() if "kubernetes" not in settings
        }
        ports = free_ports(SERVER, 3)
        self.xds = f"{SERVER}:{ports[0]}"
        self.inspect = f"{SERVER}:{ports[1]}"
        super().__init__(f"{SERVER}:{ports[2]}")
        server = {
            "xds": {"address": f"{host}:{ports[0]}", **config.pop("xds", {})},
            "inspect": {"address": self.inspect},
            "admin": {"address": self._admin},
        }
        listed = [{"name": name, **({"files": name} if name in self.clusters else {}), **settings} for name, settings in clusters.items()]
        self.config = directory / "steersman.yaml"
        self.config.write_text(yaml.safe_dump({"clusters": listed, "server": server, **config}, sort_keys=False))
        self.log = directory / "serve.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *command: str) -> Self:
        """Starts it, without waiting; `command`: in place of `steersman serve`."""
        with self.log.open("ab") as log:
            run = command or (sys.executable, "-m", "steersman.cli", "serve", "-c", str(self.config))
            self._process = subprocess.Popen(run, stdout=log, stderr=log, cwd=self.directory)
        return self

    def ready(self, seconds: float = PATIENCE) -> Self:
        """Waits for it."""
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            assert self._process is not None
            assert self._process.poll() is None, f"serve ended with {self._process.returncode}:\n{self.said()}"
            assert time.monotonic() < deadline, f"not ready within {seconds:g} s:\n{self.said()}"
            time.sleep(0.01)
        return self

    def is_ready(self) -> bool:
        try:
            return self.get("/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    @property
    def pid(self) -> int:
        """Its process while it is started."""
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self, seconds: float = DRAINED) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"serve has not ended within {seconds:g} s:\n{self.said()}") from None

    def stop(self) -> None:
        """Ends it if it still runs, somehow."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(DRAINED)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def said(self) -> str:
        """The log so far, of all its runs."""
        return self.log.read_text() if self.log.exists() else ""

    # -- over HTTP ------------------------------------------------------------------------------------------------------------

    def json(self, path: str) -> Any:
        status, text = self.get(path)
        assert status == 200, text
        return json.loads(text)

    def findings(self) -> dict[str, list[dict[str, Any]]]:
        """What /debug/findings lists, by id."""
        found: dict[str, list[dict[str, Any]]] = {}
        for finding in self.json("/debug/findings").get("findings", ()):
            found.setdefault(finding["id"], []).append(finding)
        return found

    def metrics(self, name: str) -> dict[str, float]:
        """The samples of that metric, by their labels as they are written."""
        lines = (line.rpartition(" ") for line in self.get("/metrics")[1].splitlines() if line.startswith((f"{name}{{", f"{name} ")))
        return {sample.removeprefix(name): float(value) for sample, _, value in lines}

    def versions(self, proxy: str) -> dict[tuple[str, str], str]:
        """Of every resource that this proxy is to be sent, by (type, name), from Inspect's GetProxyConfig."""
        from steersman.cli.client import connected

        with connected(self.inspect) as client:
            answer = client.proxy_config(proxy, ())
        return {(one.type, one.name): one.version for one in answer.resources}


@contextmanager
def serving(plane: ControlPlane) -> Iterator[ControlPlane]:
    """Started and ready; ended at the end."""
    try:
        yield plane.start().ready()
    finally:
        plane.stop()


class Workload(NamedTuple):
    """A pod, whether or not it runs. `number`: makes its addresses."""

    name: str
    number: int
    cluster: str = "east"
    type: str = "sidecar"
    mode: Mode = Mode.DELTA
    account: str = ""
    namespace: str = NAMESPACE
    on_demand: bool = False

    @property
    def ip(self) -> str:
        return loopback(3 * self.number + 1)

    @property
    def outbound(self) -> str:
        """Where its clients find the services."""
        return loopback(3 * self.number + 2)

    @property
    def app(self) -> str:
        """Where its application listens."""
        return loopback(3 * self.number + 3)

    @property
    def id(self) -> str:
        return f"{self.type}~{self.ip}~{self.name}.{self.namespace}~{self.namespace}.svc.cluster.local"

    @property
    def metadata(self) -> dict[str, Any]:
        return node_metadata(
            cluster=self.cluster,
            namespace=self.namespace,
            service_account=self.account or self.name.rpartition("-")[0] or self.name,
            labels={"app": self.name.rpartition("-")[0] or self.name},
            interception=Interception.NONE if self.type == "sidecar" else Interception.REDIRECT,
            outbound_address=self.outbound,
            app_address=self.app,
            on_demand_clusters=self.on_demand,
        )

    def bootstrap(self, xds: str) -> dict[str, Any]:
        admin = f"{self.ip}:{free_port(self.ip)}"
        return envoy_bootstrap(node_id=self.id, xds=xds, admin=admin, mode=self.mode, metadata=self.metadata)


@contextmanager
def envoys(plane: ControlPlane, *workloads: Workload) -> Iterator[dict[str, Envoy]]:
    """A ready Envoy for each, by its workload's name; they start together."""
    with ExitStack() as stack:
        started = {one.name: stack.enter_context(started_envoy(one.bootstrap(plane.xds), plane.directory, one.name)) for one in workloads}
        for one in started.values():
            one.wait_ready()
        yield started


# -- what an Envoy says ---------------------------------------------------------------------------------------------------------


def refusals(envoy: Envoy) -> dict[str, int]:
    """Counters of refused updates that aren't zero. Fails where Envoy counts none at all."""
    counters = envoy.stats("update_rejected$")
    assert {"cluster_manager.cds.update_rejected", "listener_manager.lds.update_rejected"} <= counters.keys()
    return {name: value for name, value in counters.items() if value}


def warming(envoy: Envoy) -> dict[str, int]:
    """What waits for something else to come, where that is not nothing."""
    gauges = envoy.stats("^(cluster_manager.warming_clusters|listener_manager.total_listeners_warming)$")
    assert len(gauges) == 2
    return {name: value for name, value in gauges.items() if value}


def endpoints(envoy: Envoy, cluster: str) -> dict[str, str]:
    """The addresses of a cluster with their health flags, as Envoy itself lists them; empty while there is no such cluster."""
    return of_endpoints(envoy, cluster, "health_flags")


def of_endpoints(envoy: Envoy, cluster: str, what: str) -> dict[str, str]:
    """What Envoy lists of each address of a cluster under that name, such as `priority` or `rq_total`."""
    found: dict[str, str] = {}
    for line in envoy.get("/clusters")[1].splitlines():
        name, _, rest = line.partition("::")
        if name == cluster and (parts := rest.split("::"))[1:2] == [what]:
            found[parts[0]] = parts[2]
    return found


def config(envoy: Envoy, resource: str) -> list[dict[str, Any]]:
    """That part of its configuration, such as dynamic_active_clusters."""
    status, text = envoy.get(f"/config_dump?resource={resource}")
    assert status == 200, text
    configs: list[dict[str, Any]] = json.loads(text).get("configs", [])
    return configs


def clusters(envoy: Envoy) -> set[str]:
    """Names of those that it uses."""
    return {one["cluster"]["name"] for one in config(envoy, "dynamic_active_clusters")}


def listeners(envoy: Envoy) -> set[str]:
    """Names of those that are bound and serve."""
    return {one["name"] for one in config(envoy, "dynamic_listeners") if "active_state" in one and "warming_state" not in one}
