"""A server that ends and comes back with unchanged files: proxies find it, nothing is sent twice, and nobody who uses them notices."""

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from steersman.server.bootstrap import Mode
from tests.live.load import Load
from tests.live.mesh import CLUSTERS, EAST, TARGETS, fill
from tests.support.live import ControlPlane, Workload, envoys, eventually, refusals, serving, warming
from tests.support.running import Envoy, http_app

pytestmark = pytest.mark.envoy

SOTW_CLIENT = Workload("client-sotw", 7, "east", mode=Mode.SOTW, account="client")
CONFIGURATION = (
    r"^(cluster_manager\.cluster_(added|modified|removed|updated)|listener_manager\.listener_(added|modified|removed|in_place_updated))$"
    r"|\.config_reload$|ssl_context_update_by_sds$|update_success$"
)
"""Counters of what an Envoy took over."""


class World(NamedTuple):
    plane: ControlPlane
    envoys: dict[str, Envoy]


def started(directory: Path) -> ControlPlane:
    plane = ControlPlane(directory, {"east": CLUSTERS["east"]})
    fill(plane)
    return plane


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    plane = started(tmp_path_factory.mktemp("restart"))
    with http_app(EAST.web.app, TARGETS["http"]), serving(plane), envoys(plane, EAST.web, EAST.client) as running:
        yield World(plane, running)


def synced(plane: ControlPlane, count: int) -> bool:
    """Whether so many proxies are connected, and each is up to date with all it asked for."""
    proxies = plane.json("/debug/proxies").get("proxies", ())
    return len(proxies) == count and all(
        len(proxy.get("types", ())) == 5 and all(kind["sync"] == "SYNCED" for kind in proxy["types"]) for proxy in proxies
    )


def taken(envoy: Envoy) -> dict[str, int]:
    return envoy.stats(CONFIGURATION)


def come_back(plane: ControlPlane, number: signal.Signals, count: int) -> None:
    """Ends the server so, starts it again, and waits until the proxies are back."""
    plane.signal(number)
    assert plane.ended() == (0 if number is signal.SIGTERM else -number)
    plane.start().ready()
    eventually(partial(synced, plane, count), 45)


def assert_nothing_changed(envoys: dict[str, Envoy], before: dict[str, dict[str, int]], answered: dict[str, int]) -> None:
    """Nothing was taken over but these answers, which held nothing new."""
    for name, one in envoys.items():
        changed = {stat: value - before[name][stat] for stat, value in taken(one).items() if value != before[name].get(stat)}
        assert changed == answered, f"{name} took something over"
        assert (refusals(one), warming(one)) == ({}, {})


def test_c55_after_sigterm_delta_proxies_reconnect_and_nothing_is_sent_again_and_no_request_fails(world: World) -> None:
    eventually(partial(synced, world.plane, 2))
    before = {name: taken(one) for name, one in world.envoys.items()}
    with Load(EAST.client) as load:
        eventually(lambda: load.answered > 20)
        come_back(world.plane, signal.SIGTERM, 2)
        eventually(lambda: load.answered > 100)
    assert load.failed == []
    pushed = {label: count for label, count in world.plane.metrics("steersman_pushed_resources_total").items() if count}
    assert pushed == {}, "resources were sent again"
    assert world.plane.metrics("steersman_pushes_total") == {'{type="cds"}': 2, '{type="lds"}': 2}, "one empty answer each"
    assert_nothing_changed(world.envoys, before, {"cluster_manager.cds.update_success": 1, "listener_manager.lds.update_success": 1})


def test_c55_after_sigkill_proxies_of_both_protocols_reconnect_and_change_nothing_and_no_request_fails(world: World) -> None:
    with envoys(world.plane, SOTW_CLIENT) as running:
        eventually(partial(synced, world.plane, 3))
        delta = {name: taken(one) for name, one in world.envoys.items()}
        sotw = taken(running[SOTW_CLIENT.name])
        with Load(EAST.client) as load, Load(SOTW_CLIENT) as other:
            eventually(lambda: min(load.answered, other.answered) > 20)
            come_back(world.plane, signal.SIGKILL, 3)
            eventually(lambda: min(load.answered, other.answered) > 100)
        assert load.failed + other.failed == []
        assert_nothing_changed(world.envoys, delta, {"cluster_manager.cds.update_success": 1, "listener_manager.lds.update_success": 1})
        # State of the world can say what a client holds of all of a type only: endpoints, routes and secrets come again.
        again = {stat: value - sotw[stat] for stat, value in taken(running[SOTW_CLIENT.name]).items() if value != sotw.get(stat)}
        assert {stat for stat in again if not stat.endswith(".update_success")} == set()
        assert (refusals(running[SOTW_CLIENT.name]), warming(running[SOTW_CLIENT.name])) == ({}, {})


def test_c33_what_changed_while_the_server_was_away_is_all_that_is_sent(world: World) -> None:
    plane = world.plane
    eventually(partial(synced, plane, 2))
    plane.signal(signal.SIGTERM)
    assert plane.ended() == 0
    others = plane.clusters["east"].path / "others.yaml"
    text = others.read_text()
    others.write_text(text.replace("10.0.4.1", "10.0.4.2"))
    try:
        plane.start().ready()
        eventually(partial(synced, plane, 2), 45)
        pushed = {label: count for label, count in plane.metrics("steersman_pushed_resources_total").items() if count}
        assert pushed == {'{type="eds"}': 2}, "the endpoints of one cluster, to each of two proxies"
    finally:
        others.write_text(text)
