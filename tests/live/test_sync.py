"""Proxies are answered once every source has told what it had, or was waited for long enough: who was not, is named."""

import queue
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from steersman.names import CDS
from tests.live.mesh import EAST, HTTP, extra, fill, outbound
from tests.support.live import ControlPlane, eventually
from tests.support.objects import as_yaml, pod
from tests.support.streams import DeltaStream, node_of

SERVED_WITHOUT_ITS_DIRECTORY = """
import pathlib, shutil, sys
from steersman.server import app
from steersman.settings import read_settings
settings = read_settings(pathlib.Path(sys.argv[1]))
shutil.rmtree(sys.argv[2])
sys.exit(app.serve(settings))
"""
"""The configuration is read while the directory is there; when its source looks for it, it is not."""

_POD = as_yaml([pod("pod-0", "10.0.0.1")])
LARGE = "---\n".join(_POD.replace("pod-0", f"pod-{number}") for number in range(15_000))
"""A file that takes some seconds to read."""


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """East is whole; west is waited for half a second."""
    clusters = {"east": {"network": "network-east"}, "west": {"network": "network-west", "syncTimeout": "500ms"}}
    plane = ControlPlane(tmp_path, clusters)
    fill(plane)
    yield plane
    plane.stop()


def sources(plane: ControlPlane) -> dict[str, str]:
    return {source["name"]: source["state"] for source in plane.json("/debug/sources")["sources"]}


def test_a_directory_that_takes_long_to_read_is_served_when_it_is_read_and_the_others_without_it(plane: ControlPlane) -> None:
    plane.clusters["west"].write("large.yaml", LARGE)
    plane.start()
    status, reasons = eventually(lambda: plane.get("/ready"))
    assert status == 503
    eventually(lambda: "xDS on" in plane.said())
    with DeltaStream(plane.xds, node_of(EAST.client)) as stream:
        stream.ask(CDS)
        with pytest.raises(queue.Empty):
            stream.response(0.0)
        response = stream.response()
        assert outbound("web", HTTP) in {resource.name for resource in response.resources}
        assert sources(plane) == {"east": "SYNCED", "west": "TIMED_OUT", "ca": "SYNCED", "dns": "SYNCED"}
        assert f"files source west ({plane.clusters['west'].path}) has not told everything yet; it is waited for 0.5 s" in reasons
        assert plane.is_ready()
        (finding,) = plane.findings()["source-not-synced"]
        assert "west" in finding["object"]
        assert f"source west ({plane.clusters['west'].path}) is not waited for after 0.5 s: served without it" in plane.said()
        # What comes is served as it comes; and nobody is held up meanwhile.
        plane.clusters["east"].put("more.yaml", *extra("more", 1))
        stream.acknowledge(response)
        assert outbound("more", 9090) in {resource.name for resource in stream.response().resources}
        assert sources(plane)["west"] == "TIMED_OUT", "west was read too fast for this test: make its file larger"
        eventually(lambda: sources(plane)["west"] == "SYNCED", 60)
        assert "source-not-synced" not in plane.findings()


def test_a_directory_that_is_gone_is_waited_for_and_served_when_it_is_there(plane: ControlPlane) -> None:
    west = plane.clusters["west"].path
    kept = west.rename(west.with_name("kept"))
    shutil.copytree(kept, west)
    started = time.monotonic()
    plane.start(sys.executable, "-c", SERVED_WITHOUT_ITS_DIRECTORY, str(plane.config), str(west)).ready()
    assert time.monotonic() - started > 0.5
    assert sources(plane)["west"] == "TIMED_OUT"
    found = plane.findings()
    (missing,), (unsynced,) = found["directory-missing"], found["source-not-synced"]
    assert missing["place"] == str(west)
    assert "west" in unsynced["object"]
    with DeltaStream(plane.xds, node_of(EAST.client)) as stream:
        assert outbound("web", HTTP) in stream.take(CDS)
        kept.rename(west)
        eventually(lambda: sources(plane)["west"] == "SYNCED")
        assert not {"directory-missing", "source-not-synced"} & plane.findings().keys()
        (found_again,) = (source for source in plane.json("/debug/sources")["sources"] if source["name"] == "west")
        assert int(found_again["objects"]) > 5


def test_a_server_that_is_told_to_end_while_it_waits_ends(plane: ControlPlane) -> None:
    plane.clusters["west"].write("large.yaml", LARGE)
    plane.config.write_text(plane.config.read_text().replace("500ms", "60s"))
    plane.start()
    eventually(lambda: plane.get("/ready")[0] == 503 and "xDS on" in plane.said())
    with DeltaStream(plane.xds, node_of(EAST.client)) as stream:
        stream.ask(CDS)
        eventually(lambda: plane.metrics("steersman_streams_total").get('{protocol="delta"}', 0) == 1)
        plane.signal(signal.SIGTERM)
        assert plane.ended() == 0, plane.said()
    assert "Traceback" not in plane.said()
