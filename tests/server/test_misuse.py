"""Requests that break the protocol or a limit, over real sockets, cost their own stream. The numbers are those of docs/conformance.md."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from steersman.ads.messages import Variant
from steersman.names import CDS, EDS
from tests.support.clients import Client, client, names_of
from tests.support.static import static_server, until
from tests.support.xds import Mesh

BOTH = pytest.mark.parametrize("variant", list(Variant))


@asynccontextmanager
async def two(variant: Variant) -> AsyncIterator[Client]:
    """The one that misbehaves, beside another that must not notice: it gets what changes at the end."""
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh) as server, client(server, variant) as one, client(server, variant) as other:
        await other.asks(CDS)
        response = await other.gets()
        await other.acks(response)
        await one.asks(CDS)
        await one.gets()
        yield one
        await until(lambda: len(server.places) == 1)
        mesh.put(CDS, "b")
        assert "b" in names_of(await other.gets())
        assert server.counters.internal_errors == 0


CASES: dict[str, tuple[Callable[[Client], Awaitable[None]], str, str]] = {
    "c43_no_type": (lambda one: one.asks(""), "INVALID_ARGUMENT", "the request has no type_url, which an aggregated stream needs; set it"),
    "c47_a_long_name": (
        lambda one: one.asks(EDS, "x" * 3_000_000),
        "INVALID_ARGUMENT",
        "a resource name of 3000000 characters in a request for eds, 4096 are allowed (server.xds.limits.nameLength)",
    ),
    "c47_many_names": (
        lambda one: one.asks(EDS, *(str(number) for number in range(100_000))),
        "RESOURCE_EXHAUSTED",
        "100000 names of eds subscribed, 65536 are allowed (server.xds.limits.names)",
    ),
}


@BOTH
@pytest.mark.parametrize("case", CASES)
async def test_c43_c47_what_is_not_allowed_ends_its_stream_in_words_and_no_other(case: str, variant: Variant) -> None:
    misbehaves, code, text = CASES[case]
    async with two(variant) as one:
        await misbehaves(one)
        assert await one.status() == (code, text)


@BOTH
async def test_c44_unknown_types_are_taken_up_to_a_number(variant: Variant) -> None:
    async with two(variant) as one:
        for number in range(32):
            await one.asks(f"type.googleapis.com/unknown.{number}", "x")
        if variant is Variant.DELTA:
            for _ in range(31):
                assert list((await one.gets()).removed_resources) == ["x"]
        text = "the stream asks for more than 32 types of resource (server.xds.limits.types)"
        assert await one.status() == ("RESOURCE_EXHAUSTED", text)
