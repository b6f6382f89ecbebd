"""API servers: the double, a new one for each test, and the real one, one for all tests of a process."""

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.support.apiserver.client import Client
from tests.support.apiserver.double import Double
from tests.support.apiserver.real import Real

_numbers = itertools.count(1)


@pytest.fixture
def double() -> Iterator[Double]:
    with Double() as running:
        yield running


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    with Real(tmp_path_factory.mktemp("real")) as running:
        yield running


@pytest.fixture(params=["double", pytest.param("real", marks=pytest.mark.kube)])
def cluster(request: pytest.FixtureRequest) -> Any:
    """What holds of both."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def namespace() -> str:
    """Of this test alone."""
    return f"test-{next(_numbers)}"


@pytest.fixture
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """Of the test's `cluster`, or of its `double`."""
    name = "cluster" if "cluster" in request.fixturenames else "double"
    async with Client(request.getfixturevalue(name)) as one:
        yield one
