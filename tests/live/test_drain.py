"""A server that is told to end isn't ready any more, ends its streams, and exits 0 within ten seconds, whatever its clients do."""

import http.client
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from steersman.names import CDS, EDS, LDS, SDS
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


def end(plane: ControlPlane, number: signal.Signals) -> float:
    """Seconds that it takes to end, with exit code 0."""
    started = time.monotonic()
    plane.signal(number)
    assert plane.ended(DRAINED) == 0, plane.said()
    seconds = time.monotonic() - started
    assert "Traceback" not in plane.said()
    assert "was never" not in plane.said()
    return seconds


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_fifty_streams_are_ended_and_readiness_goes_first(plane: ControlPlane, number: signal.Signals) -> None:
    with ExitStack() as stack:
        streams: list[RawStream] = []
        for count in range(STREAMS):
            node = node_of(Workload(f"client-{count}", 40, account="client"))
            streams.append(stack.enter_context(DeltaStream(plane.xds, node) if count % 2 else SotwStream(plane.xds, node)))
            streams[-1].ask(CDS)
        for stream in streams:
            stream.acknowledge(stream.response())
        assert sum(plane.metrics("steersman_connections").values()) == STREAMS
        watch = Watch(plane)
        eventually(lambda: watch.seen == [200])
        idle = plane.connection()
        idle.request("GET", "/ready")
        idle.getresponse().read()
        seconds = end(plane, number)
        watch.end()
        idle.close()
        assert watch.seen == [200, 503, 0]
        for stream in streams:
            code, text = stream.ended()
            assert (code, text) == (grpc.StatusCode.UNAVAILABLE, "the server is going away; connect again")
    assert "draining" in plane.said()
    assert plane.said().splitlines()[-1].endswith("ended")
    assert seconds < DRAINED


@pytest.mark.parametrize("kind", [DeltaStream, SotwStream])
def test_a_client_that_never_reads_does_not_hold_it_up(plane: ControlPlane, kind: type[RawStream]) -> None:
    ports = {f"http-{number}": (20000 + number, 8080) for number in range(10)}
    plane.clusters["east"].put("many.json", *(service(f"many-{number}", ports) for number in range(100)))
    eventually(lambda: plane.metrics("steersman_services")[""] > 100)
    with kind(plane.xds, node_of(EAST.client), NARROW) as stream:
        stream.ask(CDS)
        stream.ask(LDS)
        eventually(lambda: plane.metrics("steersman_pushed_bytes_total").get('{type="cds"}', 0) > 10 * WINDOW)
        # A change is pending as well, which can't be told.
        plane.clusters["east"].put("more.yaml", *extra("more", 251))
        end(plane, signal.SIGTERM)


def test_streams_in_mid_opening_and_questions_do_not_hold_it_up(plane: ControlPlane) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(DeltaStream(plane.xds, node_of(EAST.client))) for _ in range(3)]
        waiting = stack.enter_context(DeltaStream(plane.xds, node_of(EAST.client)))
        waiting.take(SDS, "default")
        waiting.ask(EDS, "outbound|9080||web.demo.svc.cluster.local")
        end(plane, signal.SIGTERM)
        for stream in (*silent, waiting):
            assert stream.ended()[0] is grpc.StatusCode.UNAVAILABLE


def test_a_second_signal_changes_nothing(plane: ControlPlane) -> None:
    with DeltaStream(plane.xds, node_of(EAST.client)) as stream:
        stream.take(CDS)
        plane.signal(signal.SIGINT)
        end(plane, signal.SIGTERM)
        assert stream.ended()[0] is grpc.StatusCode.UNAVAILABLE
