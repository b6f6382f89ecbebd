"""The mesh over two networks, with real Envoys: what crosses, what arrives, and what is refused at the door."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from steersman.lab.fetch import connects, fetch
from steersman.lab.lab import Lab, running
from steersman.lab.labfile import find_lab, read_lab
from steersman.lab.pod import Pod
from steersman.lab.traffic import outbound_hosts, visit
from steersman.model.ids import Hostname, NetworkID, ServiceKey
from steersman.names import hostname, sni_name
from tests.lab.tls import Authority, Heard, authority, http, https, leaf

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

PORT = 9080
PRODUCTPAGE = "spiffe://cluster.local/ns/default/sa/bookinfo-productpage"
EAST, WEST = NetworkID("network-east"), NetworkID("network-west")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(namespaces_possible: str | None) -> AsyncIterator[Lab]:
    if namespaces_possible is not None:
        pytest.skip(f"network namespaces: {namespaces_possible}")
    async with running(read_lab(find_lab(None)), isolate=True, say=print) as made:
        yield made


def full_name(service: str) -> Hostname:
    return hostname(ServiceKey("default", service), "cluster.local")


def gateway(lab: Lab, network: NetworkID) -> tuple[str, int]:
    (address,) = (address for address, behind in lab.gateways().items() if behind == network)
    host, _, port = address.rpartition(":")
    return host, int(port)


def beside(lab: Lab, network: NetworkID) -> str:
    """The network namespace of somebody who stands where that network's pods' traffic leaves it."""
    assert lab.networks is not None
    return lab.networks.router(network)


async def stat(pod: Pod, name: str) -> int:
    """The sum of an Envoy's counters of which this is the last part."""
    reply = await pod.admin(f"/stats?filter={name}$")
    return sum(int(line.rpartition(": ")[2]) for line in reply.text.splitlines())


async def until(holds: Callable[[], Any], what: str, seconds: float = 15.0) -> None:
    for _ in range(int(seconds / 0.05)):
        found = holds()
        if await found if asyncio.iscoroutine(found) else found:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"not within {seconds} s: {what}")


# -- what crosses


async def test_a_request_crosses_and_the_server_knows_its_client_by_certificate(lab: Lab) -> None:
    client = lab.pod("west/productpage")

    page = await visit(lab, client, PORT)
    (details,) = (hop for hop in page.hops if hop.service == "details")

    assert page.complete, page
    assert details.by == "east/details-v1"
    assert details.dialled == "{}:{}".format(*gateway(lab, EAST))
    assert details.answered["client"] == PRODUCTPAGE


async def test_the_caller_is_whoever_calls_and_not_whom_he_calls_himself(lab: Lab) -> None:
    """A header that a client makes up is gone when its request arrives."""
    forged = {"x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/istio-system/sa/admin"}
    client = lab.pod("west/productpage").placed

    answer: Any = (
        await fetch(f"http://details:{PORT}/", namespace=client.namespace, address=vip(lab, "west", "details"), headers=forged)
    ).json()
    plain: Any = (
        await fetch(f"http://{lab.pod('east/details').placed.address.ip}:{PORT}/", namespace=beside(lab, EAST), headers=forged)
    ).json()

    assert answer["client"] == PRODUCTPAGE
    assert plain["client"] is None


async def test_one_address_on_two_networks_reaches_the_right_pod_from_each(lab: Lab) -> None:
    reviews, ratings = lab.pod("east/reviews-v1").placed.address, lab.pod("west/ratings").placed.address
    assert reviews.ip == ratings.ip

    here: Any = (await fetch(f"http://{reviews.ip}:{PORT}/", namespace=beside(lab, EAST))).json()
    there: Any = (await fetch(f"http://{ratings.ip}:{PORT}/", namespace=beside(lab, WEST))).json()
    reached: dict[str, set[str]] = {}
    for client in (lab.pod("east/productpage"), lab.pod("west/productpage")):
        for _ in range(8):
            page = await visit(lab, client, PORT)
            assert page.complete, page
            for hop in page.hops:
                if hop.dialled == f"{reviews.ip}:{PORT}":
                    reached.setdefault(hop.caller.cluster, set()).add(hop.by)

    assert (here["pod"], there["pod"]) == ("reviews-v1", "ratings-v1")
    assert reached == {"east": {"east/reviews-v1"}, "west": {"west/ratings-v1"}}


