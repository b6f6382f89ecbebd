"""Real Envoys at tables that the test writes by hand: each step of the protocol alone. The numbers are those of docs/conformance.md."""

import asyncio
import http.client
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.http.on_demand.v3.on_demand_pb2 import OnDemand as OnDemandFilter
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext

from steersman.ads.messages import Variant
from steersman.names import CDS, EDS, LDS, RDS, SDS
from steersman.resources.resource import Resource
from tests.support.live import clusters, listeners, warming
from tests.support.running import free_port, http_app
from tests.support.static import static_server, until
from tests.support.tables import APPS, OVER_ADS, PROXY, acked, at, cluster, endpoints, listener, made, route, sees, settles, wave
from tests.support.xds import Mesh, OnDemand

pytestmark = pytest.mark.envoy

BOTH = pytest.mark.parametrize("variant", list(Variant))


@BOTH
async def test_c27_c28_a_changed_cluster_is_warm_at_once_though_its_endpoints_are_the_same(variant: Variant, tmp_path: Path) -> None:
    mesh = Mesh()
    wave(mesh, {CDS: [cluster("a"), cluster("b")], EDS: [endpoints("a", 1), endpoints("b", 2)]})
    async with static_server(mesh) as server, at(server, variant, tmp_path) as envoy:
        await settles(envoy, server)
        for seconds in (2, 3, 4):
            wave(mesh, {CDS: [cluster("a", connect_timeout=f"{seconds}s")]})
            await settles(envoy, server)
            changed = "cluster_manager.cluster_modified$"
            assert (await asyncio.to_thread(envoy.stats, changed))["cluster_manager.cluster_modified"] == seconds - 1


@BOTH
async def test_c11_missing_endpoints_hold_up_nobody_and_come_when_they_are_there(variant: Variant, tmp_path: Path) -> None:
    mesh = Mesh()
    wave(mesh, {CDS: [cluster("a"), cluster("late")], EDS: [endpoints("a", 1)]})
    async with static_server(mesh) as server:
        started = asyncio.get_running_loop().time()
        if variant is Variant.SOTW:
            wave(mesh, {EDS: [endpoints("late")]})  # state of the world has no word for what is missing: Envoy would wait 15 s
        async with at(server, variant, tmp_path) as envoy:
            await settles(envoy, server)
            assert asyncio.get_running_loop().time() - started < 10
            wave(mesh, {EDS: [endpoints("late", 7)]})
            await sees(lambda: f"late::{APPS}:7::" in envoy.get("/clusters")[1])


@BOTH
async def test_c32_what_vanished_while_the_server_was_away_is_removed(variant: Variant, tmp_path: Path) -> None:
    mesh = Mesh()
    wave(mesh, {CDS: [cluster("a"), cluster("gone")], EDS: [endpoints("a", 1), endpoints("gone", 2)]})
    async with static_server(mesh) as server:
        port = int(server.address.rpartition(":")[2])
        async with at(server, variant, tmp_path) as envoy:
            await sees(lambda: clusters(envoy) == {"a", "gone"})
            await server.xds.drain(0.1)
            await server.xds.stop()
            wave(mesh, {}, {CDS: ["gone"], EDS: ["gone"]})
            async with static_server(mesh, port=port) as again:
                await sees(lambda: clusters(envoy) == {"a"}, 20)
                await settles(envoy, again)
                assert again.counters.pushed_resources["eds"] == (0 if variant is Variant.DELTA else 1)


