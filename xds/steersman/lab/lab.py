"""A lab that runs: control plane, networks, apps and Envoys as one tree of processes, which ends as a whole."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from steersman.errors import ConfigError, SteersmanError
from steersman.lab import namespaces, selection
from steersman.lab.addresses import Addresses, addresses
from steersman.lab.cluster import Cluster
from steersman.lab.controlplane import DRAIN, ControlPlane
from steersman.lab.forward import Destination, Forward
from steersman.lab.isolation import Isolation
from steersman.lab.labfile import LabFile
from steersman.lab.launch import ADMIN_PORT, EnvoyFile, Placed, World
from steersman.lab.manifests import Manifests, Proxy, labels_of, network_of, read_manifests
from steersman.lab.namespaces import Namespaces
from steersman.lab.objects import ContainerState
from steersman.lab.pod import Pod
from steersman.lab.process import Process, process_id
from steersman.lab.run import Run, loopback_slot, new_id, new_run, prefix_of
from steersman.lab.status import CONTROL_PLANE, ContainerStatus, ForwardStatus, GatewayStatus, LabStatus, PodStatus
from steersman.model.ids import NetworkID, ObjectKey

_PATIENCE = 60.0
"""Seconds in which everything must become ready."""


class LabFailed(SteersmanError):
    """The lab did not come up."""


@asynccontextmanager
async def running(file: LabFile, *, isolate: bool | None = None, say: Callable[[str], None], keep: bool = False) -> AsyncIterator["Lab"]:
    """The lab, ready, for as long as the context lasts; then nothing of it is left, however the context ends.

    `isolate`: with network namespaces or without; None: with, where possible, else `say` says why not. `say` takes text for people.
    `keep`: leave the run's directory, with its logs; it stays as well if the lab does not come up.
    Raises ConfigError for a file that can't be run, LabFailed if it does not come up.
    """
    clusters = tuple(read_manifests(cluster.name, cluster.manifests) for cluster in file.clusters)
    isolation = await _isolation(isolate, say)
    async with AsyncExitStack() as stack:
        slot = stack.enter_context(loopback_slot()) if isolation is Isolation.LOOPBACK else 1
        plan = addresses(file, clusters, isolation, slot)
        envoy = EnvoyFile()
        stack.callback(envoy.close)
        run = new_run(file.path, isolation, process_id(os.getpid()), new_id())
        try:
            lab = Lab(file, clusters, plan, run, envoy, say)
            try:
                await lab.up()
                yield lab
            finally:
                await _to_the_end(lab.down())
        except LabFailed:
            keep = True
            raise
        finally:
            if keep:
                say(f"The logs are in {run.directory / 'logs'}, until `steersman lab down`")
            else:
                run.remove()


class Lab:
    """One run of a lab file. Ready once `up` has returned."""

    def __init__(
        self, file: LabFile, clusters: Sequence[Manifests], plan: Addresses, run: Run, envoy: EnvoyFile, say: Callable[[str], None]
    ) -> None:
        self.file = file
        self.plan = plan
        self.run = run
        self._say = say
        self._moved = asyncio.Event()
        self._ending = False
        self._watches: list[asyncio.Task[None]] = []
        (run.directory / "logs").mkdir()
        self.networks = Namespaces(run.record.prefix, file, clusters, plan) if plan.isolation is Isolation.NAMESPACES else None
        self.clusters = {found.cluster: Cluster(found, plan, run.directory / "clusters" / found.cluster) for found in clusters}
        self.control = ControlPlane(
            file,
            plan,
            run.directory,
            {name: cluster.directory.resolve() for name, cluster in self.clusters.items()},
            namespace=self.networks.control if self.networks is not None else None,
            changed=self._process_changed,
        )
        world = World(isolation=plan.isolation, xds=self.control.xds, mode=file.ground.xds, domain=file.domain, directory=run.directory)
        self.pods = {
            placed.key: Pod(placed, world, envoy, tell=self._containers_are, note=self._process_changed)
            for found in clusters
            for placed in self._placed(found)
        }
        self.doors = {
            "inspect": Forward("inspect", Destination(self.control.host, self.control.inspect_port, self.control.namespace)),
            "admin": Forward("admin", Destination(self.control.host, self.control.admin_port, self.control.namespace)),
        }
        self.forwards = [(wanted, self._forward(wanted.to)) for wanted in file.ground.forward]

    async def up(self) -> None:
        """Raises LabFailed, naming what was not ready and with its last words, if not everything is within a minute."""
        if self.networks is not None:
            self._say(f"Networks {', '.join(self.file.networks)}, joined by {self.file.ground.wan} only")
            await self.networks.up()
        for cluster in self.clusters.values():
            cluster.publish()
        self._say(f"Control plane, and {len(self.pods)} pods in {len(self.clusters)} clusters")
        apps = {pod: [name for name in pod.containers if name != pod.proxy] for pod in self.pods.values()}
        await asyncio.gather(self.control.process.start(), *(pod.start(names) for pod, names in apps.items()))
        self._watches = [asyncio.create_task(pod.watch(), name=f"watch {key}") for key, pod in self.pods.items()]
        try:
            await self.control.until_ready(_PATIENCE)
        except SteersmanError as failed:
            raise LabFailed(str(failed)) from failed
        await asyncio.gather(*(pod.start([pod.proxy]) for pod in self.pods.values() if pod.proxy is not None))
        await self.until_ready()
        await self.doors["inspect"].open(self.control.inspect_port)
        await self.doors["admin"].open(self.control.admin_port)
        for wanted, forward in self.forwards:
            await forward.open(wanted.port)

    async def down(self) -> None:
        """End everything, the data plane first. What is not there is not missed."""
        self._ending = True
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        await asyncio.gather(*(forward.close() for forward in (*self.doors.values(), *(forward for _, forward in self.forwards))))
        await asyncio.gather(*(pod.stop(list(pod.containers)) for pod in self.pods.values()))
        await self.control.process.stop(DRAIN)
        if self.networks is not None:
            await self.networks.down()

    async def until_ready(self, seconds: float = _PATIENCE) -> None:
        """Until every pod is ready. Raises LabFailed, with the last words of what is not, after so many seconds, or if something ended."""
        try:
            async with asyncio.timeout(seconds):
                while waiting := [pod for pod in self.pods.values() if not pod.ready]:
                    self._moved.clear()
                    if ended := [name for pod in waiting for name, state in pod.states.items() if state.exited is not None]:
                        raise LabFailed(f"{', '.join(ended)} ended:\n{self._last_words(waiting)}")
                    await self._moved.wait()
        except TimeoutError:
            waiting = [pod for pod in self.pods.values() if not pod.ready]
            raise LabFailed(f"not ready after {seconds:.0f} s:\n{self._last_words(waiting)}") from None

    async def until_broken(self) -> None:
        """For as long as all pods are looked after, which is until `down`. Raises what ended that; it would be a bug."""
        await asyncio.gather(asyncio.Event().wait(), *self._watches)

    def chosen(self, named: str) -> list[Pod]:
        """The pods that CLUSTER/[NAMESPACE/]NAME means. Raises SteersmanError where there is none."""
        keys = {str(key): key for key in self.pods}
        return [self.pods[keys[found]] for found in selection.chosen(named, self._apps())]

    def pod(self, named: str) -> Pod:
        """The only pod that the name means. Raises SteersmanError."""
        return self.pods[{str(key): key for key in self.pods}[selection.only(named, self._apps())]]

    async def stop(self, named: str, container: str | None = None) -> list[str]:
        """End the control plane, or containers of pods: the named one, else the apps. Says what was meant, running or not."""
        if named == CONTROL_PLANE:
            await self.control.process.stop(DRAIN)
            return [CONTROL_PLANE]
        chosen = [(pod, pod.chosen(container)) for pod in self.chosen(named)]
        await asyncio.gather(*(pod.stop(names) for pod, names in chosen))
        return [f"{pod.key}/{name}" for pod, names in chosen for name in names]

    async def start(self, named: str, container: str | None = None) -> list[str]:
        """Start again what `stop` ended, or what ended by itself. Says what was meant, running or not."""
        if named == CONTROL_PLANE:
            await self.control.process.start()
            return [CONTROL_PLANE]
        chosen = [(pod, pod.chosen(container)) for pod in self.chosen(named)]
        await asyncio.gather(*(pod.start(names) for pod, names in chosen))
        return [f"{pod.key}/{name}" for pod, names in chosen for name in names]

    async def status(self) -> LabStatus:
        process = self.control.process
        ready = await self.control.is_ready()
        return LabStatus(
            id=self.run.id,
            lab=str(self.file.path),
            isolation=self.plan.isolation,
            directory=str(self.run.directory),
            control=ContainerStatus(CONTROL_PLANE, ready, process.id.pid if process.id is not None else None, str(process.log)),
            namespace=self.control.namespace or "",
            xds=self.control.xds,
            inspect=f"127.0.0.1:{self.doors['inspect'].port}",
            admin=f"127.0.0.1:{self.doors['admin'].port}",
            pods=tuple(map(self._pod_status, self.pods.values())),
            gateways=tuple(self._gateways()),
            forwards=tuple(ForwardStatus(forward.port, wanted.to) for wanted, forward in self.forwards),
        )

    # -- its parts

    def _placed(self, manifests: Manifests) -> list[Placed]:
        network = next(cluster.configured for cluster in self.file.clusters if cluster.name == manifests.cluster)
        return [
            Placed(
                manifests=manifests,
                pod=pod,
                address=self.plan.pods[manifests.key(pod)],
                namespace=self.networks.pod(manifests.key(pod)) if self.networks is not None else None,
                network=network,
            )
            for pod in sorted(manifests.of_kind("Pod"), key=manifests.key)
        ]

    def _forward(self, to: str) -> Forward:
        """From where this machine would be if it stood beside the pod's network, so that the connection comes in as any other."""
        named, _, port = to.rpartition(":")
        if not port.isdecimal():
            raise ConfigError(str(self.file.path), "lab.forward.to", to, "CLUSTER/[NAMESPACE/]POD:PORT")
        try:
            pod = self.pod(named)
        except SteersmanError as unknown:
            raise ConfigError(str(self.file.path), "lab.forward.to", to, f"a pod and its port ({unknown})") from unknown
        network = self.file.network_of(pod.key.cluster)
        namespace = self.networks.router(network) if self.networks is not None else None
        return Forward(to, Destination(pod.placed.address.ip, int(port), namespace))

    def _apps(self) -> dict[str, str]:
        return {str(key): labels_of(pod.placed.pod).get("app", "") for key, pod in self.pods.items()}

    def _containers_are(self, key: ObjectKey, states: Mapping[str, ContainerState]) -> None:
        self.clusters[key.cluster].containers_are(key, states)
        self._moved.set()

    def _process_changed(self, process: Process) -> None:
        self.run.note(process.name, process.id)
        if not process.running and not process.stopped and not self._ending:
            how = f"exit {process.returncode}" if (process.returncode or 0) >= 0 else f"signal {-(process.returncode or 0)}"
            self._say(f"{process.name} ended by itself ({how}); its log is {process.log}")

    def _last_words(self, pods: Sequence[Pod]) -> str:
        return "\n".join(
            f"-- {pod.key}/{name}\n{pod.processes[name].said()}"
            for pod in pods
            for name in pod.containers
            if not pod.states.get(name, ContainerState()).ready
        )

    def _pod_status(self, pod: Pod) -> PodStatus:
        placed, containers = pod.placed, []
        for name, process in pod.processes.items():
            state = pod.states.get(name, ContainerState())
            containers.append(ContainerStatus(name, state.ready, process.id.pid if process.id is not None else None, str(process.log)))
        role = next((one.role for one in pod.containers.values() if isinstance(one, Proxy)), None)
        return PodStatus(
            pod=str(pod.key),
            app=labels_of(placed.pod).get("app", pod.key.name),
            network=network_of(placed.pod, placed.network),
            node=placed.node,
            ip=placed.address.ip,
            ready=pod.ready,
            containers=tuple(containers),
            proxy=placed.node_id(role, self.file.domain) if role is not None else "",
            namespace=placed.namespace or "",
            outbound=placed.address.outbound if role == "sidecar" else "",
            admin=f"{placed.address.app}:{ADMIN_PORT}" if role is not None else "",
        )

    def gateways(self) -> dict[str, NetworkID]:
        """The network behind each address, HOST:PORT, at which other networks reach one."""
        return {address: NetworkID(one.network) for one in self._gateways() for address in one.addresses}

    def _gateways(self) -> list[GatewayStatus]:
        found = []
        for key, behind in self.plan.external.items():
            cluster = self.clusters[key.cluster]
            service = next(one for one in cluster.manifests.of_kind("Service") if cluster.manifests.key(one) == key)
            ports = [port["port"] for port in service["spec"].get("ports") or []]
            network = network_of(service, self.file.network_of(key.cluster))
            found.append(GatewayStatus(str(key), network, tuple(f"{external}:{port}" for external, _ in behind for port in ports)))
        return found


async def _to_the_end(work: Coroutine[None, None, None]) -> None:
    """Await it even if this task is cancelled meanwhile; the cancellation is heeded afterwards."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as asked:
            cancelled = asked
    if cancelled is not None:
        raise cancelled


async def _isolation(isolate: bool | None, say: Callable[[str], None]) -> Isolation:
    reason = "as asked" if isolate is False else await namespaces.why_not(prefix_of(new_id()))
    if reason is None:
        return Isolation.NAMESPACES
    if isolate:
        raise SteersmanError(f"network namespaces can't be made here: {reason}")
    say(
        f"Without network namespaces ({reason}): every pod has 127.x addresses of its own, which all of this machine can reach,\n"
        "so no two pods share an address, and the networks are apart by configuration only."
    )
    return Isolation.LOOPBACK
