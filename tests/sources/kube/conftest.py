from collections.abc import Iterator

import pytest

from tests.support.apiserver.double import Double


@pytest.fixture
def double() -> Iterator[Double]:
    with Double() as running:
        yield running
