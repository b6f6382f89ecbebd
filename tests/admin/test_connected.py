"""Proxies, one each, whatever streams they have."""

from steersman.admin import answers
from steersman.admin import inspect_pb2 as pb
from steersman.admin.connected import one_each
from steersman.ads.messages import Variant
from steersman.names import CDS, EDS, LDS, SDS
from tests.admin.conftest import CLIENT, SECOND, Site
from tests.support.state import FakeState, channel, connection, refused


async def told(state: FakeState) -> list[pb.Proxy]:
    """The real server sorts by id, then by stream."""
    state.connected.sort(key=lambda one: (one.proxy.id, one.id))
    return list(one_each((await answers.proxies(state, "")).proxies))


async def test_the_types_of_all_streams_are_the_proxys(state: FakeState) -> None:
    state.connected[:] = [
        connection(SECOND, number=9),
        connection(CLIENT, channel(SDS, names=2), number=3, service="sds"),
        connection(CLIENT, channel(LDS), number=2, service="lds", variant=Variant.SOTW),
        connection(CLIENT, channel(CDS), number=1, service="cds"),
    ]
    one, two = await told(state)
    assert (one.id, two.id) == (CLIENT.id, SECOND.id)
    assert [status.type for status in one.types] == ["cds", "lds", "sds"]
    assert (one.stream, one.protocol, one.service) == ("3", "delta, sotw", "sds, lds, cds")
    assert two.stream == "9"


async def test_of_one_type_on_several_streams_the_one_that_is_worst_off_counts(state: FakeState) -> None:
    state.connected[:] = [
        connection(CLIENT, channel(EDS, names=1), number=1, service="eds"),
        connection(CLIENT, refused(EDS, "no", "b"), number=2, service="eds"),
        connection(CLIENT, channel(EDS, acked=False, names=1), number=3, service="eds"),
    ]
    [one] = await told(state)
    [status] = one.types
    assert status.sync == pb.TypeStatus.ERROR
    assert status.rejection.message == "no"


async def test_the_page_counts_proxies(site: Site, state: FakeState) -> None:
    state.connected[:] = [connection(CLIENT, channel(kind), number=number, service="x") for number, kind in enumerate((CDS, LDS))]
    text = (await site.get("/debug/")).text
    assert "Proxies (1)" in text
    assert "cds SYNCED, lds SYNCED" in text
