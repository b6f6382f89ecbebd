"""Gateways' hostnames, resolved against a real DNS server on loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import cast

import dns.asyncresolver
import dns.flags
import dns.message
import dns.nameserver
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from steersman.model.facts import Resolved, Severity
from steersman.model.objects import Kind
from steersman.sources.dns import Resolver, system_resolver
from tests.sources.listening import Listener, polled, running

GW = "gw.example.com"


class NameServer(asyncio.DatagramProtocol):
    """Answers from `zone`, by (name, type): addresses, or an rcode; (name, "CNAME") has an alias's target. Silent for `silent`
    names. `times`: when it was asked for an A, by the loop's clock."""

    def __init__(self) -> None:
        self.zone: dict[tuple[str, str], list[str] | dns.rcode.Rcode] = {}
        self.ttl = 300
        self.silent: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.times: list[float] = []
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if kind == "A":
            self.times.append(asyncio.get_running_loop().time())
        if name in self.silent:
            return
        response = dns.message.make_response(query)
        alias = self.zone.get((name, "CNAME"))
        if isinstance(alias, list):
            response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", "CNAME", f"{alias[0]}."))
            name = alias[0]
        found = self.zone.get((name, kind), [])
        if isinstance(found, list):
            if found:
                response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", kind, *found))
        else:
            response.set_rcode(found)
        assert self._transport is not None
        self._transport.sendto(response.to_wire(), addr)

    def resolver(self) -> dns.asyncresolver.Resolver:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = [dns.nameserver.Do53Nameserver("127.0.0.1", self.port)]
        resolver.lifetime = resolver.timeout = 0.3
        return resolver

    def forms(self, *, shortest: float = 0.1, longest: float = 3600.0, retry: float = 0.05) -> Resolver:
        """A source that asks this server."""
        return Resolver(self.resolver, shortest=shortest, longest=longest, retry=retry, clock=lambda: 7.0)


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    server = NameServer()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0))
    yield server
    transport.close()


@asynccontextmanager
async def asking(resolver: Resolver, *names: str) -> AsyncIterator[Listener]:
    resolver.want(frozenset(names))
    async with running(resolver.run) as listener:
        yield listener


def addresses(listener: Listener, name: str = GW) -> tuple[str, ...] | None:
    value = listener.values.get((Kind.RESOLVED, name))
    assert value is None or isinstance(value, Resolved)
    return value.addresses if value else None


async def test_both_families_are_asked_for_and_told_as_one_answer(server: NameServer) -> None:
    server.zone = {(GW, "A"): ["192.0.2.9", "192.0.2.10"], (GW, "AAAA"): ["2001:DB8:0::1"]}
    async with asking(server.forms(shortest=30), GW) as listener:
        await listener.until(lambda: addresses(listener))
        assert addresses(listener) == ("192.0.2.10", "192.0.2.9", "2001:db8::1")
        assert sorted(server.asked) == [(GW, "A"), (GW, "AAAA")]
        assert (listener.origins[Kind.RESOLVED, GW].source, listener.origins[Kind.RESOLVED, GW].seen) == ("dns", 7.0)
        assert len(listener.batches) == 1


async def test_an_alias_is_followed_within_the_answer(server: NameServer) -> None:
    server.zone = {(GW, "CNAME"): ["lb.example.net"], ("lb.example.net", "A"): ["192.0.2.1"]}
    async with asking(server.forms(), GW) as listener:
        await listener.until(lambda: addresses(listener) == ("192.0.2.1",))


async def test_an_answer_counts_for_its_ttl_within_bounds(server: NameServer) -> None:
    server.zone = {(GW, "A"): ["192.0.2.1"], (GW, "AAAA"): ["2001:db8::1"]}
    for ttl, bounds in ((0, {"shortest": 0.2}), (86400, {"longest": 0.2})):
        server.ttl, server.times = ttl, []
        async with asking(server.forms(**bounds), GW):
            await polled(lambda: len(server.times) >= 3)
        assert min(later - sooner for sooner, later in pairwise(server.times)) >= 0.2
    server.ttl, server.times = 1, []
    async with asking(server.forms(), GW) as listener:
        await listener.until(lambda: addresses(listener) == ("192.0.2.1", "2001:db8::1"))
        server.zone[GW, "A"] = ["192.0.2.2"]
        await listener.until(lambda: addresses(listener) == ("192.0.2.2", "2001:db8::1"))
        assert server.times[1] - server.times[0] >= 1


async def test_an_answer_that_stays_the_same_is_not_told_again(server: NameServer) -> None:
    server.zone = {(GW, "A"): ["192.0.2.1", "192.0.2.2"]}
    server.ttl = 0
    async with asking(server.forms(), GW) as listener:
        await listener.until(lambda: addresses(listener))
        server.zone = {(GW, "A"): ["192.0.2.2", "192.0.2.1"]}
        assert await listener.quiet(0.4) == []
        assert len(server.asked) > 4


@pytest.mark.parametrize("failure", ["SERVFAIL", "REFUSED", "NXDOMAIN", "silent"])
async def test_a_failure_keeps_the_last_answer_and_is_told_until_it_is_over(server: NameServer, failure: str) -> None:
    server.zone = {(GW, "A"): ["192.0.2.1"]}
    server.ttl = 0
    async with asking(server.forms(), GW) as listener:
        await listener.until(lambda: addresses(listener))
        if failure == "silent":
            server.silent = {GW}
        else:
            server.zone = {(GW, kind): dns.rcode.from_text(failure) for kind in ("A", "AAAA")}
        await listener.until(listener.findings)
        (found,) = listener.findings()
        assert (found.id, found.severity, found.object) == ("hostname-unresolved", Severity.WARNING, f"hostname {GW}")
        assert "the last answer is kept (192.0.2.1)" in found.cause
        assert await listener.quiet(0.8) == []
        assert addresses(listener) == ("192.0.2.1",)
        server.silent, server.zone = set(), {(GW, "A"): ["192.0.2.2"]}
        await listener.until(lambda: addresses(listener) == ("192.0.2.2",))
        assert listener.findings() == []


