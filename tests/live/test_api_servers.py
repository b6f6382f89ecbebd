"""Two API servers as two clusters on two networks, one Steersman, real Envoys: what is applied moves the traffic; whatever befalls an API
server the traffic goes on, and so does Steersman when it is over, without a restart.

The API servers are real where they are to be had, and else the double.
"""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import pytest
import yaml

from steersman.server.bootstrap import Mode
from tests.live.load import Load
from tests.live.mesh import CLUSTERS, HTTP, PASSTHROUGH_PORT, TARGETS, Side, base, extra, outbound, side, through, web
from tests.support.apiserver.applied import Applied
from tests.support.apiserver.client import Cluster
from tests.support.apiserver.double import Double
from tests.support.apiserver.kinds import definition_of
from tests.support.apiserver.real import Real, found_assets
from tests.support.live import ControlPlane, Workload, clusters, endpoints, envoys, eventually, of_endpoints, refusals, warming
from tests.support.objects import endpoint, pod, slice_of
from tests.support.ownnet import Placed, own_network
from tests.support.running import Envoy, http_app

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(300)]

EAST, WEST = side("east", 0, Mode.DELTA, Placed), side("west", 3, Mode.SOTW, Placed)
HERE, THERE = f"{EAST.web.ip}:{TARGETS['http']}", f"{WEST.gateway.ip}:{PASSTHROUGH_PORT}"
"""Where a client in east finds web: the pod of its own network, and the gateway of the other."""
NOTICED = 60.0
"""Seconds in which trouble with an API server is noticed, and that it is over: heartbeats are ten seconds apart, a refused request waits up
to thirty."""

PAUSE = 0.02
"""Seconds between two requests of a load: what is waited for here takes many seconds."""


class World(NamedTuple):
    plane: ControlPlane
    envoys: dict[str, Envoy]
    apis: dict[str, Cluster]
    applied: dict[str, Applied]

    def another(self, name: str, **config: Any) -> ControlPlane:
        """One more Steersman at the same API servers, with the same CA."""
        directory = self.plane.directory / name
        directory.mkdir()
        ca = {"directory": str(self.plane.directory / ".steersman" / "ca")}
        return ControlPlane(directory, _followed("../"), ca=ca, **config)

    def login(self, name: str) -> None:
        """Steersman's kubeconfig has the token that is good now."""
        written = self.plane.directory / f"{name}.new"
        written.write_text(yaml.safe_dump(self.apis[name].kubeconfig()))
        written.rename(self.plane.directory / f"{name}.kubeconfig")

    def web(self, where: Side, *pods: Workload) -> None:
        """The pods that are endpoints of web there."""
        self.applied[where.cluster].put("web-slice.json", slice_of("web", TARGETS, [endpoint(one.name, one.ip) for one in pods]))

    def seen(self) -> set[str]:
        return set(endpoints(self.envoys[EAST.client.name], outbound("web", HTTP)))

    def sees(self, *addresses: str) -> None:
        """Waits until a client in east is told these."""

        def seen() -> bool:
            assert self.seen() == set(addresses), self.troubles()
            return True

        eventually(seen, NOTICED)

    def troubles(self) -> set[tuple[str, str]]:
        """(id, object) of what is wrong with API servers."""
        ids = ("cluster-unreachable", "cluster-unauthorised", "cluster-stale", "resource-forbidden")
        return {(finding["id"], finding["object"]) for name in ids for finding in self.plane.findings().get(name, ())}

    def well(self) -> None:
        """Waits until nothing is."""
        eventually(lambda: not self.troubles(), NOTICED)


def _followed(where: str = "") -> dict[str, dict[str, object]]:
    """The clusters of a configuration whose kubeconfigs are there."""
    return {name: {**settings, "kubernetes": {"kubeconfig": f"{where}{name}.kubeconfig"}} for name, settings in CLUSTERS.items()}


REAL = pytest.param("real", marks=pytest.mark.kube)