@BOTH
async def test_c30_while_clusters_are_not_acknowledged_the_rest_flows_and_they_coalesce(variant: Variant, tmp_path: Path) -> None:
    """A new cluster whose endpoints nobody knows yet: Envoy warms it, and keeps the ACK of all clusters back, 15 s or until they come."""
    mesh = Mesh()
    port, app, other = free_port(PROXY), free_port(APPS), free_port(APPS)
    wave(mesh, {CDS: [cluster("a"), cluster("b")], EDS: [endpoints("a", 1), endpoints("b", app)]})
    wave(mesh, {LDS: [listener("l", port, "r")], RDS: [route("r", "a")]})
    with http_app(APPS, app), http_app(APPS, other):
        async with static_server(mesh) as server, at(server, variant, tmp_path) as envoy:
            await settles(envoy, server)
            mesh.tell({EDS: mesh.tables[EDS].apply((), {"a", "b", "slow"})})
            wave(mesh, {CDS: [cluster("slow")]})
            await sees(lambda: warming(envoy) == {"cluster_manager.warming_clusters": 1})
            pushed = server.counters.pushes["cds"]
            for seconds in (2, 3, 4):
                wave(mesh, {CDS: [cluster("a", connect_timeout=f"{seconds}s")], RDS: [route("r", "b")], EDS: [endpoints("b", other)]})
                await asyncio.sleep(0.2)
            await sees(lambda: asked(port) == 200, 10)
            await sees(lambda: f"b::{APPS}:{other}::" in envoy.get("/clusters")[1])
            assert server.counters.pushes["cds"] == pushed
            assert warming(envoy) == {"cluster_manager.warming_clusters": 1}
            wave(mesh, {EDS: [endpoints("slow", 3)]})
            await settles(envoy, server, 3.0)
            assert server.counters.pushes["cds"] == pushed + 1
            await sees(lambda: '"connect_timeout": "4s"' in envoy.get("/config_dump?resource=dynamic_active_clusters")[1])


def asked(port: int) -> int:
    connection = http.client.HTTPConnection(PROXY, port, timeout=5)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


@BOTH
async def test_c59_a_thousand_clusters_at_once_are_one_exchange_of_clusters_and_one_of_endpoints(variant: Variant, tmp_path: Path) -> None:
    mesh = Mesh()
    wave(mesh, {CDS: [cluster("a")], EDS: [endpoints("a", 1)]})
    names = [f"c{number:04}" for number in range(1_000)]
    async with static_server(mesh) as server, at(server, variant, tmp_path) as envoy:
        await settles(envoy, server)
        pushed = server.counters.pushes.copy()
        wave(mesh, {CDS: [cluster(name) for name in names], EDS: [endpoints(name, 2) for name in names]})
        await until(lambda: server.counters.pushed_resources["eds"] > 1_000, 30)
        await settles(envoy, server, 30.0)
        assert await sees(lambda: len(clusters(envoy))) == 1_001
        assert {short: server.counters.pushes[short] - pushed[short] for short in ("cds", "eds")} == {"cds": 1, "eds": 1}
        assert server.counters.pushed_resources["eds"] == 1_001
        assert server.places[0].holds[EDS] == frozenset({"a", *names})


@BOTH
async def test_c31_a_restart_without_changes_sends_nothing_anew(variant: Variant, tmp_path: Path) -> None:
    mesh = Mesh()
    port = free_port(PROXY)
    wave(mesh, {CDS: [cluster("a")], EDS: [endpoints("a", 1)], LDS: [listener("l", port, "r")], RDS: [route("r", "a")]})
    async with static_server(mesh) as server, at(server, variant, tmp_path) as envoy:
        await settles(envoy, server)
        await server.xds.drain(0.1)
        await server.xds.stop()
        async with static_server(mesh, port=int(server.address.rpartition(":")[2])) as again:
            await until(lambda: len(again.places) == 1 and len(again.places[0].holds) == 4, 20)
            await settles(envoy, again)
            assert again.counters.pushed_resources["cds"] == again.counters.pushed_resources["lds"] == 0
            if variant is Variant.DELTA:
                assert again.counters.pushed_resources.total() == 0
            assert (await asyncio.to_thread(envoy.stats, "cluster_modified$"))["cluster_manager.cluster_modified"] == 0


class Load:
    """Requests without a pause. `seen`: how many by status, 0 for none."""

    def __init__(self, port: int) -> None:
        self.seen: Counter[int] = Counter()
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        connection = http.client.HTTPConnection(PROXY, self._port, timeout=5)
        while not self._stop.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                self.seen[answer.status] += 1
            except (OSError, http.client.HTTPException):
                self.seen[0] += 1
                connection.close()
        connection.close()

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._stop.set()
        await asyncio.to_thread(self._thread.join)


