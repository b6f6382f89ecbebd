"""The services of one type each, over a real socket: what goes for the aggregated one goes for them, but that there is no other type."""

from typing import Any

import grpc
import msgspec
import pytest

from steersman.ads.messages import Variant
from steersman.model.limits import PATIENCE
from steersman.names import CDS, EDS, LDS, SDS, TYPE_NAMES
from steersman.server import transport
from steersman.server.services import ADS, SERVICES, Service
from tests.support.clients import client, names_of
from tests.support.static import static_server, until
from tests.support.xds import Mesh

BOTH = pytest.mark.parametrize("variant", list(Variant))
ALONE = [service for service in SERVICES if service is not ADS]
EACH = pytest.mark.parametrize("service", ALONE, ids=lambda service: service.short)
BY_SHORT = {service.short: service for service in SERVICES}


def test_there_is_a_service_for_every_type() -> None:
    assert {service.type_url: service.short for service in ALONE} == TYPE_NAMES


@EACH
@BOTH
async def test_a_service_serves_its_type_named_or_not(service: Service, variant: Variant) -> None:
    mesh = Mesh()
    for type_url in TYPE_NAMES:
        mesh.only(type_url, "a", "b")
    async with static_server(mesh) as server, client(server, variant, service=service) as one:
        await one.asks("", "a")
        response = await one.gets()
        assert (response.type_url, names_of(response)) == (service.type_url, ["a"])
        await one.acks(response, "a")
        await one.asks(service.type_url, *(("b",) if variant is Variant.DELTA else ("a", "b")), nonce=response.nonce)
        response = await one.gets()
        assert set(names_of(response)) == ({"a", "b"} if service.short in ("cds", "lds") and variant is Variant.SOTW else {"b"})
        await one.acks(response, "a", "b")
        mesh.put(service.type_url, "a=2")
        assert "a" in names_of(await one.gets())
        [place] = server.places
        assert place.holds == {service.type_url: frozenset({"a", "b"})}
        status = place.connection.status()
        assert (status.service, [channel.type_url for channel in status.channels]) == (service.short, [service.type_url])


@EACH
@BOTH
async def test_another_type_is_refused_in_words_and_costs_no_other_stream(service: Service, variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(service.type_url, "a")
    other = EDS if service.type_url != EDS else CDS
    async with (
        static_server(mesh) as server,
        client(server, variant, service=service) as one,
        client(server, variant, service=service) as two,
    ):
        await two.asks("", "a")
        await two.gets()
        await one.asks(other)
        code, text = await one.status()
        assert code == "INVALID_ARGUMENT"
        assert f"'{other}'" in text
        assert service.type_url in text
        mesh.put(service.type_url, "a=2")
        await until(lambda: server.counters.closed == {"INVALID_ARGUMENT": 1})
        [place] = server.places
        assert place.connection.status().service == service.short


@EACH
async def test_a_unary_fetch_says_what_to_do_instead(service: Service) -> None:
    async with static_server(Mesh()) as server, grpc.aio.insecure_channel(server.address) as channel:
        fetch: Any = channel.unary_unary(f"/{service.name}/Fetch{service.noun}")
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await fetch(b"")
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert f"Stream{service.noun} or Delta{service.noun}" in (failed.value.details() or "")


async def test_what_vanished_while_a_proxy_was_away_waits_for_no_type_that_is_on_another_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an aggregated stream a reconnecting client is given time to ask for listeners and routes first: here, a minute."""
    monkeypatch.setattr(transport, "PATIENCE", msgspec.structs.replace(PATIENCE, reopening=60.0))
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh) as server, client(server, Variant.DELTA, service=BY_SHORT["cds"]) as one:
        await one.asks("", holding={"a": mesh.tables[CDS].content()[0].version, "gone": "1"})
        assert list((await one.gets()).removed_resources) == ["gone"]


@BOTH
async def test_a_change_of_another_type_does_not_even_wake_the_stream(variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = Mesh()
    mesh.only(LDS, "a")
    async with static_server(mesh) as server, client(server, variant, service=BY_SHORT["lds"]) as one:
        await one.asks("")
        await one.acks(await one.gets())
        [place] = server.places
        await until(lambda: place.connection.status().channels[0].acked is not None)
        told: list[str] = []
        monkeypatch.setattr(place.connection._stream, "changed", lambda type_url, changes: told.append(type_url))
        mesh.wave(cds="x", eds="x", rds="x", sds="x")
        place.connection.retabled(CDS, mesh.tables[CDS])
        mesh.put(LDS, "a=2")
        assert told == [LDS]


@BOTH
async def test_secrets_are_refused_by_name_where_others_may_listen(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(SDS, "key")
    async with static_server(mesh, host="0.0.0.0") as server, client(server, variant, service=BY_SHORT["sds"]) as one:
        await one.asks("", "key")
        response = await one.gets()
        assert list(response.resources) == []
        [error] = response.resource_errors
        assert (error.resource_name.name, error.error_detail.code) == ("key", grpc.StatusCode.PERMISSION_DENIED.value[0])
        assert "insecureSecrets" in error.error_detail.message
        mesh.put(SDS, "key=2")
        await one.acks(response, "key")
        await until(lambda: server.places[0].connection.status().channels[0].acked is not None)
        assert server.counters.pushes == {"sds": 1}
