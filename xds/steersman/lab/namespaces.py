"""The lab's networks, each pod in a network namespace of its own, as Kubernetes has it.

    pod eth0 --.                                                      .-- eth0 pod
    pod eth0 --+-- [pods] router [wan] ---- wan ---- [wan] router [pods] --+-- eth0 pod
                          [mgmt] ------- control -------- [mgmt]

A router keeps its pods' addresses to itself: what leaves by `wan` has the router's own address, and what comes in by it gets only to the
pods of a Service of type LoadBalancer. The control plane is reached by another way, so that cutting the wide area cuts no proxy off.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from ipaddress import IPv4Network

from steersman.lab import netns
from steersman.lab.addresses import Addresses
from steersman.lab.labfile import LabFile
from steersman.lab.manifests import Manifests, container_ports, target_port
from steersman.model.ids import NetworkID, ObjectKey, ServiceKey
from steersman.names import INBOUND_CAPTURE_PORT, OUTBOUND_CAPTURE_PORT, short_hosts

PROXY_ID = 1337
"""User and group of Envoy; what they send is not captured. Istio's."""

_TOOLS = ("ip", "iptables-restore", "setpriv")


async def why_not(prefix: str) -> str | None:
    """What keeps this machine from having network namespaces with capture; None if nothing does. Tries it, and leaves nothing."""
    if sys.platform != "linux":
        return "this is not Linux"
    if os.geteuid() != 0:
        return "not root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian, Ubuntu: apt-get install iproute2 iptables)"
    trial = f"{prefix}trial"
    try:
        await netns.ip_batch([f"netns add {trial}"])
        await netns.run("ip", "netns", "exec", trial, "iptables-restore", text=capture_rules())
    except netns.CommandFailed as refused:
        return str(refused)
    finally:
        await remove(trial)
    return None


async def remove(prefix: str) -> list[str]:
    """End what runs in the namespaces whose names begin so, remove them, and say which they were."""
    found = netns.named(prefix)
    for namespace in found:
        for pid in (await netns.run("ip", "netns", "pids", namespace)).split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
    if found:
        await netns.ip_batch([f"netns delete {namespace}" for namespace in found])
    for namespace in found:
        shutil.rmtree(netns.overlay(namespace), ignore_errors=True)
    with contextlib.suppress(OSError):  # others' overlays stay
        netns.overlay("").rmdir()
    return found