@BOTH
async def test_c39_c40_traffic_never_notices_that_clusters_come_and_go_under_its_route(variant: Variant, tmp_path: Path) -> None:
    """Each generation has a cluster of a new name, the route to it, and no longer the one before."""
    mesh = Mesh()
    port, app = free_port(PROXY), free_port(APPS)
    wave(mesh, {CDS: [cluster("c0")], EDS: [endpoints("c0", app)], LDS: [listener("l", port, "r")], RDS: [route("r", "c0")]})
    with http_app(APPS, app):
        async with static_server(mesh) as server, at(server, variant, tmp_path) as envoy:
            await settles(envoy, server)
            async with Load(port) as load:
                await until(lambda: load.seen[200] > 10)
                for number in range(1, 40):
                    new, old = f"c{number}", f"c{number - 1}"
                    wave(
                        mesh,
                        {CDS: [cluster(new)], EDS: [endpoints(new, app)], RDS: [route("r", new)]},
                        {CDS: [old], EDS: [old]},
                    )
                    if number % 3 == 0:
                        await settles(envoy, server, 2.0)
                    else:
                        await asyncio.sleep(0.003 * number)
                await settles(envoy, server, 2.0)
                await sees(lambda: clusters(envoy) == {"c39"})
            assert set(load.seen) == {200}, load.seen


@BOTH
async def test_a_proxy_that_may_have_no_secrets_lives_without_them(variant: Variant, tmp_path: Path) -> None:
    """Keys go over plaintext to a loopback address only: clusters that need them can't connect, and nothing else is held up."""
    tls = {
        "@type": f"type.googleapis.com/{UpstreamTlsContext.DESCRIPTOR.full_name}",
        "common_tls_context": {
            "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": {**OVER_ADS, "initial_fetch_timeout": "0.5s"}}]
        },
    }
    mesh = Mesh()
    secured = cluster("secured", transport_socket={"name": "envoy.transport_sockets.tls", "typed_config": tls})
    wave(mesh, {CDS: [cluster("a"), secured], EDS: [endpoints("a", 1), endpoints("secured", 2)]})
    async with static_server(mesh, host="0.0.0.0") as server, at(server, variant, tmp_path) as envoy:
        await sees(lambda: "a" in clusters(envoy))
        await until(lambda: server.counters.pushes["sds"] == 1)
        connection = server.places[0].connection
        await until(lambda: all(acked(channel) for channel in connection.status().channels if channel.type_url == SDS))
        wave(mesh, {EDS: [endpoints("a", 3)]})
        await sees(lambda: f"a::{APPS}:3::" in envoy.get("/clusters")[1])
        assert server.counters.rejects == {}
        assert server.counters.pushes["sds"] == 1


@pytest.mark.slow
async def test_c57_heartbeats_keep_alive_what_vanishes_without_them(tmp_path: Path) -> None:
    """With delta: with state of the world Envoy does not say that it takes a time to live."""
    mesh = Mesh()
    port = free_port(PROXY)
    wave(mesh, {CDS: [cluster("a")], EDS: [endpoints("a", 1)], LDS: [listener("l", port, "r")], RDS: [route("r", "a")]})
    ttls = dict.fromkeys((CDS, EDS, LDS, RDS), 1.5)
    async with static_server(mesh, ttls=ttls) as server, at(server, Variant.DELTA, tmp_path) as envoy:
        await settles(envoy, server)
        await until(lambda: all(server.counters.heartbeats[short] >= 9 for short in ("cds", "eds", "lds", "rds")), 30)
        assert (clusters(envoy), listeners(envoy)) == ({"a"}, {"l"}), "three times its time to live it is there"
        assert server.counters.rejects == {}
        assert server.counters.expired_nonces == {}
        assert server.counters.pushed_resources == {"cds": 1, "eds": 1, "lds": 1, "rds": 1}
        stats = await asyncio.to_thread(envoy.stats, "cluster_(modified|removed)$")
        assert set(stats.values()) == {0}
        wave(mesh, {CDS: [cluster("a", connect_timeout="2s")]})
        await settles(envoy, server)
        before = server.counters.heartbeats["cds"]
        await until(lambda: server.counters.heartbeats["cds"] >= before + 4, 30)
        assert clusters(envoy) == {"a"}
        await server.xds.stop()
        await sees(lambda: clusters(envoy) == set() and listeners(envoy) == set())


