"""A server that is told to end isn't ready any more, ends its streams, and exits 0 within ten seconds, whatever its clients do."""

import http.client
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from steersman.names import CDS, EDS, LDS
from tests.live.mesh import CLUSTERS, EAST, extra, fill
from tests.support.live import DRAINED, ControlPlane, Workload, eventually, serving
from tests.support.objects import service
from tests.support.streams import DeltaStream, RawStream, SotwStream, node_of

STREAMS = 50
WINDOW = 1 << 16
NARROW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", WINDOW))
"""Channel options by which a client that doesn't read takes no more than that many bytes."""


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path, {"east": CLUSTERS["east"]})
    fill(plane)
    with serving(plane):
        yield plane


def end(plane: ControlPlane, number: signal.Signals) -> None:
    plane.signal(number)
    assert plane.ended(DRAINED) == 0, plane.said()
    assert "Traceback" not in plane.said()
    assert "was never" not in plane.said(), "a task was not awaited"


class Watch:
    """Asks whether the server is ready, without a pause; `seen`: each answer that differs from the one before, at last 0 for none."""

    def __init__(self, plane: ControlPlane) -> None:
        self._connection = plane.connection()
        self.seen: list[int] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while self.seen[-1:] != [0]:
            try:
                self._connection.request("GET", "/ready")
                answer = self._connection.getresponse()
                answer.read()
                status = answer.status
            except (OSError, http.client.HTTPException):
                status = 0
            if self.seen[-1:] != [status]:
                self.seen.append(status)

    def end(self) -> None:
        self._thread.join()
        self._connection.close()


def test_c55_on_sigterm_fifty_streams_are_ended_and_readiness_goes_first(plane: ControlPlane) -> None:
    """Some of them have said nothing yet, and one has an answer on its way."""
    with ExitStack() as stack:
        streams: list[RawStream] = []
        for count in range(STREAMS):
            node = node_of(Workload(f"client-{count}", 40, account="client"))
            streams.append(stack.enter_context(DeltaStream(plane.xds, node) if count % 2 else SotwStream(plane.xds, node)))
            streams[-1].ask(CDS)
        for stream in streams:
            stream.acknowledge(stream.response())
        streams[1].ask(EDS, "outbound|9080||web.demo.svc.cluster.local")
        streams += [stack.enter_context(DeltaStream(plane.xds, node_of(EAST.client))) for _ in range(3)]
        eventually(lambda: sum(plane.metrics("steersman_streams_total").values()) == STREAMS + 3)
        watch = Watch(plane)
        eventually(lambda: watch.seen == [200])
        idle = plane.connection()
        idle.request("GET", "/ready")
        idle.getresponse().read()
        end(plane, signal.SIGTERM)
        watch.end()
        idle.close()
        assert watch.seen == [200, 503, 0]
        for stream in streams:
            assert stream.ended() == (grpc.StatusCode.UNAVAILABLE, "the server is going away; connect again")
    assert "draining" in plane.said()
    assert plane.said().splitlines()[-1].endswith("ended")


def test_c55_on_sigint_clients_that_never_read_do_not_hold_it_up_nor_does_a_second_signal(plane: ControlPlane) -> None:
    ports = {f"http-{number}": (20000 + number, 8080) for number in range(10)}
    plane.clusters["east"].put("many.json", *(service(f"many-{number}", ports) for number in range(100)))
    eventually(lambda: plane.metrics("steersman_services")[""] > 100)
    node = node_of(EAST.client)
    with DeltaStream(plane.xds, node, NARROW) as delta, SotwStream(plane.xds, node, NARROW) as sotw:
        for stream in (delta, sotw):
            stream.ask(CDS)
            stream.ask(LDS)
        eventually(lambda: plane.metrics("steersman_pushed_bytes_total").get('{type="cds"}', 0) > 2 * 10 * WINDOW)
        plane.clusters["east"].put("more.yaml", *extra("more", 251))  # what they can't be told, either
        plane.signal(signal.SIGINT)
        end(plane, signal.SIGTERM)
