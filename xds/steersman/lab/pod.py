"""A pod that runs: its containers as processes of this machine, and whether each is ready, as a kubelet tells it."""

import asyncio
from collections.abc import Callable, Mapping

from steersman.errors import SteersmanError
from steersman.lab.fetch import Reply, connects, fetch
from steersman.lab.launch import ADMIN_PORT, EnvoyFile, Placed, World, launch, probe_address
from steersman.lab.manifests import Container, Probe, Proxy, containers_of, probes_of
from steersman.lab.objects import ContainerState
from steersman.lab.process import Process
from steersman.model.ids import ObjectKey

_WHILE_STARTING = 0.1
"""Seconds between probes of a container that has not been ready since it started."""

_PROXY_READY = Probe(port=ADMIN_PORT, path="/ready")


class Pod:
    """One pod of the lab. `tell` is called with what its containers are, at every look; `note` with a process that started or ended."""

    def __init__(
        self,
        placed: Placed,
        world: World,
        envoy: EnvoyFile,
        *,
        tell: Callable[[ObjectKey, Mapping[str, ContainerState]], None],
        note: Callable[[Process], None],
    ) -> None:
        self.placed = placed
        self.key = placed.key
        self.containers = {container.name: container for container in containers_of(placed.pod, placed.manifests.file(placed.pod))}
        self.processes = {name: self._process(container, world, envoy) for name, container in self.containers.items()}
        self.states: dict[str, ContainerState] = {}
        self._probes = {name: self._probe_of(name, container) for name, container in self.containers.items()}
        self._probe_address = probe_address(placed, world)
        self._failures = dict.fromkeys(self.containers, 0)
        self._look = asyncio.Event()
        self._tell = tell
        self._note = note

    @property
    def proxy(self) -> str | None:
        """The name of the container that is its Envoy."""
        return next((name for name, container in self.containers.items() if isinstance(container, Proxy)), None)

    @property
    def ready(self) -> bool:
        return bool(self.states) and all(state.ready for state in self.states.values())

    def chosen(self, container: str | None) -> list[str]:
        """The containers that a command means: the named one, else all but the Envoy, else that. Raises SteersmanError for a wrong name."""
        if container is None:
            return [name for name in self.containers if name != self.proxy] or list(self.containers)
        if container not in self.containers:
            raise SteersmanError(f"pod {self.key} has no container {container}; it has {', '.join(self.containers)}")
        return [container]

    async def start(self, names: list[str]) -> None:
        for name in names:
            self._failures[name] = 0
            await self.processes[name].start()

    async def stop(self, names: list[str]) -> None:
        await asyncio.gather(*(self.processes[name].stop() for name in names))

    async def watch(self) -> None:
        """Look after it until cancelled."""
        while True:
            self._look.clear()
            found = await asyncio.gather(*map(self._state, self.containers))
            self.states = dict(zip(self.containers, found, strict=True))
            self._tell(self.key, self.states)
            starting = any(state.running and not state.ready for state in found)
            periods = [probe.period for probe in self._probes.values() if probe is not None]
            try:
                async with asyncio.timeout(_WHILE_STARTING if starting else min(periods, default=1.0)):
                    await self._look.wait()
            except TimeoutError:
                continue

    async def admin(self, path: str, method: str = "GET") -> Reply:
        """What its Envoy's admin interface answers. Raises OSError or TimeoutError where it does not."""
        url = f"http://{self.placed.address.app}:{ADMIN_PORT}{path}"
        return await fetch(url, namespace=self.placed.namespace, method=method)

    def _process(self, container: Container, world: World, envoy: EnvoyFile) -> Process:
        command = launch(container, self.placed, world, envoy)
        name = f"{self.key}/{container.name}"
        log = world.directory / "logs" / f"{self.key.joined('.')}.{container.name}.log"
        return Process(name, command.argv, log=log, env=command.env, kept=command.kept, changed=self._process_changed)

    def _process_changed(self, process: Process) -> None:
        self._note(process)
        self._look.set()

    def _probe_of(self, name: str, container: Container) -> Probe | None:
        return _PROXY_READY if isinstance(container, Proxy) else probes_of(self.placed.pod).get(name)

    async def _state(self, name: str) -> ContainerState:
        process, probe = self.processes[name], self._probes[name]
        if not process.running:
            return ContainerState(exited=process.returncode)
        passed = probe is None or await self._passes(self.containers[name], probe)
        if process.returncode is not None:  # it ended while it was asked
            return ContainerState(exited=process.returncode)
        self._failures[name] = 0 if passed else self._failures[name] + 1
        was_ready = self.states.get(name, ContainerState()).ready
        forgiven = probe is not None and was_ready and self._failures[name] < probe.failures
        return ContainerState(ready=passed or forgiven, running=True)

    async def _passes(self, container: Container, probe: Probe) -> bool:
        address = self.placed.address.app if isinstance(container, Proxy) else self._probe_address
        if not probe.path:
            return await connects(address, probe.port, namespace=self.placed.namespace, within=probe.patience)
        try:
            reply = await fetch(f"http://{address}:{probe.port}{probe.path}", namespace=self.placed.namespace, within=probe.patience)
        except (OSError, TimeoutError):
            return False
        return 200 <= reply.status < 400
