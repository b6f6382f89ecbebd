"""What the tests of the certificate authority begin with."""

from pathlib import Path

import pytest

from tests.sources.authority import WEST, A, Clock, Served, server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Not there yet, nor the one above it."""
    return tmp_path / "state" / "ca"


@pytest.fixture
async def made(directory: Path, clock: Clock) -> Served:
    """What a server told that is gone; its directory is there, with leaves for A and WEST."""
    async with server(directory, clock, A, WEST) as served:
        await served.want(A, WEST)
    return served