@pytest.fixture(scope="module", params=[REAL] if found_assets() else ["double", REAL])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("kubernetes")
    with ExitStack() as stack:
        stack.enter_context(own_network())
        apis: dict[str, Cluster] = {
            one.cluster: Double() if request.param == "double" else Real(directory / f"api-{one.cluster}") for one in (EAST, WEST)
        }
        for api in apis.values():
            stack.push(api)
        with ThreadPoolExecutor() as pool:  # a real one takes some seconds
            list(pool.map(lambda api: api.__enter__(), apis.values()))
        applied = {name: Applied(api) for name, api in apis.items()}
        for one in (EAST, WEST):
            apis[one.cluster].apply(definition_of("networking.istio.io", ("v1",), "gateways", "Gateway"))
            base(applied[one.cluster], one)
            web(applied[one.cluster], one)
            stack.enter_context(http_app(one.web.app, TARGETS["http"]))
        plane = ControlPlane(directory, _followed())
        made_world = World(plane, {}, apis, applied)
        for name in apis:
            made_world.login(name)
        stack.callback(plane.stop)
        plane.start().ready(NOTICED)
        made_world.envoys.update(stack.enter_context(envoys(plane, EAST.web, EAST.client, EAST.gateway, WEST.web, WEST.gateway)))
        yield made_world


@pytest.fixture(autouse=True)
def settled(world: World) -> Iterator[None]:
    """Each test finds all well, and leaves it so, with the server that it found."""
    world.sees(HERE, THERE)
    world.well()
    server = world.plane.pid
    yield
    world.sees(HERE, THERE)
    world.well()
    assert world.plane.pid == server
    assert world.plane.is_ready()
    for one in world.envoys.values():
        assert not refusals(one)
        eventually(partial(lambda one: warming(one) == {}, one))


def test_endpoints_move_between_clusters_as_slices_are_applied(world: World) -> None:
    with Load(EAST.client, PAUSE) as load:
        world.web(EAST)
        world.sees(THERE)
        crossing = load.answered
        eventually(lambda: load.answered > crossing + 20)
        world.web(EAST, EAST.web)
        world.web(WEST)
        world.sees(HERE)
        world.web(WEST, WEST.web)
        world.sees(HERE, THERE)
    assert not load.failed


def test_endpoints_follow_what_is_patched_in_a_pod(world: World) -> None:
    """A pod of another network is reached only if it speaks mTLS, as its label says."""
    web_pod = pod(WEST.web.name, WEST.web.ip, node="west-1")
    with Load(EAST.client, PAUSE) as load:
        world.applied["west"].put("pod.yaml", pod(WEST.web.name, WEST.web.ip, node="west-1", labels={}))
        world.sees(HERE)
        world.applied["west"].put("pod.yaml", web_pod)
        world.sees(HERE, THERE)
    assert not load.failed


def test_traffic_goes_on_while_an_api_server_is_stopped_and_what_is_applied_afterwards_arrives(world: World) -> None:
    west = world.apis["west"]
    with Load(EAST.client, PAUSE) as load:
        west.freeze()
        try:
            eventually(lambda: ("cluster-unreachable", "Cluster west") in world.troubles(), NOTICED)
            assert world.seen() == {HERE, THERE}
        finally:
            west.thaw()
        world.well()
        world.web(WEST)
        world.sees(HERE)
        world.web(WEST, WEST.web)
        world.sees(HERE, THERE)
    assert not load.failed


