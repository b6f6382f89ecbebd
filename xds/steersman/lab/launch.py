"""How each container of a pod becomes a command of this machine."""

import json
import os
import sys
from pathlib import Path

import msgspec

from steersman.lab.addresses import PodAddress
from steersman.lab.envoy import envoy_binary
from steersman.lab.isolation import Isolation
from steersman.lab.manifests import Command, Container, Manifests, Object, Proxy, StandIn, labels_of, network_of
from steersman.lab.namespaces import PROXY_ID
from steersman.lab.netns import within
from steersman.model.ids import NetworkID, ObjectKey
from steersman.model.proxy import Interception, ProxyType
from steersman.names import node_id
from steersman.server.bootstrap import Mode, envoy_bootstrap, node_metadata

ADMIN_PORT = 15000
"""Envoy's admin interface, on the address where its app listens. Istio's port."""


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same for every pod. `xds`: HOST:PORT of the control plane. `directory`: the run's."""

    isolation: Isolation
    xds: str
    mode: Mode
    domain: str
    directory: Path


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A pod, and where it was put. `namespace`: its network namespace, None on loopback. `network`: its cluster's, "" if it has none."""

    manifests: Manifests
    pod: Object
    address: PodAddress
    namespace: str | None
    network: NetworkID

    @property
    def key(self) -> ObjectKey:
        return self.manifests.key(self.pod)

    @property
    def service_account(self) -> str:
        return str(self.pod["spec"].get("serviceAccountName") or "default")

    @property
    def node(self) -> str:
        return str(self.pod["spec"].get("nodeName") or "")

    def node_id(self, role: str, domain: str) -> str:
        """As which its proxy is known to the control plane."""
        key = self.key
        return node_id(ProxyType(role), self.address.ip, key.name, key.namespace, f"{key.namespace}.svc.{domain}")


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """A command ready to be run. `kept`: descriptors that it must inherit."""

    argv: tuple[str, ...]
    env: dict[str, str]
    kept: tuple[int, ...] = ()


class EnvoyFile:
    """The Envoy binary, open, so that the user whom Envoy runs as can execute it even where that user can't get at it by its path,
    such as below a home directory."""

    def __init__(self) -> None:
        self.path = envoy_binary()
        self.descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self.descriptor)

    def command(self, *, by_others: bool) -> tuple[str, tuple[int, ...]]:
        """What to execute, and the descriptors to inherit for it."""
        if not by_others or all(parent.stat().st_mode & 0o001 for parent in self.path.parents):
            return str(self.path), ()
        return f"/proc/self/fd/{self.descriptor}", (self.descriptor,)


def launch(container: Container, placed: Placed, world: World, envoy: EnvoyFile) -> Launch:
    """The container's command. A proxy's bootstrap is written into the run's directory on the way."""
    match container:
        case Proxy():
            return _proxy(container, placed, world, envoy)
        case StandIn(name=_, app=app, version=version, ports=ports, env=env):
            listen = ["--address", app_address(placed, world), "--port", str(ports[0])]
            argv = [sys.executable, "-m", "steersman.lab.apps", app, "--version", version, *listen]
            return Launch(argv=tuple(within(placed.namespace, argv)), env=_environment(placed, world) | env)
        case Command(argv=command, env=env):
            return Launch(argv=tuple(within(placed.namespace, command)), env=_environment(placed, world) | env)


def app_address(placed: Placed, world: World) -> str:
    """Where the pod's own containers listen: behind its sidecar if it has one."""
    if world.isolation is Isolation.NAMESPACES:
        return "0.0.0.0"
    return placed.address.app if placed.manifests.has_sidecar(placed.pod) else placed.address.ip


def probe_address(placed: Placed, world: World) -> str:
    """Where its kubelet finds them, past the sidecar."""
    return "127.0.0.1" if world.isolation is Isolation.NAMESPACES else app_address(placed, world)


def _proxy(container: Proxy, placed: Placed, world: World, envoy: EnvoyFile) -> Launch:
    file = world.directory / "envoy" / f"{placed.key.joined('.')}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(_bootstrap(container, placed, world), indent=1))
    command, kept = envoy.command(by_others=placed.namespace is not None)
    argv = [command, "--config-path", str(file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    if placed.namespace is not None:
        # Becoming another user clears the parent-death signal: set it again.
        user = ["--reuid", str(PROXY_ID), "--regid", str(PROXY_ID), "--clear-groups", "--pdeathsig", "KILL"]
        argv = within(placed.namespace, ["setpriv", *user, "--", *argv])
    return Launch(argv=tuple(argv), env=_environment(placed, world), kept=kept)


def _bootstrap(container: Proxy, placed: Placed, world: World) -> Object:
    key, address = placed.key, placed.address
    captured = world.isolation is Isolation.NAMESPACES
    labels = labels_of(placed.pod)
    metadata = node_metadata(
        cluster=key.cluster,
        network=network_of(placed.pod, placed.network),
        namespace=key.namespace,
        labels=labels,
        service_account=placed.service_account,
        workload=key.name,
        instance_ips=(address.ip,),
        interception=Interception.REDIRECT if captured else Interception.NONE,
        outbound_address=address.outbound,
        app_address="" if captured else address.app,
        unprivileged_ports=captured or os.geteuid() == 0,
    )
    return envoy_bootstrap(
        node_id=placed.node_id(container.role, world.domain),
        xds=world.xds,
        admin=f"{address.app}:{ADMIN_PORT}",
        mode=world.mode,
        node_cluster=f"{labels.get('app', key.name)}.{key.namespace}",
        metadata=metadata,
        locality=placed.manifests.locality(placed.node),
        load_reports=True,
    )


def _environment(placed: Placed, world: World) -> dict[str, str]:
    """This process's environment without its HTTP proxies, and what a pod is told of itself."""
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    key = placed.key
    env |= {
        "POD_NAME": key.name,
        "POD_NAMESPACE": key.namespace,
        "POD_IP": placed.address.ip,
        "NODE_NAME": placed.node,
        "CLUSTER_ID": key.cluster,
        "ZONE": placed.manifests.locality(placed.node).zone,
        "APP_ADDRESS": app_address(placed, world),
        "OUTBOUND_ADDRESS": placed.address.outbound if placed.manifests.has_sidecar(placed.pod) else "",
    }
    return env
