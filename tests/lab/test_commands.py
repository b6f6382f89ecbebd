"""`steersman lab` as a user runs it: up, everything in between, and nothing left however it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from steersman.lab import netns
from steersman.lab.envoy import envoy_binary
from steersman.lab.process import ProcessID
from steersman.lab.run import Run, runs
from tests.lab.files import TWO_NETWORKS, write_lab
from tests.lab.files import pod as pod_manifest

pytestmark = [pytest.mark.envoy, pytest.mark.slow]

COMMAND = [sys.executable, "-m", "steersman.cli", "lab"]
STARTING = 90
ENDING = 30


@pytest.fixture
def base() -> Iterator[Path]:
    """Where the labs of one test are, so that it sees no others."""
    with a_place_for_labs() as made:
        yield made


@contextmanager
def a_place_for_labs() -> Iterator[Path]:
    """Envoy, as another user, must get in."""
    with tempfile.TemporaryDirectory(prefix="lab-") as made, pytest.MonkeyPatch.context() as patch:
        Path(made).chmod(0o755)
        patch.setenv("STEERSMAN_LAB_DIR", made)
        yield Path(made)


WITH, WITHOUT = pytest.param("--namespaces", marks=pytest.mark.netns), "--no-namespaces"


@pytest.fixture(scope="module", params=[WITH, WITHOUT])
def isolation(request: pytest.FixtureRequest, namespaces_possible: str | None) -> str:
    if request.param == "--namespaces" and namespaces_possible is not None:
        pytest.skip(f"network namespaces: {namespaces_possible}")
    return str(request.param)


@pytest.fixture(scope="module")
def running_lab(isolation: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A lab that several tests look at, the last of which ends it; and where it is."""
    with a_place_for_labs() as base, up(isolation, tmp_path_factory.mktemp("up")) as running:
        yield running, base


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def up(isolation: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A lab that says that it is ready."""
    envoy_binary()
    said = directory / "said"
    with said.open("w") as output:
        running = subprocess.Popen([*COMMAND, "up", isolation, str(TWO_NETWORKS)], stdout=output, stderr=output, text=True)
    try:
        until = time.monotonic() + STARTING
        while "Ctrl-C ends it" not in said.read_text():
            assert running.poll() is None, said.read_text()
            assert time.monotonic() < until, said.read_text()
            time.sleep(0.1)
        yield running
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGTERM)
            running.wait(ENDING)


def the_only_run() -> Run:
    (found,) = runs()
    return found


def assert_nothing_is_left(run: Run, known: dict[str, ProcessID]) -> None:
    assert [name for name, process in known.items() if process.alive()] == []
    assert not run.record.prefix or netns.named(run.record.prefix) == []
    assert not run.directory.exists()


def processes_naming(directory: Path) -> list[int]:
    """Every process of this machine whose command line names this directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(directory).encode() in command and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


def test_a_running_lab_says_where_everything_is_and_is_entered_from_another_terminal(running_lab: object) -> None:
    state = status()
    assert len(state["pods"]) == 11
    assert lab("status").stdout.count(" yes ") == 11

    answer = json.loads(lab("curl", "east/productpage", "-s", "http://details:9080/").stdout)
    assert (answer["pod"], answer["client"]) == ("details-v1", "spiffe://cluster.local/ns/default/sa/bookinfo-productpage")

    assert (
        lab("exec", "east/productpage", "--", "sh", "-c", "echo $POD_IP").stdout.strip() == pod(state, "east/default/productpage-v1")["ip"]
    )
    assert lab("exec", "east/reviews", "--", "true").returncode == 1, "two pods: which one?"
    assert lab("exec", "east/productpage").returncode == 2

    with socket.create_connection(("127.0.0.1", state["forwards"][0]["port"])) as browser:
        browser.sendall(b"GET /productpage HTTP/1.1\r\nHost: productpage\r\nConnection: close\r\n\r\n")
        page = b"".join(iter(lambda: browser.recv(65536), b""))
    assert b"The Comedy of Errors" in page

    assert "details v1 listens on" in lab("logs", "east/details").stdout
    assert lab("logs", "east/details", "-c", "nothing").returncode == 1


def test_what_is_stopped_stays_so_until_it_is_started(running_lab: object) -> None:
    assert lab("stop", "east/details").stdout == "stopped east/default/details-v1/details\n"
    state = status()
    assert not pod(state, "east/default/details-v1")["ready"]
    assert lab("status").returncode == 1
    assert lab("start", "east/details").returncode == 0
    until_ready()
    assert "no pod north/details in this lab; there are: east/default/details-v1" in lab("stop", "north/details").stderr


def test_the_mesh_goes_on_without_its_control_plane(running_lab: object) -> None:
    assert lab("stop", "steersman").returncode == 0
    assert not status()["control"]["ready"]
    assert lab("curl", "east/productpage", "-sf", "http://details:9080/").returncode == 0
    assert lab("start", "steersman").returncode == 0
    until_ready()


def test_a_signal_ends_all_of_it_and_leaves_nothing(running_lab: tuple[subprocess.Popen[str], Path], isolation: str) -> None:
    """The last of those that look at this lab."""
    running, base = running_lab
    run = the_only_run()
    known = run.record.children
    assert len(known) == 20, known
    assert all(process.alive() for process in known.values())

    running.send_signal(signal.SIGINT if isolation == "--namespaces" else signal.SIGTERM)
    assert running.wait(ENDING) == 0

    assert_nothing_is_left(run, known)
    assert processes_naming(base) == []


def test_a_signal_while_it_starts_leaves_nothing_either(isolation: str, base: Path) -> None:
    with subprocess.Popen([*COMMAND, "up", isolation, str(TWO_NETWORKS)], stdout=subprocess.DEVNULL) as starting:
        until = time.monotonic() + STARTING
        while not (runs() and len(runs()[0].record.children) > 2):
            assert starting.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        run = the_only_run()

        starting.send_signal(signal.SIGINT)
        starting.send_signal(signal.SIGINT)  # impatience changes nothing
        assert starting.wait(ENDING) == 0

    assert_nothing_is_left(run, run.record.children)
    assert processes_naming(base) == []


@pytest.mark.parametrize("isolation", [WITH], indirect=True)
def test_what_a_killed_lab_leaves_is_removed_by_lab_down(isolation: str, base: Path, tmp_path: Path) -> None:
    with up(isolation, tmp_path) as running:
        run = the_only_run()
        known = run.record.children

        running.kill()
        running.wait()

    assert run.directory.exists()
    assert lab("status").returncode == 1, "a lab that was killed is not running"
    ended = lab("down")
    assert ended.returncode == 0, ended.stderr
    assert f"{run.id}: removed directory" in ended.stdout
    assert_nothing_is_left(run, known)
    assert processes_naming(base) == []
    assert "none has left anything" in lab("down").stdout


def test_a_lab_that_does_not_come_up_says_the_last_words_of_what_failed_and_keeps_only_its_logs(base: Path, tmp_path: Path) -> None:
    failing = pod_manifest("books", sidecar=False)
    failing["spec"]["containers"][0] |= {"command": ["sh", "-c", "echo there is no such book; exit 3"]}
    file = write_lab(tmp_path, {"east": [failing]})

    ended = lab("up", "--no-namespaces", str(file))

    assert ended.returncode == 1
    assert "app ended" in ended.stderr
    assert "there is no such book" in ended.stderr
    (run,) = runs()
    assert [process for process in run.record.children.values() if process.alive()] == []
    assert "there is no such book" in (run.directory / "logs" / "east.default.books.app.log").read_text()


def test_wrong_input_is_refused_before_anything_is_started(base: Path, tmp_path: Path) -> None:
    file = write_lab(tmp_path, {"east": [pod_manifest("a")]}, forward=[{"port": 1, "to": "west/a:80"}])

    ended = lab("up", str(file))

    assert ended.returncode == 2
    assert "lab.forward.to: got 'west/a:80', expected a pod and its port" in ended.stderr
    assert runs() == []


def status() -> Any:
    return json.loads(lab("status", "-o", "json").stdout)


def pod(state: Any, name: str) -> Any:
    return next(one for one in state["pods"] if one["pod"] == name)


def until_ready() -> None:
    until = time.monotonic() + STARTING
    while lab("status").returncode != 0:
        assert time.monotonic() < until, lab("status").stdout
        time.sleep(0.1)