async def test_every_pod_of_a_service_answers_whichever_network_it_is_on(lab: Lab) -> None:
    """A gateway passes connections on, so that it takes several at a time to reach all that is behind it."""
    client = lab.pod("east/productpage").placed

    async def answered() -> str:
        reply = await fetch(f"http://reviews:{PORT}/", namespace=client.namespace, address=vip(lab, "east", "reviews"))
        answer: Any = reply.json()
        return f"{answer['cluster']}/{answer['pod']}"

    by = Counter([name for _ in range(8) for name in await asyncio.gather(*(answered() for _ in range(10)))])

    assert set(by) == {"east/reviews-v1", "east/reviews-v2", "west/reviews-v2", "west/reviews-v3"}
    assert 20 <= by["west/reviews-v2"] + by["west/reviews-v3"] <= 60, by


async def test_a_proxy_knows_the_pods_of_its_own_network_and_of_the_other_the_gateway_with_their_weight(lab: Lab) -> None:
    hosts = await outbound_hosts(lab.pod("east/productpage"), full_name("reviews"), PORT)

    own = {f"{pod.placed.address.ip}:{PORT}" for pod in lab.chosen("east/reviews")}
    other = "{}:{}".format(*gateway(lab, WEST))
    assert hosts.keys() == own | {other}
    assert hosts[other].weight == sum(hosts[address].weight for address in own)


async def test_no_pod_is_reached_across_but_through_the_gateways(lab: Lab) -> None:
    """From where east's traffic leaves it, west's pods are not there, and its gateway's address has one open port."""
    only_west = set(ips(lab, "west")) - set(ips(lab, "east"))
    assert only_west, "west has a pod whose address no pod of east has"
    for address in only_west:
        assert await connects(address, 15443, namespace=beside(lab, WEST), within=2) or await connects(
            address, PORT, namespace=beside(lab, WEST), within=2
        )
        assert not await connects(address, 15443, namespace=beside(lab, EAST), within=1)
        assert not await connects(address, PORT, namespace=beside(lab, EAST), within=1)
    host, port = gateway(lab, WEST)
    assert await connects(host, port, namespace=beside(lab, EAST))
    assert not await connects(host, PORT, namespace=beside(lab, EAST), within=1)


# -- what is refused at the gateway


@pytest.fixture(scope="module")
def elsewhere() -> Authority:
    return authority()


async def at_west(lab: Lab, **what: Any) -> Heard:
    """A TLS client in front of west's gateway."""
    return await asyncio.to_thread(https, beside(lab, EAST), gateway(lab, WEST), **what)


async def test_a_client_without_a_certificate_gets_to_the_pod_and_no_further(lab: Lab) -> None:
    heard = await at_west(lab, sni=sni_name(PORT, full_name("ratings")))

    assert heard.line == ""
    assert "certificate required" in heard.error.lower() or "CERTIFICATE_REQUIRED" in heard.error, heard


async def test_a_certificate_of_a_foreign_root_is_refused(lab: Lab, elsewhere: Authority, tmp_path: Path) -> None:
    before = await stat(lab.pod("west/ratings"), "fail_verify_error")

    heard = await at_west(lab, sni=sni_name(PORT, full_name("ratings")), certificate=leaf(elsewhere, PRODUCTPAGE, tmp_path / "leaf.pem"))

    assert heard.line == ""
    assert "alert" in heard.error.lower(), heard
    assert await stat(lab.pod("west/ratings"), "fail_verify_error") == before + 1


