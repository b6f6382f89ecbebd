"""What is wrong in a file is told, with its place, and costs only itself: everything else is served on, unchanged, while it happens."""

import json
import threading
import time
from collections.abc import Iterator
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Self

import pytest

from tests.live.mesh import CLUSTERS, EAST, extra, fill, outbound
from tests.support.live import ControlPlane, clusters, endpoints, envoys, eventually, refusals, serving, warming
from tests.support.objects import Object, as_yaml, endpoint, pod, service, slice_of
from tests.support.running import Envoy

pytestmark = pytest.mark.envoy

RESPONSIVE = 0.100
"""Seconds in which /ready answers, whatever else is going on."""
Versions = dict[tuple[str, str], str]


class World(NamedTuple):
    plane: ControlPlane
    envoy: Envoy


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    plane = ControlPlane(tmp_path_factory.mktemp("bad"), {"east": CLUSTERS["east"]})
    fill(plane)
    plane.clusters["east"].put("victim.yaml", *extra("victim", 1))
    with serving(plane), envoys(plane, EAST.client) as running:
        envoy = running[EAST.client.name]
        eventually(partial(endpoints, envoy, outbound("victim", 9090)))
        stream = stream_of(plane)
        yield World(plane, envoy)
        assert stream_of(plane) == stream, "the stream was lost meanwhile"
        assert (refusals(envoy), warming(envoy)) == ({}, {})
        assert "Traceback" not in plane.said()
        assert plane.metrics("steersman_internal_errors_total") == {"": 0}
        assert plane.metrics("steersman_failed_values_total") == {"": 0}


@pytest.fixture(autouse=True)
def tidy(world: World) -> Iterator[None]:
    """A test that fails leaves nothing behind for the next."""
    yield
    for file in world.plane.clusters["east"].path.glob("odd*"):
        file.unlink()


def stream_of(plane: ControlPlane) -> str:
    (proxy,) = plane.json("/debug/proxies")["proxies"]
    return str(proxy["stream"])


def versions(world: World) -> Versions:
    return world.plane.versions(EAST.client.name)


def told(world: World, finding: str) -> dict[str, Any]:
    """The one finding of that id, once it is there."""
    (found,) = eventually(lambda: world.plane.findings().get(finding, []))
    assert found["cause"]
    assert found["remedy"]
    return dict(found)


def forgotten(world: World, finding: str) -> None:
    eventually(lambda: finding not in world.plane.findings())


def odd(*entries: Object, **ports: tuple[int, int]) -> list[Object]:
    """A service on a port of its own, so that it shares no route with others."""
    return [service("odd", ports or {"http": (9777, 8080)}), slice_of("odd", {"http": 8080}, entries)]


@pytest.mark.parametrize(
    "text", ["kind: [\n", "\tkind: Service\n", "- a\nb\n"], ids=["an open bracket", "a tab", "neither list nor mapping"]
)
def test_broken_yaml_keeps_what_the_file_held(world: World, text: str) -> None:
    directory, before = world.plane.clusters["east"], versions(world)
    good = as_yaml(extra("victim", 1))
    directory.write("victim.yaml", as_yaml(extra("victim", 2)) + "---\n" + text)
    found = told(world, "file-unparsable")
    assert found["severity"] == "ERROR"
    assert found["object"] == str(directory.path / "victim.yaml")
    file, _, line = found["place"].rpartition(":")
    assert file == str(directory.path / "victim.yaml")
    assert abs(int(line) - good.count("\n")) <= 4
    assert versions(world) == before
    directory.write("victim.yaml", good)
    forgotten(world, "file-unparsable")
    assert versions(world) == before


def test_broken_json_keeps_what_the_file_held(world: World) -> None:
    directory = world.plane.clusters["east"]
    directory.put("odd.json", *odd(endpoint("victim-1", "10.0.9.1")))
    eventually(lambda: ("cds", outbound("odd", 9777)) in versions(world))
    before = versions(world)
    directory.write("odd.json", '{"apiVersion": "v1", "kind": "List", "items": [}')
    assert told(world, "file-unparsable")["place"].startswith(str(directory.path / "odd.json"))
    assert versions(world) == before
    directory.remove("odd.json")
    forgotten(world, "file-unparsable")
    eventually(lambda: ("cds", outbound("odd", 9777)) not in versions(world))