async def test_a_family_that_fails_keeps_its_own_last_answer(server: NameServer) -> None:
    server.zone = {(GW, "A"): ["192.0.2.1"], (GW, "AAAA"): ["2001:db8::1"]}
    server.ttl = 0
    async with asking(server.forms(), GW) as listener:
        await listener.until(lambda: addresses(listener))
        server.zone = {(GW, "A"): ["192.0.2.2"], (GW, "AAAA"): dns.rcode.SERVFAIL}
        await listener.until(lambda: addresses(listener) == ("192.0.2.2", "2001:db8::1"))
        assert listener.findings()[0].cause.startswith(f"the gateway's hostname {GW} can't be resolved: AAAA: ")


async def test_a_name_that_never_had_an_answer_is_an_error_and_no_answer(server: NameServer) -> None:
    server.zone = {(GW, kind): dns.rcode.NXDOMAIN for kind in ("A", "AAAA")}
    async with asking(server.forms(), GW) as listener:
        await listener.until(listener.findings)
        (found,) = listener.findings()
        assert found.severity is Severity.ERROR
        assert found.cause.endswith("A: the name does not exist; AAAA: the name does not exist; the gateway has no address")
        assert addresses(listener) is None


async def test_failures_are_retried_ever_less_often(server: NameServer) -> None:
    server.zone = {(GW, kind): dns.rcode.NXDOMAIN for kind in ("A", "AAAA")}
    async with asking(server.forms(retry=0.1, shortest=30), GW):
        await asyncio.sleep(1.2)
        assert server.asked.count((GW, "A")) == 4  # at 0, 0.1, 0.3 and 0.7 s


async def test_an_empty_answer_removes_the_addresses(server: NameServer) -> None:
    server.zone = {(GW, "A"): ["192.0.2.1"]}
    server.ttl = 0
    async with asking(server.forms(), GW) as listener:
        await listener.until(lambda: addresses(listener))
        server.zone = {}
        await listener.until(lambda: addresses(listener) == ())
        assert listener.findings() == []


async def test_only_wanted_names_are_asked_for(server: NameServer) -> None:
    other = "other.example.com"
    server.zone = {(GW, "A"): ["192.0.2.1"], (other, "A"): ["192.0.2.2"]}
    server.ttl = 0
    resolver = server.forms()
    async with asking(resolver, GW) as listener:
        await listener.until(lambda: addresses(listener))
        resolver.want(frozenset({GW, other}))
        await listener.until(lambda: addresses(listener, other) == ("192.0.2.2",))
        resolver.want(frozenset({other}))
        await listener.until(lambda: addresses(listener) is None)
        server.asked = []
        await asyncio.sleep(0.4)
        assert {name for name, _ in server.asked} == {other}
        server.zone = {}
        server.silent = {other}
        await listener.until(listener.findings)
        resolver.want(frozenset())
        await listener.until(lambda: not listener.values)
        resolver.want(frozenset({GW}))
        server.zone = {(GW, "A"): ["192.0.2.3"]}
        await listener.until(lambda: addresses(listener) == ("192.0.2.3",))


async def test_a_run_after_a_run_goes_on_from_what_was_told(server: NameServer) -> None:
    server.zone = {(GW, "A"): ["192.0.2.1"]}
    resolver = server.forms()
    async with asking(resolver, GW) as listener:
        await listener.until(lambda: addresses(listener))
    server.zone = {(GW, "A"): ["192.0.2.2"]}
    resolver.want(frozenset())
    async with running(resolver.run) as again:
        again.values, again.origins = listener.values, listener.origins
        await again.until(lambda: not again.values)


async def test_a_name_that_is_none_and_a_system_without_name_servers_are_findings(server: NameServer) -> None:
    async with asking(server.forms(), "a..b", "x" * 64 + ".com") as listener:
        await listener.until(lambda: len(listener.findings()) == 2)

    def unconfigured() -> dns.asyncresolver.Resolver:
        return dns.asyncresolver.Resolver(filename="/nonexistent/resolv.conf")

    async with asking(Resolver(unconfigured), GW) as listener:
        await listener.until(listener.findings)


async def test_a_name_of_the_hosts_file_is_not_asked_of_dns_and_follows_the_file(server: NameServer, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(f"# 192.0.2.1 {GW}\n192.0.2.2\tother {GW.upper()} # ours\n::ffff:192.0.2.3 {GW}\n2001:DB8::1 {GW}\nnonsense {GW}\n")
    server.zone = {(GW, "A"): ["192.0.2.9"], ("dns.example.com", "A"): ["192.0.2.8"]}
    async with asking(Resolver(server.resolver, hosts=hosts, shortest=0.05), GW, "dns.example.com") as listener:
        await listener.until(lambda: addresses(listener) == ("192.0.2.2", "192.0.2.3", "2001:db8::1"))
        await listener.until(lambda: addresses(listener, "dns.example.com") == ("192.0.2.8",))
        assert not {name for name, _ in server.asked} - {"dns.example.com"}
        hosts.write_text(f"192.0.2.4 {GW}\n")
        await listener.until(lambda: addresses(listener) == ("192.0.2.4",))
        hosts.unlink()
        await listener.until(lambda: addresses(listener) == ("192.0.2.9",))


def test_the_system_is_asked_by_its_own_configuration() -> None:
    try:
        assert system_resolver().nameservers
    except dns.resolver.NoResolverConfiguration:
        pytest.skip("this machine has no resolv.conf")