@pytest.mark.parametrize(
    "sni",
    [
        sni_name(PORT, Hostname("nothing.default.svc.cluster.local")),
        sni_name(PORT + 1, full_name("ratings")),
        sni_name(PORT, full_name("ratings"), "v1"),
        "outbound_.9080_._.ratings.default.svc.elsewhere.org",
        "ratings.default.svc.cluster.local",
        "example.org",
    ],
)
async def test_an_unknown_name_is_refused_at_the_gateway(lab: Lab, sni: str) -> None:
    before = await stat(router(lab, "west"), "no_filter_chain_match")

    heard = await at_west(lab, sni=sni)

    assert heard.line == ""
    assert await stat(router(lab, "west"), "no_filter_chain_match") == before + 1, heard


async def test_a_client_that_is_not_of_the_mesh_is_refused_at_the_gateway(lab: Lab) -> None:
    """It names a service that is there, but offers none of the mesh's own protocols."""
    before = await stat(router(lab, "west"), "no_filter_chain_match")

    heard = [await at_west(lab, sni=sni_name(PORT, full_name("ratings")), alpn=alpn) for alpn in ((), ("http/1.1",), ("h2", "http/1.1"))]

    assert [one.line for one in heard] == ["", "", ""]
    assert await stat(router(lab, "west"), "no_filter_chain_match") == before + 3, heard


async def test_plain_text_is_refused_at_the_gateway(lab: Lab) -> None:
    before = await stat(router(lab, "west"), "no_filter_chain_match")

    heard = await asyncio.to_thread(http, beside(lab, EAST), gateway(lab, WEST))

    assert heard.line == ""
    assert await stat(router(lab, "west"), "no_filter_chain_match") == before + 1, heard


async def test_a_service_without_mtls_is_not_reached_through_the_gateway_whatever_its_name_is_called(lab: Lab) -> None:
    inside, outside = [
        await fetch(
            f"http://inventory:{PORT}/", namespace=lab.pod(f"{side}/productpage").placed.namespace, address=vip(lab, side, "inventory")
        )
        for side in ("west", "east")
    ]
    before = await stat(router(lab, "west"), "no_filter_chain_match")
    heard = await at_west(lab, sni=sni_name(PORT, full_name("inventory")))

    assert inside.status == 200
    assert outside.status == 503
    assert not await outbound_hosts(lab.pod("east/productpage"), full_name("inventory"), PORT)
    assert heard.line == ""
    assert await stat(router(lab, "west"), "no_filter_chain_match") == before + 1


async def test_a_server_that_is_not_who_it_should_be_is_refused_by_the_client(lab: Lab) -> None:
    """The cluster says that ratings runs under another service account than the one that its certificate names."""
    file = lab.clusters[lab.pod("west/ratings").key.cluster].directory / "pod.default.ratings-v1.json"
    honest = file.read_bytes()
    client = lab.pod("east/reviews-v2")
    before = await stat(client, "fail_verify_san")

    async def refused() -> bool:
        reply = await fetch(f"http://ratings:{PORT}/", namespace=client.placed.namespace, address=vip(lab, "east", "ratings"))
        return reply.status == 503

    async def answered() -> bool:
        return not await refused()

    try:
        impostor = json.loads(honest)
        impostor["spec"]["serviceAccountName"] = "bookinfo-somebody-else"
        replace(file, json.dumps(impostor).encode())
        await until(refused, "ratings refused")
        assert await stat(client, "fail_verify_san") > before
    finally:
        replace(file, honest)
    await until(answered, "ratings answers again")


# -- what changes


async def test_a_pod_whose_app_ends_is_unready_in_its_files_at_once_and_ready_again_when_it_is_back(lab: Lab) -> None:
    pod = lab.pod("west/reviews-v3")
    directory = lab.clusters[pod.key.cluster].directory
    process = pod.processes["reviews"]

    def said() -> tuple[str, bool]:
        shown = json.loads((directory / "pod.default.reviews-v3.json").read_text())
        slices = json.loads((directory / "endpointslice.default.reviews-1.json").read_text())
        ready = next(one["status"] for one in shown["status"]["conditions"] if one["type"] == "Ready")
        return ready, next(one["conditions"]["ready"] for one in slices["endpoints"] if one["targetRef"]["name"] == "reviews-v3")

    assert said() == ("True", True)
    process.kill()
    await until(lambda: said() == ("False", False), "not ready", 1.0)
    await lab.start("west/reviews-v3")
    await until(lambda: said() == ("True", True), "ready")


