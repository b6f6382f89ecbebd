"""A sidecar that fetches the cluster of a service when it calls it, with a whole server and a real Envoy. The number is that of
docs/conformance.md."""

import http.client
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from steersman.names import BLACK_HOLE, PASSTHROUGH
from tests.live.mesh import CLUSTERS, outbound
from tests.support.live import (
    PATIENCE,
    ControlPlane,
    Workload,
    clusters,
    config,
    endpoints,
    envoys,
    eventually,
    listeners,
    refusals,
    serving,
    warming,
)
from tests.support.objects import Object, endpoint, pod, service, slice_of
from tests.support.running import Envoy, free_port, http_app, loopback, tcp_app

pytestmark = pytest.mark.envoy

CLIENT = Workload("client-1", 70, on_demand=True)
APPS = loopback(234)
SHOP, BOOKS, DB = 9085, 9086, 3307


class World(NamedTuple):
    plane: ControlPlane
    envoy: Envoy
    http: int
    tcp: int


def served_at(name: str, number: int, port: int, kind: str, target: int) -> list[Object]:
    """A service on that port, whose one endpoint is an application in plaintext."""
    ports = {kind: (port, target)}
    return [
        service(name, ports, ip=f"10.96.7.{number}"),
        pod(f"{name}-1", APPS, labels={}),
        slice_of(name, {kind: target}, [endpoint(f"{name}-1", APPS)]),
    ]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    plane = ControlPlane(tmp_path_factory.mktemp("on-demand"), {"east": CLUSTERS["east"]})
    web, db = free_port(APPS), free_port(APPS)
    east = plane.clusters["east"]
    east.put("shop.yaml", *served_at("shop", 1, SHOP, "http", web))
    east.put("books.yaml", *served_at("books", 2, BOOKS, "http", web))
    east.put("db.yaml", *served_at("db", 3, DB, "tcp", db))
    with ExitStack() as stack:
        stack.enter_context(http_app(APPS, web))
        stack.enter_context(tcp_app(APPS, db))
        stack.enter_context(serving(plane))
        running = stack.enter_context(envoys(plane, CLIENT))
        yield World(plane, running[CLIENT.name], web, db)


def call(port: int, host: str) -> int:
    """The status of a request to that service through its client's sidecar."""
    connection = http.client.HTTPConnection(CLIENT.outbound, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/", headers={"host": host})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def outbound_clusters(envoy: Envoy) -> set[str]:
    return {name for name in clusters(envoy) if name.startswith("outbound|")}


def test_c58_what_was_never_called_is_not_there(world: World) -> None:
    eventually(lambda: len(listeners(world.envoy)) == 3)
    assert clusters(world.envoy) == {BLACK_HOLE, PASSTHROUGH}
    assert world.plane.metrics("steersman_pushed_resources_total")['{type="cds"}'] == 2


def test_c58_the_first_request_waits_for_its_cluster_and_is_answered(world: World) -> None:
    assert call(SHOP, "shop") == 200
    assert outbound_clusters(world.envoy) == {outbound("shop", SHOP)}
    assert [call(SHOP, "shop.demo") for _ in range(5)] == [200] * 5
    assert (refusals(world.envoy), warming(world.envoy)) == ({}, {})


def test_c58_so_does_the_first_connection(world: World) -> None:
    with socket.create_connection((CLIENT.outbound, DB), timeout=PATIENCE) as connection:
        assert connection.recv(100) == b"hello\n"
    assert outbound("db", DB) in outbound_clusters(world.envoy)
    assert outbound("books", BOOKS) not in outbound_clusters(world.envoy)


def test_c58_what_is_no_service_fails_at_once(world: World) -> None:
    started = time.monotonic()
    assert call(SHOP, "nothing.example") == 502
    assert time.monotonic() - started < 3


def test_c58_changes_of_what_was_called_are_pushed(world: World) -> None:
    """Of its endpoints, and of the cluster: a port that speaks HTTP/2 only."""
    east = world.plane.clusters["east"]
    other = free_port(APPS)
    with http_app(APPS, other):
        east.put("shop.yaml", *served_at("shop", 1, SHOP, "http", other))
        eventually(lambda: endpoints(world.envoy, outbound("shop", SHOP)).keys() == {f"{APPS}:{other}"})
        assert call(SHOP, "shop") == 200
        east.put("shop.yaml", *served_at("shop", 1, SHOP, "http2", other))
        eventually(lambda: "explicit_http_config" in str(dump_of(world.envoy, outbound("shop", SHOP))))
        east.put("shop.yaml", *served_at("shop", 1, SHOP, "http", world.http))
        eventually(lambda: "explicit_http_config" not in str(dump_of(world.envoy, outbound("shop", SHOP))))
        eventually(lambda: endpoints(world.envoy, outbound("shop", SHOP)).keys() == {f"{APPS}:{world.http}"})
    assert call(SHOP, "shop") == 200
    assert (refusals(world.envoy), warming(world.envoy)) == ({}, {})


def dump_of(envoy: Envoy, cluster: str) -> object:
    (found,) = [one for one in config(envoy, "dynamic_active_clusters") if one["cluster"]["name"] == cluster]
    return found


def synced(plane: ControlPlane) -> set[str]:
    """The types with which the one proxy is up to date."""
    proxies = plane.json("/debug/proxies").get("proxies", ())
    return {kind["type"] for proxy in proxies for kind in proxy.get("types", ()) if kind["sync"] == "SYNCED"}


def test_c58_a_restart_of_the_server_takes_nothing_away_and_sends_nothing_again(world: World) -> None:
    assert (call(SHOP, "shop"), call(BOOKS, "books")) == (200, 200)
    before = clusters(world.envoy)
    world.plane.signal(signal.SIGTERM)
    assert world.plane.ended() == 0
    assert call(SHOP, "shop") == 200
    world.plane.start().ready()
    eventually(lambda: synced(world.plane) >= {"cds", "eds", "lds", "rds"}, 2 * PATIENCE)
    assert call(SHOP, "shop") == 200
    assert clusters(world.envoy) == before
    assert world.plane.metrics("steersman_pushed_resources_total").get('{type="cds"}', 0) == 0


def test_c58_a_service_that_is_gone_is_gone_here_and_comes_back_by_itself(world: World) -> None:
    assert call(BOOKS, "books") == 200
    east = world.plane.clusters["east"]
    text = (east.path / "books.yaml").read_text()
    (east.path / "books.yaml").unlink()
    eventually(lambda: outbound("books", BOOKS) not in clusters(world.envoy))
    assert call(SHOP, "shop") == 200
    (east.path / "books.yaml").write_text(text)
    eventually(lambda: call(BOOKS, "books") == 200)


def test_c58_the_server_says_what_such_a_proxy_may_have(world: World) -> None:
    """Whether it has it yet or not: `proxy-config` and `render` list what it can call."""
    names = {name for kind, name in world.plane.versions(CLIENT.id) if kind == "cds"}
    assert names >= {outbound("shop", SHOP), outbound("books", BOOKS), outbound("db", DB)}