def test_a_half_written_file_keeps_what_it_held(world: World) -> None:
    directory, before = world.plane.clusters["east"], versions(world)
    good = as_yaml(extra("victim", 1))
    (directory.path / "victim.yaml").write_text(good[: len(good) // 2].rstrip("\n"))
    assert told(world, "file-cut-short")["place"].startswith(str(directory.path / "victim.yaml"))
    assert versions(world) == before
    (directory.path / "victim.yaml").write_text(good)
    forgotten(world, "file-cut-short")
    assert versions(world) == before


def test_a_file_that_is_written_slowly_is_read_when_it_is_whole(world: World) -> None:
    directory, before = world.plane.clusters["east"], versions(world)
    generations = world.plane.metrics("steersman_facts_total")
    with (directory.path / "victim.yaml").open("w") as file:
        for line in as_yaml(extra("victim", 1)).splitlines(keepends=True):
            file.write(line)
            file.flush()
            time.sleep(0.01)
    time.sleep(0.3)
    assert versions(world) == before
    assert world.plane.metrics("steersman_facts_total") == generations, "half of it was taken in"


def test_a_service_without_ports(world: World) -> None:
    directory, before = world.plane.clusters["east"], versions(world)
    portless = service("portless", {})
    del portless["spec"]["ports"]
    good = service("odd", {"http": (9777, 8080)})
    directory.put("odd.yaml", good, portless)
    found = told(world, "service-without-ports")
    assert found["object"] == "Service east/demo/portless"
    line = as_yaml([good]).count("\n") + 2  # behind the first document and the line that parts them
    assert found["place"] == f"{directory.path / 'odd.yaml'}:{line}"
    eventually(lambda: ("cds", outbound("odd", 9777)) in versions(world))
    gone_back(world, before, "service-without-ports")


def test_slices_that_name_missing_pods(world: World) -> None:
    directory, before = world.plane.clusters["east"], versions(world)
    directory.put("odd.yaml", *odd(endpoint("victim-1", "10.0.9.1"), endpoint("ghost-1", "10.0.9.99")))
    found = told(world, "pod-missing")
    assert found["object"] == "EndpointSlice east/demo/odd-1"
    assert "ghost-1" in found["cause"]
    assert found["place"].startswith(str(directory.path / "odd.yaml"))
    eventually(lambda: set(endpoints(world.envoy, outbound("odd", 9777))) == {"10.0.9.1:8080"})
    gone_back(world, before, "pod-missing")


@pytest.mark.parametrize("address", ["10.0.0.300", "example.com", "", "224.0.0.1", "fe80::1%eth0"])
def test_an_address_that_is_none(world: World, address: str) -> None:
    directory, before = world.plane.clusters["east"], versions(world)
    directory.put("odd.yaml", *odd(endpoint("victim-1", "10.0.9.1"), endpoint("victim-1", address)))
    found = told(world, "bad-address")
    assert found["object"] == "EndpointSlice east/demo/odd-1"
    assert found["place"].startswith(str(directory.path / "odd.yaml"))
    eventually(lambda: set(endpoints(world.envoy, outbound("odd", 9777))) == {"10.0.9.1:8080"})
    gone_back(world, before, "bad-address")


def test_an_object_of_the_wrong_shape(world: World) -> None:
    directory, before = world.plane.clusters["east"], versions(world)
    directory.put(
        "odd.yaml",
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bent", "namespace": "demo"}, "spec": ["ports"]},
        *extra("odd", 3, port=9777),
    )
    found = told(world, "invalid-object")
    assert found["object"] == "Service east/demo/bent"
    assert found["place"] == f"{directory.path / 'odd.yaml'}:1"
    eventually(lambda: endpoints(world.envoy, outbound("odd", 9777)))
    gone_back(world, before, "invalid-object")


def gone_back(world: World, before: Versions, finding: str) -> None:
    """What was there before is as it was, with the mistake and without it."""
    now = versions(world)
    assert {name: now.get(name) for name in before} == before
    assert {name for _, name in now.keys() - before.keys()} <= {outbound("odd", 9777), "0.0.0.0_9777", "9777"}
    world.plane.clusters["east"].remove("odd.yaml")
    forgotten(world, finding)
    eventually(lambda: versions(world) == before)


def test_files_that_are_deleted_while_they_are_read(world: World) -> None:
    directory, before = world.plane.clusters["east"], versions(world)
    large = as_yaml([one for number in range(150) for one in extra(f"odd-{number}", number, port=9777)])
    for _ in range(5):
        directory.write("odd.yaml", large)
        time.sleep(0.02)
        directory.remove("odd.yaml")
    for number in range(20):
        directory.put(f"odd-{number}.json", *extra(f"odd-{number}", number, port=9777))
        directory.remove(f"odd-{number}.json")
    # Only what comes after them shows that they have been read: until then all is as it was before.
    directory.put("odd.json", *odd(endpoint("victim-1", "10.0.9.1")))
    eventually(lambda: ("cds", outbound("odd", 9777)) in versions(world))
    directory.remove("odd.json")
    eventually(lambda: versions(world) == before)
    assert "file-unreadable" not in world.plane.findings()


class Ready:
    """Asks /ready without a pause while entered. `taken`: seconds of each answer."""

    def __init__(self, plane: ControlPlane) -> None:
        self._connection = plane.connection()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.taken: list[float] = []
        self.statuses: set[int] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._connection.close()

    def __str__(self) -> str:
        return f"/ready: 99 % in {1000 * self.slow:.0f} ms, the slowest {1000 * max(self.taken):.0f} ms, of {len(self.taken)}"

    @property
    def slow(self) -> float:
        """Seconds that one in a hundred took, or more: a machine that others use as well may hold up a single one."""
        return sorted(self.taken)[int(len(self.taken) * 0.99)]

    def _run(self) -> None:
        while not self._stop.wait(0.003):
            started = time.perf_counter()
            self._connection.request("GET", "/ready")
            answer = self._connection.getresponse()
            answer.read()
            self.taken.append(time.perf_counter() - started)
            self.statuses.add(answer.status)


@pytest.mark.alone
def test_ten_thousand_objects_at_once(world: World) -> None:
    """Half of them as YAML, half as JSON; 2,500 services, each with a pod that is ready and one that is not, and a slice."""
    plane, directory = world.plane, world.plane.clusters["east"]
    before = versions(world)
    staged = []
    for part, file in enumerate(("crowd-1.yaml", "crowd-2.json", "crowd-3.yaml", "crowd-4.json")):
        objects = [one for number in range(625) for one in crowd(part * 625 + number)]
        text = as_yaml(objects) if file.endswith("yaml") else json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        staged.append((directory.stage(file, text), directory.path / file))
    started = time.monotonic()
    with Ready(plane) as ready:
        for source, target in staged:
            source.rename(target)
        eventually(lambda: len(clusters(world.envoy)) > 2500, 60, pause=0.2)
        taken = time.monotonic() - started
    print(f"10,000 objects in Envoy after {taken:.1f} s; {ready}")
    assert ready.statuses == {200}
    assert ready.slow < RESPONSIVE
    eventually(lambda: endpoints(world.envoy, outbound("crowd-2499", 9778)) == {"10.40.9.195:8080": "healthy"})
    now = versions(world)
    assert {name: now.get(name) for name in before} == before
    with Ready(plane) as ready:
        for _, target in staged:
            target.unlink()
        eventually(lambda: versions(world) == before, 60, pause=0.2)
        eventually(lambda: len(clusters(world.envoy)) < 50, 60, pause=0.2)
    print(f"gone again; {ready}")
    assert ready.slow < RESPONSIVE


def crowd(number: int) -> list[Object]:
    name, ips = f"crowd-{number}", [f"10.{40 + unready}.{number // 256}.{number % 256}" for unready in (0, 1)]
    return [
        service(name, {"http": (9778, 8080)}),
        pod(f"{name}-0", ips[0]),
        pod(f"{name}-1", ips[1], ready=False),
        slice_of(name, {"http": 8080}, [endpoint(f"{name}-0", ips[0]), endpoint(f"{name}-1", ips[1], ready=False)]),
    ]