async def test_the_last_local_pod_gone_all_requests_cross(lab: Lab) -> None:
    client = lab.pod("east/productpage")
    other = "{}:{}".format(*gateway(lab, WEST))

    async def known() -> set[str]:
        return {address for address, state in (await outbound_hosts(client, full_name("reviews"), PORT)).items() if state.healthy}

    await lab.stop("east/reviews")
    try:
        await until(lambda: told(known, {other}), "only the gateway is left")
        for _ in range(10):
            page = await visit(lab, client, PORT)
            (reviews,) = (hop for hop in page.hops if hop.service == "reviews")
            assert page.complete, page
            assert (reviews.by.partition("/")[0], reviews.dialled) == ("west", other)
    finally:
        await lab.start("east/reviews")
    own = {f"{pod.placed.address.ip}:{PORT}" for pod in lab.chosen("east/reviews")}
    await until(lambda: told(known, own | {other}), "they are back")


async def test_a_restart_of_the_control_plane_resends_nothing_and_fails_no_request(lab: Lab) -> None:
    client = lab.pod("west/productpage").placed
    proxies = [pod for pod in lab.pods.values() if pod.proxy is not None]
    failed: list[str] = []
    answered = 0

    async def load() -> None:
        nonlocal answered
        while True:
            reply = await fetch(f"http://details:{PORT}/", namespace=client.namespace, address=vip(lab, "west", "details"))
            answered += 1
            if reply.status != 200:
                failed.append(f"{reply.status} {reply.text}")
            await asyncio.sleep(0.02)

    async def connected() -> bool:
        return all([await stat(pod, "control_plane.connected_state") for pod in proxies])

    assert sum((await pushed(lab)).values()) > 0
    async with asyncio.TaskGroup() as tasks:
        loading = tasks.create_task(load())
        await lab.stop("steersman")
        assert not await connected()
        await lab.start("steersman")
        await lab.control.until_ready(30)
        await until(connected, "every Envoy is connected again", 45)
        await asyncio.sleep(1)
        await until(lambda: answered > 50, "fifty requests are answered", 45)
        loading.cancel()
    assert failed == []
    assert sum((await pushed(lab)).values()) == 0


async def test_every_envoy_took_everything_and_waits_for_nothing(lab: Lab) -> None:
    for pod in lab.pods.values():
        if pod.proxy is None:
            continue
        assert await stat(pod, "update_rejected") == 0, pod.key
        assert await stat(pod, "warming_clusters") == 0, pod.key
        assert await stat(pod, "update_success") > 0, pod.key
        assert "rejected" not in pod.processes[pod.proxy].said(100), pod.processes[pod.proxy].said(100)


async def pushed(lab: Lab) -> dict[str, float]:
    """How many resources the control plane has sent since it started, by type."""
    reply = await fetch(f"http://{lab.control.admin}/metrics", namespace=lab.control.namespace)
    lines = [line.rpartition(" ") for line in reply.text.splitlines() if line.startswith("steersman_pushed_resources_total{")]
    return {labels: float(value) for labels, _, value in lines}


async def told(known: Callable[[], Any], wanted: set[str]) -> bool:
    return bool(await known() == wanted)


def vip(lab: Lab, cluster: str, service: str) -> str:
    return next(address for key, address in lab.plan.vips.items() if (key.cluster, key.name) == (cluster, service))


def ips(lab: Lab, cluster: str) -> list[str]:
    return [address.ip for key, address in lab.plan.pods.items() if key.cluster == cluster]


def router(lab: Lab, cluster: str) -> Pod:
    return lab.pod(f"{cluster}/istio-system/istio-eastwestgateway")


def replace(file: Path, content: bytes) -> None:
    pending = file.with_suffix(".pending")
    pending.write_bytes(content)
    pending.replace(file)
