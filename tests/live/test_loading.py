"""Real Envoys load all that a running server sends, at the start and after every kind of change: nothing refused, nothing left warming."""

import time
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import pytest

from tests.live.mesh import CLUSTERS, EAST, HTTP, PASSTHROUGH_PORT, TARGETS, WEST, extra, fill, outbound, through, web
from tests.support.live import ControlPlane, clusters, endpoints, envoys, eventually, listeners, refusals, serving, warming
from tests.support.objects import endpoint, pod, slice_of
from tests.support.running import Envoy

pytestmark = pytest.mark.envoy

SIDECARS = (EAST.web.name, WEST.web.name)
ROUTERS = (EAST.gateway.name, WEST.gateway.name)


class World(NamedTuple):
    plane: ControlPlane
    envoys: dict[str, Envoy]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    plane = ControlPlane(tmp_path_factory.mktemp("live"), CLUSTERS)
    fill(plane)
    with serving(plane), envoys(plane, EAST.web, EAST.gateway, WEST.web, WEST.gateway) as running:
        yield World(plane, running)
        for name, one in running.items():
            assert [line for line in one.warnings() if "deprecated" not in line] == [], f"{name} warned"


def assert_settled(world: World) -> None:
    """One second later all is in use, and nothing was refused."""
    time.sleep(1.0)
    assert {name: found for name, one in world.envoys.items() if (found := warming(one))} == {}
    assert {name: found for name, one in world.envoys.items() if (found := refusals(one))} == {}
    synced = {
        f"{proxy['name']} {kind['type']}": kind["sync"]
        for proxy in world.plane.json("/debug/proxies")["proxies"]
        for kind in proxy["types"]
    }
    assert set(synced.values()) == {"SYNCED"}, synced
    assert len(synced) == 2 * 5 + 2 * 4, "gateways that only pass on ask for no routes"


def test_sidecars_and_gateways_load_everything_on_delta_and_on_state_of_the_world(world: World) -> None:
    assert_settled(world)
    assert {proxy["name"]: proxy["protocol"] for proxy in world.plane.json("/debug/proxies")["proxies"]} == {
        EAST.web.name: "delta",
        EAST.gateway.name: "delta",
        WEST.web.name: "sotw",
        WEST.gateway.name: "sotw",
    }
    for one in (EAST, WEST):
        envoy = world.envoys[one.web.name]
        assert {outbound("web", HTTP), outbound("store", 9081), outbound("outside", 9083), f"inbound|{TARGETS['http']}||"} <= clusters(
            envoy
        )
        assert {f"{one.web.ip}_{TARGETS['http']}", f"{one.web.ip}_{TARGETS['tcp-db']}"} <= listeners(envoy)
        assert envoy.stats("^listener_manager.total_listeners_active$")["listener_manager.total_listeners_active"] == len(listeners(envoy))
    for one, other in ((EAST, WEST), (WEST, EAST)):
        assert set(endpoints(world.envoys[one.web.name], outbound("web", HTTP))) == {
            f"{one.web.ip}:{TARGETS['http']}",
            f"{other.gateway.ip}:{PASSTHROUGH_PORT}",
        }
        assert set(endpoints(world.envoys[one.gateway.name], through("web", HTTP))) == {f"{one.web.ip}:{TARGETS['http']}"}


def cluster_of(envoy: str, service: str, port: int) -> str:
    return (through if envoy in ROUTERS else outbound)(service, port)


def await_port(world: World, service: str, *, has: int = 0, lacks: int = 0) -> None:
    """Until every Envoy has a cluster with endpoints for the one port and none for the other, and sidecars have listeners alike."""
    for name, one in world.envoys.items():
        if has:
            eventually(partial(endpoints, one, cluster_of(name, service, has)))
        if has and name in SIDECARS:
            eventually(partial(listens, one, has))
        if lacks:
            eventually(partial(has_not, one, cluster_of(name, service, lacks), lacks))


def listens(envoy: Envoy, port: int) -> bool:
    return any(name.endswith(f"_{port}") for name in listeners(envoy))


def has_not(envoy: Envoy, cluster: str, port: int) -> bool:
    return cluster not in clusters(envoy) and not listens(envoy, port)


def test_a_service_that_is_added_and_then_removed(world: World) -> None:
    for directory in world.plane.clusters.values():
        directory.put("more.yaml", *extra("more", 1))
    await_port(world, "more", has=9090)
    assert_settled(world)
    for directory in world.plane.clusters.values():
        directory.remove("more.yaml")
    await_port(world, "more", lacks=9090)
    assert_settled(world)


def test_a_port_that_changes_its_number(world: World) -> None:
    for one in (EAST, WEST):
        web(world.plane.clusters[one.cluster], one, http=9088)
    await_port(world, "web", has=9088, lacks=HTTP)
    assert_settled(world)
    for one in (EAST, WEST):
        web(world.plane.clusters[one.cluster], one)
    await_port(world, "web", has=HTTP, lacks=9088)
    assert_settled(world)


def test_endpoints_that_come_go_and_move(world: World) -> None:
    """East's alone at first; then none is left, and all go through the gateway of west; then a pod of another address."""
    directory, target = world.plane.clusters["east"], TARGETS["http"]
    sidecar, gateway = world.envoys[EAST.web.name], world.envoys[EAST.gateway.name]
    west = f"{WEST.gateway.ip}:{PASSTHROUGH_PORT}"
    directory.put("web-more.json", pod("web-9", "10.0.2.9"), slice_of("web", TARGETS, [endpoint("web-9", "10.0.2.9")], suffix="more"))
    expected = {f"{EAST.web.ip}:{target}", f"10.0.2.9:{target}", west}
    eventually(lambda: set(endpoints(sidecar, outbound("web", HTTP))) == expected)
    eventually(lambda: set(endpoints(gateway, through("web", HTTP))) == expected - {west})
    assert_settled(world)
    directory.put(
        "web-more.json", pod("web-9", "10.0.2.9"), slice_of("web", TARGETS, [endpoint("web-9", "10.0.2.9", ready=False)], suffix="more")
    )
    directory.put("web-slice.json", slice_of("web", TARGETS, []))
    eventually(lambda: set(endpoints(sidecar, outbound("web", HTTP))) == {west})
    eventually(lambda: not endpoints(gateway, through("web", HTTP)))
    assert_settled(world)
    directory.put("web-slice.json", slice_of("web", TARGETS, [endpoint(EAST.web.name, EAST.web.ip)]))
    directory.put("web-more.json", pod("web-9", "10.0.2.10"), slice_of("web", TARGETS, [endpoint("web-9", "10.0.2.10")], suffix="more"))
    eventually(lambda: set(endpoints(sidecar, outbound("web", HTTP))) == {f"{EAST.web.ip}:{target}", f"10.0.2.10:{target}", west})
    assert_settled(world)
