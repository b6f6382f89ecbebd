"""Which way requests went, read from the counters of the Envoys that sent them: nothing here is inferred from configuration."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from steersman.lab.fetch import Reply, fetch
from steersman.lab.lab import Lab
from steersman.lab.pod import Pod
from steersman.model.ids import Hostname, ObjectKey
from steersman.names import parse_cluster

Answer = dict[str, Any]
"""What a stand-in answered, with the answers below it under `calls`."""


class Upstream(NamedTuple):
    """A host of a cluster of one Envoy. `address`: IP:PORT, as that Envoy dials it."""

    proxy: ObjectKey
    cluster: str
    address: str


class HostState(NamedTuple):
    """`requests`: sent to it so far."""

    requests: int
    weight: int
    healthy: bool
    priority: int
    locality: str


class Hop(NamedTuple):
    """One call that an app made. `caller`: POD's key. `answered`: the stand-in's own answer. `dialled`: the address that the caller's Envoy
    sent the request to, "" where it sent it to none."""

    caller: ObjectKey
    service: str
    dialled: str
    answered: Answer

    @property
    def by(self) -> str:
        """CLUSTER/POD of who answered, "" if nobody did."""
        return f"{self.answered['cluster']}/{self.answered['pod']}" if "pod" in self.answered else ""


class Page(NamedTuple):
    """A request to an app, its answer (empty where it was none of a stand-in's), and the calls that it took."""

    reply: Reply
    answer: Answer
    hops: tuple[Hop, ...]

    @property
    def complete(self) -> bool:
        return self.reply.status == 200 and all(hop.by for hop in self.hops)


async def hosts_of(pod: Pod) -> dict[Upstream, HostState]:
    """Every host that a pod's Envoy knows. Raises OSError or TimeoutError if it does not answer."""
    reply = await pod.admin("/clusters?format=json")
    found = {}
    listed: Any = reply.json()
    for cluster in listed.get("cluster_statuses", []):
        for host in cluster.get("host_statuses", []):
            socket = host.get("address", {}).get("socket_address")
            if socket is None:
                continue
            counts = {stat["name"]: int(stat.get("value", 0)) for stat in host.get("stats", [])}
            place = host.get("locality", {})
            found[Upstream(pod.key, cluster["name"], f"{socket['address']}:{socket['port_value']}")] = HostState(
                requests=counts.get("rq_total", 0),
                weight=int(host.get("weight", 1)),
                healthy=host.get("health_status", {}).get("eds_health_status", "HEALTHY") == "HEALTHY",
                priority=int(host.get("priority", 0)),
                locality="/".join(place[part] for part in ("region", "zone", "sub_zone") if place.get(part)),
            )
    return found


async def outbound_hosts(pod: Pod, host: Hostname, port: int) -> dict[str, HostState]:
    """The hosts that a pod's Envoy knows of one service port, by address."""
    return {
        upstream.address: state
        for upstream, state in (await hosts_of(pod)).items()
        if (name := parse_cluster(upstream.cluster)) is not None
        and (name.direction, name.host, name.port, name.subset) == ("outbound", host, port, "")
    }


async def visit(lab: Lab, pod: Pod, port: int, path: str = "/") -> Page:
    """Request a page as somebody in front of the pod's network does, and see which way the calls went that it took.

    The lab must be otherwise quiet: the counters of all Envoys are read before and after.
    """
    before = await _sent(lab)
    network = lab.file.network_of(pod.key.cluster)
    namespace = lab.networks.router(network) if lab.networks is not None else None
    reply = await fetch(f"http://{pod.placed.address.ip}:{port}{path}", namespace=namespace, within=10.0)
    after = await _sent(lab)
    answer: Any = reply.json() if reply.headers.get("content-type", "").startswith("application/json") else {}
    grown = {upstream: count - before.get(upstream, 0) for upstream, count in after.items() if count > before.get(upstream, 0)}
    return Page(reply, answer, tuple(_hops(answer, grown)))


async def _sent(lab: Lab) -> dict[Upstream, int]:
    proxies = [pod for pod in lab.pods.values() if pod.proxy is not None]
    return {upstream: state.requests for hosts in await asyncio.gather(*map(hosts_of, proxies)) for upstream, state in hosts.items()}


def _hops(answer: Answer, grown: Mapping[Upstream, int]) -> Iterator[Hop]:
    for service, below in answer.get("calls", {}).items():
        caller = (answer["cluster"], answer["pod"])
        dialled = [
            upstream.address
            for upstream in grown
            if (upstream.proxy.cluster, upstream.proxy.name) == caller
            and (name := parse_cluster(upstream.cluster)) is not None
            and name.direction == "outbound"
            and name.host.partition(".")[0] == service
        ]
        proxy = next((upstream.proxy for upstream in grown if (upstream.proxy.cluster, upstream.proxy.name) == caller), None)
        yield Hop(proxy or ObjectKey(answer["cluster"], "", answer["pod"]), service, ", ".join(dialled), below)
        yield from _hops(below, grown)
