"""The lab's networks: what is joined, what is not, and that nothing of them stays."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from steersman.lab import netns
from steersman.lab.addresses import Addresses, addresses
from steersman.lab.isolation import Isolation
from steersman.lab.namespaces import PROXY_ID, Namespaces
from steersman.lab.run import new_id, prefix_of
from steersman.model.ids import ClusterID, NetworkID, ObjectKey
from tests.lab.files import Object, pod, read, service, write_lab

pytestmark = pytest.mark.netns


@pytest.fixture(autouse=True)
def _possible(namespaces_possible: str | None) -> None:
    if namespaces_possible is not None:
        pytest.skip(f"network namespaces: {namespaces_possible}")


class Ground:
    """Networks, and what answers in them."""

    def __init__(self, networks: Namespaces, plan: Addresses) -> None:
        self.networks = networks
        self.plan = plan

    def pod(self, cluster: str, name: str) -> str:
        return self.networks.pod(ObjectKey(ClusterID(cluster), "default", name))

    def ip(self, cluster: str, name: str) -> str:
        return self.plan.pods[ObjectKey(ClusterID(cluster), "default", name)].ip

    @asynccontextmanager
    async def listening(self, namespace: str, port: int, says: str) -> AsyncIterator[None]:
        """Something in that network that says one line to whoever connects."""

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.closing(writer):
                writer.write(says.encode())

        listener = netns.stream_socket(namespace)
        listener.bind(("0.0.0.0", port))
        server = await asyncio.start_server(answer, sock=listener)
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()

    async def silent(self, namespace: str, address: str, port: int) -> bool:
        """Whether nobody answers somebody in that network who connects there, for as long as no answer takes here."""
        return await self.heard(namespace, address, port, 1.5) == ""

    async def heard(self, namespace: str, address: str, port: int, seconds: float = 10.0) -> str:
        """What is said to somebody in that network who connects there; "" if nobody answers in this time."""
        dialled = netns.stream_socket(namespace)
        dialled.setblocking(False)
        with contextlib.closing(dialled):
            try:
                async with asyncio.timeout(seconds):
                    await asyncio.get_running_loop().sock_connect(dialled, (address, port))
                    return (await asyncio.get_running_loop().sock_recv(dialled, 100)).decode()
            except (OSError, TimeoutError):
                return ""


@asynccontextmanager
async def ground(directory: Path, clusters: dict[str, list[Object]], network_of: dict[str, str] | None = None) -> AsyncIterator[Ground]:
    lab, manifests = read(write_lab(directory, clusters, network_of=network_of))
    plan = addresses(lab, manifests, Isolation.NAMESPACES)
    networks = Namespaces(prefix_of(new_id()), lab, manifests, plan)
    try:
        await networks.up()
        yield Ground(networks, plan)
    finally:
        await networks.down()


def bare(name: str, **labels: str) -> Object:
    return pod(name, sidecar=False, **labels)


async def test_one_address_on_two_networks_is_two_pods(tmp_path: Path) -> None:
    async with ground(tmp_path, {"east": [bare("a"), bare("client")], "west": [bare("b"), bare("client")]}) as made:
        assert made.ip("east", "a") == made.ip("west", "b") == "10.10.0.2"
        async with made.listening(made.pod("east", "a"), 80, "east's a"), made.listening(made.pod("west", "b"), 80, "west's b"):
            assert await made.heard(made.pod("east", "client"), "10.10.0.2", 80) == "east's a"
            assert await made.heard(made.pod("west", "client"), "10.10.0.2", 80) == "west's b"


async def test_no_pod_reaches_a_pod_of_another_network_by_any_address(tmp_path: Path) -> None:
    west = [bare("b1"), bare("b2"), bare("gw"), service("gw", type="LoadBalancer", ports=[{"name": "tls", "port": 15443}])]
    async with ground(tmp_path, {"east": [bare("client")], "west": west}) as made:
        client, target = made.pod("east", "client"), made.pod("west", "b2")
        assert made.ip("west", "b2") == "10.10.0.3", "an address that no pod in east has"
        router = made.plan.routers[NetworkID("network-west")]
        async with made.listening(target, 15443, "b2"), made.listening(made.pod("west", "gw"), 15443, "gateway"):
            assert await made.heard(made.pod("west", "b1"), "10.10.0.3", 15443) == "b2"
            (external,) = (address for behind in made.plan.external.values() for address, _ in behind)
            assert await made.heard(client, external, 15443) == "gateway"
            others = ("10.10.0.3", router.wan, router.management)
            assert await asyncio.gather(*(made.silent(client, address, 15443) for address in others)) == [True, True, True]
            # Not even by making the other network's router its next hop.
            await netns.ip_batch([f"route add 10.10.0.3/32 via {router.wan}"], namespace=made.networks.router(NetworkID("network-east")))
            await netns.ip_batch([f"route add 10.10.0.3/32 via {made.plan.routers[NetworkID('network-east')].pods}"], namespace=client)
            assert await made.silent(client, "10.10.0.3", 15443)


async def test_only_the_published_ports_of_a_load_balancer_are_open(tmp_path: Path) -> None:
    west = [bare("gw"), service("gw", type="LoadBalancer", ports=[{"name": "tls", "port": 443, "targetPort": "http"}])]
    async with ground(tmp_path, {"east": [bare("client")], "west": west}) as made:
        (external,) = (address for behind in made.plan.external.values() for address, _ in behind)
        async with made.listening(made.pod("west", "gw"), 9080, "gateway"):
            assert await made.heard(made.pod("east", "client"), external, 443) == "gateway"
            assert await made.silent(made.pod("east", "client"), external, 9080)


async def test_every_pod_reaches_the_control_plane_and_nothing_else_that_way(tmp_path: Path) -> None:
    async with ground(tmp_path, {"east": [bare("a")], "west": [bare("b")]}) as made:
        async with made.listening(made.networks.control, 15010, "control plane"):
            for cluster, name in (("east", "a"), ("west", "b")):
                assert await made.heard(made.pod(cluster, name), made.plan.control, 15010) == "control plane"
        router = made.plan.routers[NetworkID("network-west")]
        async with made.listening(made.networks.router(NetworkID("network-west")), 22, "router"):
            assert await made.silent(made.pod("east", "a"), router.management, 22)


async def test_clusters_on_one_network_reach_each_other(tmp_path: Path) -> None:
    clusters = {"a": [bare("one")], "b": [bare("two")]}
    async with ground(tmp_path, clusters, {"a": "n", "b": "n"}) as made, made.listening(made.pod("b", "two"), 80, "two"):
        assert await made.heard(made.pod("a", "one"), made.ip("b", "two"), 80) == "two"


async def test_what_a_pod_with_a_sidecar_sends_and_gets_is_captured(tmp_path: Path) -> None:
    async with ground(tmp_path, {"east": [pod("a"), bare("b")]}) as made:
        meshed, plain = made.pod("east", "a"), made.pod("east", "b")
        async with (
            made.listening(meshed, 15001, "outbound"),
            made.listening(meshed, 15006, "inbound"),
            made.listening(meshed, 9080, "the app"),
            made.listening(plain, 9080, "b"),
        ):
            assert await made.heard(meshed, made.ip("east", "b"), 9080) == "outbound"
            assert await made.heard(meshed, "10.96.0.77", 80) == "outbound"
            assert await made.heard(plain, made.ip("east", "a"), 9080) == "inbound"
            assert await made.heard(meshed, "127.0.0.1", 9080) == "the app"
            as_envoy = ["setpriv", "--reuid", str(PROXY_ID), "--regid", str(PROXY_ID), "--clear-groups"]
            listen = f"exec 3<>/dev/tcp/{made.ip('east', 'b')}/9080; cat <&3"
            assert await netns.run("ip", "netns", "exec", meshed, *as_envoy, "bash", "-c", listen) == "b"


async def test_a_pod_resolves_the_services_of_its_own_cluster_by_every_name(tmp_path: Path) -> None:
    async with ground(
        tmp_path, {"east": [bare("one"), service("a"), service("far", namespace="other"), service("h", clusterIP="None")]}
    ) as made:
        namespace = made.pod("east", "one")
        vips = {key.name: vip for key, vip in made.plan.vips.items()}

        async def address(name: str) -> str:
            try:
                return (await netns.run("ip", "netns", "exec", namespace, "getent", "hosts", name)).split()[0]
            except netns.CommandFailed:
                return ""

        assert {await address(name) for name in ("a", "a.default", "a.default.svc", "a.default.svc.cluster.local")} == {vips["a"]}
        assert (await address("far"), await address("far.other")) == ("", vips["far"])
        assert await address("h") == ""


async def test_two_runs_stand_beside_each_other_and_each_removes_only_its_own(tmp_path: Path) -> None:
    async with ground(tmp_path / "1", {"east": [bare("a")]}) as first:
        async with (
            ground(tmp_path / "2", {"east": [bare("a")]}) as second,
            first.listening(first.pod("east", "a"), 80, "first"),
            second.listening(second.pod("east", "a"), 80, "second"),
        ):
            assert await first.heard(first.networks.router(NetworkID("network-east")), "10.10.0.2", 80) == "first"
            assert await second.heard(second.networks.router(NetworkID("network-east")), "10.10.0.2", 80) == "second"
        assert netns.named(second.networks.prefix) == []
        assert len(netns.named(first.networks.prefix)) == 4
    assert netns.named(first.networks.prefix) == []
    assert not netns.overlay(first.pod("east", "a")).exists()


async def test_what_still_runs_in_a_namespace_ends_when_it_is_removed(tmp_path: Path) -> None:
    async with ground(tmp_path, {"east": [bare("a")]}) as made:
        left = await asyncio.create_subprocess_exec("ip", "netns", "exec", made.pod("east", "a"), "sleep", "60")
        await asyncio.sleep(0.2)
    assert await asyncio.wait_for(left.wait(), 5) == -9


def test_being_inside_a_namespace_is_over_when_the_block_is() -> None:
    before = Path("/proc/thread-self/ns/net").readlink()

    with pytest.raises(FileNotFoundError), netns.inside("steersman-there-is-none"):
        pass
    with netns.inside(None):
        assert Path("/proc/thread-self/ns/net").readlink() == before

    assert Path("/proc/thread-self/ns/net").readlink() == before
