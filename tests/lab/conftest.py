"""What the lab's tests share."""

import asyncio

import pytest

from steersman.lab import namespaces
from steersman.lab.run import new_id, prefix_of


@pytest.fixture(scope="session")
def namespaces_possible() -> str | None:
    """What keeps this machine from having network namespaces; None if nothing does."""
    return asyncio.run(namespaces.why_not(prefix_of(new_id())))