class Namespaces:
    """The networks of one run. The names of its namespaces begin with `prefix`."""

    def __init__(self, prefix: str, lab: LabFile, clusters: Sequence[Manifests], addresses: Addresses) -> None:
        self.prefix = prefix
        self._lab = lab
        self._clusters = clusters
        self._addresses = addresses
        self._network = {cluster.name: cluster.network for cluster in lab.clusters}

    @property
    def control(self) -> str:
        """Where the control plane runs."""
        return f"{self.prefix}control"

    def pod(self, key: ObjectKey) -> str:
        return f"{self.prefix}{key.cluster}.{key.namespace}.{key.name}"

    def router(self, network: NetworkID) -> str:
        return f"{self.prefix}router.{network}"

    async def up(self) -> None:
        pods = [(manifests, pod) for manifests in self._clusters for pod in manifests.of_kind("Pod")]
        await netns.ip_batch([*self._wires()])
        await asyncio.gather(self._wide_area(), self._management(), *(self._route(network) for network in self._lab.networks))
        await asyncio.gather(*(self._settle(manifests, manifests.key(pod)) for manifests, pod in pods))
        captured = [manifests.key(pod) for manifests, pod in pods if manifests.has_sidecar(pod)]
        await asyncio.gather(*(self._restore(self.pod(key), capture_rules()) for key in captured))

    async def down(self) -> None:
        await remove(self.prefix)

    def _wires(self) -> list[str]:
        """Every namespace, and the cables between them."""
        wan = f"{self.prefix}wan"
        routers = [self.router(network) for network in self._lab.networks]
        pods = {self.pod(key): self.router(self._network[key.cluster]) for key in self._addresses.pods}
        cables = [f"netns add {name}" for name in (wan, self.control, *routers, *pods)]
        for number, router in enumerate(routers):
            cables.append(f"link add wan netns {router} type veth peer name w{number} netns {wan}")
            cables.append(f"link add mgmt netns {router} type veth peer name m{number} netns {self.control}")
        for number, (pod, router) in enumerate(pods.items()):
            cables.append(f"link add eth0 netns {pod} type veth peer name p{number} netns {router}")
        return cables

    async def _wide_area(self) -> None:
        wires = [f"w{number}" for number in range(len(self._lab.networks))]
        await netns.ip_batch(_bridge("wan", wires), namespace=f"{self.prefix}wan")

    async def _management(self) -> None:
        wires = [f"m{number}" for number in range(len(self._lab.networks))]
        length = IPv4Network(self._lab.ground.management).prefixlen
        address = f"address add {self._addresses.control}/{length} dev mgmt"
        await netns.ip_batch(["link set lo up", *_bridge("mgmt", wires), address], namespace=self.control)

    async def _route(self, network: NetworkID) -> None:
        name, router = self.router(network), self._addresses.routers[network]
        pods, wan, management = (
            IPv4Network(text).prefixlen for text in (self._lab.ranges(network).pods, self._lab.ground.wan, self._lab.ground.management)
        )
        wires = [f"p{number}" for number, key in enumerate(self._addresses.pods) if self._network[key.cluster] == network]
        given = [
            external
            for service, behind in self._addresses.external.items()
            if self._network[service.cluster] == network
            for external, _ in behind
        ]
        commands = [
            "link set lo up",
            *_bridge("pods", wires),
            f"address add {router.pods}/{pods} dev pods",
            f"address add {router.wan}/{wan} dev wan",
            *(f"address add {external}/{wan} dev wan" for external in given),
            f"address add {router.management}/{management} dev mgmt",
            "link set wan up",
            "link set mgmt up",
        ]
        await netns.ip_batch(commands, namespace=name)
        netns.sysctl(name, "net/ipv4/ip_forward", "1")
        await self._restore(name, self._router_rules(network))

    async def _settle(self, manifests: Manifests, key: ObjectKey) -> None:
        name, network = self.pod(key), self._network[key.cluster]
        length = IPv4Network(self._lab.ranges(network).pods).prefixlen
        ip = self._addresses.pods[key].ip
        commands = [
            "link set lo up",
            f"address add {ip}/{length} dev eth0",
            "link set eth0 up",
            f"route add default via {self._addresses.routers[network].pods}",
        ]
        await netns.ip_batch(commands, namespace=name)
        # As container runtimes do: a gateway on port 80 needs no privilege inside its own network.
        netns.sysctl(name, "net/ipv4/ip_unprivileged_port_start", "0")
        overlay = netns.overlay(name)
        overlay.mkdir(parents=True, exist_ok=True)
        (overlay / "hosts").write_text(self._hosts(manifests, key))
        (overlay / "resolv.conf").write_text("# no DNS in the lab: the services are in /etc/hosts\noptions timeout:1 attempts:1\n")

    def _hosts(self, manifests: Manifests, key: ObjectKey) -> str:
        """What the cluster's DNS would say of its services to a pod of this namespace."""
        lines = ["127.0.0.1 localhost", f"{self._addresses.pods[key].ip} {key.name}"]
        for service, vip in sorted(self._addresses.vips.items()):
            if service.cluster == manifests.cluster and vip != "None":
                names = short_hosts(ServiceKey(service.namespace, service.name), self._lab.domain, key.namespace)
                lines.append(" ".join((vip, *names)))
        return "\n".join(lines) + "\n"

    def _router_rules(self, network: NetworkID) -> str:
        router, pods = self._addresses.routers[network], self._lab.ranges(network).pods
        return f"""*nat
{"".join(self._published(network))}-A POSTROUTING -s {pods} -o wan -j SNAT --to-source {router.wan}
-A POSTROUTING -s {pods} -o mgmt -j SNAT --to-source {router.management}
-A POSTROUTING -s {pods} -o pods -m conntrack --ctstate DNAT -j SNAT --to-source {router.pods}
COMMIT
*filter
:FORWARD DROP [0:0]
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -i pods -o pods -j ACCEPT
-A FORWARD -i pods -o wan -j ACCEPT
-A FORWARD -i pods -o mgmt -d {self._addresses.control} -j ACCEPT
-A FORWARD -i wan -o pods -m conntrack --ctstate DNAT -j ACCEPT
COMMIT
"""

    def _published(self, network: NetworkID) -> list[str]:
        """The ports of each Service of type LoadBalancer, to the pods behind it."""
        rules = []
        for manifests in self._clusters:
            if self._network[manifests.cluster] != network:
                continue
            found = {manifests.key(pod): pod for pod in manifests.of_kind("Pod")}
            for service in manifests.of_kind("Service"):
                for external, pod in self._addresses.external.get(manifests.key(service), ()):
                    for port in service["spec"].get("ports") or []:
                        target = target_port(port.get("targetPort", port["port"]), container_ports(found[pod]))
                        to = f"{self._addresses.pods[pod].ip}:{target}"
                        rules.append(f"-A PREROUTING -d {external} -p tcp --dport {port['port']} -j DNAT --to-destination {to}\n")
        return rules

    async def _restore(self, namespace: str, rules: str) -> None:
        await netns.run("ip", "netns", "exec", namespace, "iptables-restore", text=rules)


def capture_rules() -> str:
    """What Istio's init container does to a pod: all TCP to the sidecar, except what the sidecar sends and what stays on 127.0.0.1.

    127.0.0.6 is where the sidecar's inbound connections to the app come from; captured again, they would go round for ever.
    """
    mine = [f"-m owner --{kind}-owner {PROXY_ID}" for kind in ("uid", "gid")]
    others = [f"-m owner ! --{kind}-owner {PROXY_ID}" for kind in ("uid", "gid")]
    to_itself = "".join(f"-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 {owner} -j ISTIO_IN_REDIRECT\n" for owner in mine)
    local = "".join(f"-A ISTIO_OUTPUT -o lo {owner} -j RETURN\n" for owner in others)
    sent = "".join(f"-A ISTIO_OUTPUT {owner} -j RETURN\n" for owner in mine)
    return f"""*nat
:ISTIO_INBOUND - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_REDIRECT - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -p tcp -j ISTIO_OUTPUT
-A ISTIO_INBOUND -j ISTIO_IN_REDIRECT
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports {INBOUND_CAPTURE_PORT}
-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN
{to_itself}{local}{sent}-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports {OUTBOUND_CAPTURE_PORT}
COMMIT
"""


def _bridge(name: str, wires: Sequence[str]) -> list[str]:
    commands = [f"link add {name} type bridge", f"link set {name} up"]
    for wire in wires:
        commands += [f"link set {wire} master {name}", f"link set {wire} up"]
    return commands
