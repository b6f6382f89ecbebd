"""The stand-ins: they say who they are, who called them, and what those they called said."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from steersman.lab.apps import client_of
from steersman.lab.fetch import connects, fetch
from steersman.lab.process import Process

PRODUCTPAGE = "spiffe://cluster.local/ns/default/sa/bookinfo-productpage"


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (f'By=spiffe://cluster.local/ns/default/sa/x;Hash=0123;Subject="";URI={PRODUCTPAGE}', PRODUCTPAGE),
        (f"URI={PRODUCTPAGE}", PRODUCTPAGE),
        (f'Hash=1;URI="{PRODUCTPAGE}";DNS=a', PRODUCTPAGE),
        (f"URI=spiffe://elsewhere/ns/a/sa/b,By=x;URI={PRODUCTPAGE}", PRODUCTPAGE),
        ("By=spiffe://cluster.local/ns/default/sa/x;Hash=0123", None),
        ("", None),
    ],
)
def test_the_caller_is_whom_the_nearest_sidecar_says(header: str, client: str | None) -> None:
    assert client_of({"x-forwarded-client-cert": header}) == client


def test_a_caller_in_plain_text_is_nobody() -> None:
    assert client_of({}) is None


@asynccontextmanager
async def app(log: Path, name: str, address: str, version: str = "v1", **env: str) -> AsyncIterator[None]:
    argv = [sys.executable, "-m", "steersman.lab.apps", name, "--version", version, "--address", address, "--port", "9080"]
    child = Process(name, argv, log=log, env={**os.environ, **env}, changed=lambda _: None)
    await child.start()
    try:
        for _ in range(200):
            if await connects(address, 9080):
                break
            assert child.running, child.said()
            await asyncio.sleep(0.05)
        yield
    finally:
        await child.stop()


async def test_reviews_answers_with_what_ratings_said_and_stands_without_it(tmp_path: Path) -> None:
    me = {"POD_NAME": "reviews-v2-x", "CLUSTER_ID": "east", "ZONE": "east-a", "OUTBOUND_ADDRESS": "127.254.9.2"}
    async with app(tmp_path / "reviews", "reviews", "127.254.9.1", "v2", **me):
        async with app(tmp_path / "ratings", "ratings", "127.254.9.2"):
            whole = (await fetch("http://127.254.9.1:9080/reviews/0", headers={"x-forwarded-client-cert": f"URI={PRODUCTPAGE}"})).json()
        broken = (await fetch("http://127.254.9.1:9080/reviews/0")).json()

    assert isinstance(whole, dict)
    assert isinstance(broken, dict)
    told = {key: whole[key] for key in ("service", "version", "pod", "cluster", "zone", "client", "color")}
    assert told == {
        "service": "reviews",
        "version": "v2",
        "pod": "reviews-v2-x",
        "cluster": "east",
        "zone": "east-a",
        "client": PRODUCTPAGE,
        "color": "black",
    }
    assert whole["calls"]["ratings"]["service"] == "ratings"
    assert whole["calls"]["ratings"]["stars"]
    assert "ClientConnectorError" in broken["calls"]["ratings"]["error"]
    assert broken["client"] is None


async def test_reviews_v1_asks_nobody(tmp_path: Path) -> None:
    async with app(tmp_path / "reviews", "reviews", "127.254.9.3"):
        answer = (await fetch("http://127.254.9.3:9080/")).json()

    assert isinstance(answer, dict)
    assert "calls" not in answer