def test_an_api_server_that_is_killed_costs_what_its_outage_policy_says_and_is_followed_again_without_a_restart(world: World) -> None:
    """Under the default, `keep`, and by two more Steersmen with the same API servers and CA, each with a client in east."""
    west = world.apis["west"]
    clients = {"keep": EAST.client, "demote": EAST.client._replace(number=6), "drop": EAST.client._replace(number=7)}
    with ExitStack() as stack:
        seen = {"keep": world.envoys[EAST.client.name]}
        for policy in ("demote", "drop"):
            plane = world.another(policy, outage={"policy": policy, "after": "1s"})
            stack.callback(plane.stop)
            seen[policy] = stack.enter_context(envoys(plane.start().ready(NOTICED), clients[policy]))[EAST.client.name]
        both = {HERE: "0", THERE: "0"}
        eventually(lambda: priorities(seen) == {"keep": both, "demote": both, "drop": both}, NOTICED)
        keep, demote, drop = (stack.enter_context(Load(client, PAUSE)) for client in clients.values())
        west.stop()
        try:
            behind = {"keep": both, "demote": {HERE: "0", THERE: "1"}, "drop": {HERE: "0"}}
            eventually(lambda: priorities(seen) == behind, NOTICED)
            sent = sent_there(seen["demote"])
            more(demote)
            assert sent_there(seen["demote"]) == sent
            assert not drop.failed  # what comes next leaves it nothing

            world.web(EAST)
            eventually(
                lambda: (
                    {policy: set(one) for policy, one in priorities(seen).items()} == {"keep": {THERE}, "demote": {THERE}, "drop": set()}
                )
            )
            more(keep)
            more(demote)
            world.web(EAST, EAST.web)
            eventually(lambda: priorities(seen) == behind)
        finally:
            west.start()
        eventually(lambda: priorities(seen) == {"keep": both, "demote": both, "drop": both}, NOTICED)
        sent = sent_there(seen["drop"])
        more(drop)
        assert sent_there(seen["drop"]) > sent
        world.web(WEST)
        eventually(lambda: all(set(one) == {HERE} for one in priorities(seen).values()))
        world.web(WEST, WEST.web)
        eventually(lambda: priorities(seen) == {"keep": both, "demote": both, "drop": both})
    assert not keep.failed
    assert not demote.failed
    assert drop.failed, "it was left without an endpoint"


def priorities(seen: dict[str, Envoy]) -> dict[str, dict[str, str]]:
    """Of web's endpoints, by their addresses, as each of these Envoys has them."""
    return {policy: of_endpoints(one, outbound("web", HTTP), "priority") for policy, one in seen.items()}


def sent_there(client: Envoy) -> int:
    """Requests so far by way of the other network's gateway."""
    return int(of_endpoints(client, outbound("web", HTTP), "rq_total")[THERE])


def more(load: Load) -> None:
    """Waits for some more answers."""
    before = load.answered
    eventually(lambda: load.answered > before + 50)


def test_what_was_deleted_before_a_restart_with_etcd_compacted_is_gone_and_the_rest_stands(world: World) -> None:
    """Steersman is stopped meanwhile, so that it can't have seen it."""
    west, client = world.apis["west"], world.envoys[EAST.client.name]
    with Load(EAST.client, PAUSE) as load:
        world.applied["west"].put("others.json", *extra("passing", 7), *extra("staying", 8))
        eventually(lambda: endpoints(client, outbound("passing", 9090)), NOTICED)
        world.plane.signal(signal.SIGSTOP)
        try:
            world.applied["west"].put("others.json", *extra("staying", 8))
            west.compact()
            west.restart()
        finally:
            world.plane.signal(signal.SIGCONT)
        eventually(lambda: outbound("passing", 9090) not in clusters(client), NOTICED)
        assert outbound("staying", 9090) in clusters(client)
        assert set(endpoints(world.envoys[WEST.gateway.name], through("web", HTTP))) == {f"{WEST.web.ip}:{TARGETS['http']}"}
        world.applied["west"].put("others.json")
        eventually(lambda: outbound("staying", 9090) not in clusters(client), NOTICED)
    assert not load.failed


def test_an_expired_token_is_told_of_and_a_new_one_heals_it(world: World) -> None:
    west = world.apis["west"]
    with Load(EAST.client, PAUSE) as load:
        west.expire()
        eventually(lambda: ("cluster-unauthorised", "Cluster west") in world.troubles(), NOTICED)
        assert world.seen() == {HERE, THERE}
        west.token = west.issue()
        world.login("west")
        world.well()
        world.web(WEST)
        world.sees(HERE)
        world.web(WEST, WEST.web)
    assert not load.failed


def test_a_permission_that_is_revoked_costs_no_traffic_and_is_missed_by_name(world: World) -> None:
    west = world.apis["west"]
    with Load(EAST.client, PAUSE) as load:
        west.forbid("pods")
        time.sleep(1)
        west.restart()  # watches that run are not asked for permission again
        try:
            eventually(lambda: ("resource-forbidden", "Resource west/pods") in world.troubles(), NOTICED)
            assert world.seen() == {HERE, THERE}
            world.web(WEST)
            world.sees(HERE)
            world.web(WEST, WEST.web)
            world.sees(HERE, THERE)
        finally:
            west.permit("pods")
        world.well()
    assert not load.failed
