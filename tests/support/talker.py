"""A client in a process of its own, so that it can be stopped or killed: `python -m tests.support.talker ADDRESS VARIANT`.

It subscribes to all clusters, acknowledges every response, and prints a line for each.
"""

import queue
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from envoy.service.discovery.v3.ads_pb2_grpc import AggregatedDiscoveryServiceStub
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest

from steersman.ads.messages import Variant
from steersman.names import CDS

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def talker(address: str, variant: Variant) -> Iterator["subprocess.Popen[bytes]"]:
    """Running, from before its first word on; ended somehow at the end."""
    process = subprocess.Popen([sys.executable, "-m", "tests.support.talker", address, variant], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def main(address: str, variant: Variant) -> None:
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with grpc.insecure_channel(address) as channel:
        stub: Any = AggregatedDiscoveryServiceStub(channel)
        if variant is Variant.DELTA:
            first: Any = DeltaDiscoveryRequest(type_url=CDS)
            responses = stub.DeltaAggregatedResources(iter(requests.get, None))
        else:
            first = DiscoveryRequest(type_url=CDS)
            responses = stub.StreamAggregatedResources(iter(requests.get, None))
        first.node.id = "talker"
        requests.put(first)
        for response in responses:
            print(len(response.resources), flush=True)
            answer = type(first)(type_url=CDS, response_nonce=response.nonce)
            requests.put(answer)


if __name__ == "__main__":
    main(sys.argv[1], Variant(sys.argv[2]))
