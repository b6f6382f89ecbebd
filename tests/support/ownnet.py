"""A network of this test's own, whose addresses are like those of pods: the API server takes none of loopback for an endpoint."""

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from steersman.lab.netns import inside
from tests.support.live import Workload

PODS = "10.70.0.0/16"
_numbers = itertools.count(1)


class Placed(Workload):
    """A pod with addresses of that network."""

    __slots__ = ()

    @property
    def ip(self) -> str:
        return f"10.70.1.{self.number + 1}"

    @property
    def outbound(self) -> str:
        return f"10.70.2.{self.number + 1}"

    @property
    def app(self) -> str:
        return f"10.70.3.{self.number + 1}"


@contextmanager
def own_network() -> Iterator[None]:
    """This thread, and all threads and processes that it starts meanwhile, are in a network namespace where all of PODS is local. Skips the
    test where there can be none."""
    name = f"steersman-test-{os.getpid()}-{next(_numbers)}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"network namespaces: {made.stderr.strip()}")
    try:
        with inside(name):
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            subprocess.run(["ip", "route", "add", "local", PODS, "dev", "lo"], check=True)
            yield
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
