"""A server that restarts while the API of its only cluster is down: Envoys that were there notice nothing, one that comes gets its
endpoints, and when the API is back only what has changed is sent.
"""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cli.conftest import inline
from tests.live.load import Load
from tests.live.mesh import EAST, HTTP, TARGETS, base, outbound, web
from tests.live.test_restart import assert_nothing_changed, come_back, synced, taken
from tests.support.apiserver.applied import Applied
from tests.support.apiserver.double import Double
from tests.support.apiserver.kinds import definition_of
from tests.support.live import ControlPlane, Workload, endpoints, envoys, eventually
from tests.support.objects import endpoint, pod, slice_of
from tests.support.running import Envoy, http_app
from tests.support.streams import node_of

pytestmark = [pytest.mark.envoy, pytest.mark.slow, pytest.mark.timeout(240)]

WEB = outbound("web", HTTP)
LATE = Workload("client-late", 7, "east", account="client")
QUERY = f"proxy={EAST.client.name}&service=web"
NOTICED = 45.0


class World(NamedTuple):
    plane: ControlPlane
    api: Double
    applied: Applied
    envoys: dict[str, Envoy]

    def cluster(self) -> dict[str, Any]:
        (found,) = self.plane.json("/debug/clusters")["clusters"]
        return dict(found)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        api = stack.enter_context(Double())
        api.apply(definition_of("networking.istio.io", ("v1",), "gateways", "Gateway"))
        applied = Applied(api)
        base(applied, EAST)
        web(applied, EAST)
        (tmp_path / "east.kubeconfig").write_text(json.dumps(api.kubeconfig()))
        plane = ControlPlane(tmp_path, {"east": {"network": "network-east", "kubernetes": {"kubeconfig": "east.kubeconfig"}}})
        stack.callback(plane.stop)
        stack.enter_context(http_app(EAST.web.app, TARGETS["http"]))
        plane.start().ready(NOTICED)
        yield World(plane, api, applied, stack.enter_context(envoys(plane, EAST.web, EAST.client)))


def pushed(plane: ControlPlane) -> dict[str, float]:
    return {label: count for label, count in plane.metrics("steersman_pushed_resources_total").items() if count}


def kinds(told: str) -> list[str]:
    return [line.split()[1].rstrip(":") for line in told.splitlines() if line.startswith(("error ", "warning ", "info "))]


async def test_a_restart_in_an_outage_serves_what_was_served_and_sends_what_has_changed_when_it_is_over(
    world: World, tmp_path: Path
) -> None:
    plane, api = world.plane, world.api
    eventually(partial(synced, plane, 2))
    before = {name: taken(one) for name, one in world.envoys.items()}
    with Load(EAST.client) as load:
        api.stop()
        eventually(lambda: world.cluster()["state"] == "UNREACHABLE", NOTICED)
        stranger = plane.directory / ".steersman" / "warm" / "gone.warm"
        stranger.parent.mkdir(mode=0o700, exist_ok=True)
        stranger.touch()
        come_back(plane, signal.SIGTERM, 2)
        assert f"the warm file {stranger} is of no cluster that is read from its API" in plane.said()
        assert pushed(plane) == {}, "resources were sent again"
        one = world.cluster()
        assert (one["state"], one["since"], one["contact"]) == ("UNREACHABLE", one["warm"], one["warm"])
        assert plane.metrics("steersman_cluster_warm_objects")['{cluster="east"}'] == int(one["objects"])
        assert plane.metrics("steersman_source_state")['{kind="kubernetes",source="east",state="warm"}'] == 1
        outage, warm = plane.json(f"/debug/explain?{QUERY}")["notes"]
        assert outage.startswith("cluster east is unreachable since 20")
        assert warm.startswith("cluster east: what its API has not told since the server started is from its warm file, of 20")
        with envoys(plane, LATE) as late:
            assert set(endpoints(late[LATE.name], WEB)) == {f"{EAST.web.ip}:{TARGETS['http']}"}
        table = await inline("clusters", "--server", plane.inspect)
        assert " old: " in table.out
        assert "1 endpointslices.discovery.k8s.io" in table.out
        node = tmp_path / "node.json"
        node.write_text(json.dumps(node_of(EAST.client)))
        rendered = await inline("render", "-c", str(plane.config), "--node", str(node), "--type", "eds")
        assert EAST.web.ip in rendered.out
        assert "the API of cluster east did not tell all, so some is from its warm file, of 20" in rendered.err
        told = await inline("doctor", "-c", str(plane.config))
        assert {"cluster-unreachable", "source-not-synced"} <= set(kinds(told.out))
        assert "objects stand as its warm file has them" in told.out
        counted = pushed(plane)
        api.start()
        eventually(lambda: world.cluster()["state"] == "SYNCED" and "warm" not in world.cluster(), NOTICED)
        eventually(partial(synced, plane, 2))
        assert pushed(plane) == counted, "what is equal was sent"
        eventually(lambda: load.answered > 100)
    assert load.failed == []
    assert_nothing_changed(world.envoys, before, {"cluster_manager.cds.update_success": 1, "listener_manager.lds.update_success": 1})
    other = pod("web-9", "127.0.9.9", node="east-1")
    world.applied.put("other.json", other)
    world.applied.put("web-slice.json", slice_of("web", TARGETS, [endpoint("web-9", "127.0.9.9")]))
    eventually(lambda: set(endpoints(world.envoys[EAST.client.name], WEB)) == {f"127.0.9.9:{TARGETS['http']}"}, NOTICED)