async def test_c57_who_comes_back_keeps_what_it_holds(tmp_path: Path) -> None:
    """Nothing is sent again, so heartbeats have to begin at once."""
    mesh = Mesh()
    wave(mesh, {CDS: [cluster("a")], EDS: [endpoints("a", 1)]})
    ttls = {CDS: 6.0, EDS: 6.0}
    async with static_server(mesh, ttls=ttls) as server, at(server, Variant.DELTA, tmp_path) as envoy:
        await settles(envoy, server)
        await server.xds.drain(0.1)
        await server.xds.stop()
        async with static_server(mesh, port=int(server.address.rpartition(":")[2]), ttls=ttls) as again:
            await until(lambda: again.counters.heartbeats["cds"] >= 3, 30)
            assert again.counters.rejects == {}
            assert again.counters.pushed_resources.total() == 0
            assert clusters(envoy) == {"a"}
            assert (await asyncio.to_thread(envoy.stats, "cluster_removed$"))["cluster_manager.cluster_removed"] == 0


def asking_listener(name: str, port: int) -> Resource:
    """Sends each request to the cluster that its header x-cluster names, which it asks for if it isn't there."""
    source = {"source": {**OVER_ADS}, "timeout": "5s"}
    filters = [
        {"name": "on_demand", "typed_config": {"@type": f"type.googleapis.com/{OnDemandFilter.DESCRIPTOR.full_name}", "odcds": source}},
        {"name": "router", "typed_config": {"@type": f"type.googleapis.com/{Router.DESCRIPTOR.full_name}"}},
    ]
    host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster_header": "x-cluster"}}]}
    manager = {
        "@type": f"type.googleapis.com/{HttpConnectionManager.DESCRIPTOR.full_name}",
        "stat_prefix": name,
        "route_config": {"name": "static", "virtual_hosts": [host]},
        "http_filters": filters,
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return made(Listener(), name, {"address": {"socket_address": {"address": PROXY, "port_value": port}}, "filter_chains": [chain]})


def ask_for(port: int, wanted: str) -> tuple[int, float]:
    """The status of a request that is to go to that cluster, and the seconds that it took."""
    connection = http.client.HTTPConnection(PROXY, port, timeout=10)
    try:
        started = time.monotonic()
        connection.request("GET", "/", headers={"x-cluster": wanted})
        answer = connection.getresponse()
        answer.read()
        return answer.status, time.monotonic() - started
    finally:
        connection.close()


async def test_c58_a_cluster_is_had_when_it_is_asked_for_and_the_rest_is_not(tmp_path: Path) -> None:
    mesh = OnDemand()
    port, app = free_port(PROXY), free_port(APPS)
    wave(
        mesh,
        {CDS: [cluster("fixed")], EDS: [endpoints(name, app) for name in ("fixed", "on-1", "on-2")], LDS: [asking_listener("l", port)]},
    )
    mesh.demand(cluster("on-1"), cluster("on-2"))
    with http_app(APPS, app):
        async with static_server(mesh) as server, at(server, Variant.DELTA, tmp_path) as envoy:
            await settles(envoy, server)
            assert clusters(envoy) == {"fixed"}
            assert (await asyncio.to_thread(ask_for, port, "on-1"))[0] == 200
            assert clusters(envoy) == {"fixed", "on-1"}
            status, seconds = await asyncio.to_thread(ask_for, port, "on-none")
            assert status == 503
            assert seconds < 2, "it is told at once that there is none, and waits 5 s otherwise"
            mesh.demand(cluster("on-1", connect_timeout="3s"), cluster("on-2", connect_timeout="3s"))
            await settles(envoy, server)
            assert server.counters.pushed_resources["cds"] == 3
            assert (await asyncio.to_thread(envoy.stats, "cluster_modified$"))["cluster_manager.cluster_modified"] == 1
            await server.xds.drain(0.1)
            await server.xds.stop()
            wave(mesh, {CDS: [cluster("late")], EDS: [endpoints("late", app)]})
            async with static_server(mesh, port=int(server.address.rpartition(":")[2])) as again:
                await sees(lambda: clusters(envoy) == {"fixed", "on-1", "late"}, 20)
                await settles(envoy, again)
                assert again.counters.pushed_resources["cds"] == 1
                assert again.places[0].holds[CDS] is None
                mesh.demand(cluster("on-none"))
                wave(mesh, {EDS: [endpoints("on-none", app)]})
                await sees(lambda: "on-none" in clusters(envoy))
                assert (await asyncio.to_thread(ask_for, port, "on-none"))[0] == 200, "it came without being asked for again"
                mesh.demand(gone=["on-1"])
                await sees(lambda: "on-1" not in clusters(envoy))
                assert (await asyncio.to_thread(ask_for, port, "on-1"))[0] == 503
                assert (await asyncio.to_thread(ask_for, port, "on-2"))[0] == 200
