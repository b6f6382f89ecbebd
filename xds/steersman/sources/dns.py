"""Hostnames of network gateways, resolved: each name that is wanted is asked for again when its answer runs out.

Proxies get addresses, not names: which addresses a gateway has decides weights and families, and clients may not share our DNS.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import dns.asyncresolver
import dns.exception
import dns.resolver

from steersman.model.facts import Delete, Fact, Finding, FindingKey, Origin, Resolved, Severity, Upsert
from steersman.model.ids import canonical_ip
from steersman.model.objects import Kind

Emit = Callable[[Sequence[Fact]], None]

_SOURCE = "dns"
_TYPES = ("A", "AAAA")


def system_resolver() -> dns.asyncresolver.Resolver:
    """As /etc/resolv.conf says now: it is read each time, so that a change of it counts from the next question on."""
    return dns.asyncresolver.Resolver()


def in_hosts(file: Path, name: str) -> tuple[str, ...]:
    """The canonical addresses that a hosts file gives a name, in its order; none where it can't be read."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    found: list[str] = []
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if name.lower() in (known.lower() for known in names):
            canonical = canonical_ip(address)
            if canonical is not None and canonical not in found:
                found.append(canonical)
    return tuple(found)


class _Answer(NamedTuple):
    """`addresses`: canonical. `ttl`: seconds."""

    addresses: tuple[str, ...]
    ttl: float


class _Name:
    """What is known of a hostname. `answers`: the last one of each type that came; `told` and `finding`: what stands as facts."""

    __slots__ = ("answers", "failures", "finding", "told")

    def __init__(self) -> None:
        self.answers: dict[str, _Answer] = {}
        self.failures = 0
        self.told: Resolved | None = None
        self.finding: Finding | None = None


class Resolver:
    """The source "dns". It has no Synced: a gateway whose name is not resolved yet has no addresses yet.

    An answer counts for its TTL, but never less than `shortest` nor more than `longest` seconds. After a failure the last answer stays, and
    the name is asked for again after `retry` seconds, doubled each time up to `shortest`. An empty answer is an answer: there are no
    addresses. That the name does not exist is a failure, as in Istio: nobody's gateway is meant to vanish by a mistake in a zone.

    A name that `hosts` gives an address is not asked of DNS, as everywhere on the machine; the file is read again after `shortest` seconds.
    """

    def __init__(
        self,
        resolver: Callable[[], dns.asyncresolver.Resolver] = system_resolver,
        *,
        hosts: Path = Path("/etc/hosts"),
        shortest: float = 30.0,
        longest: float = 3600.0,
        retry: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._resolver = resolver
        self._hosts = hosts
        self._shortest = shortest
        self._longest = longest
        self._retry = retry
        self._clock = clock
        self._wanted: frozenset[str] = frozenset()
        self._names: dict[str, _Name] = {}
        self._changed = asyncio.Event()

    def want(self, names: frozenset[str]) -> None:
        """All the hostnames wanted from now on."""
        self._wanted = names
        self._changed.set()

    async def run(self, emit: Emit) -> None:
        """Emits answers for ever. Run again after it was cancelled, it goes on from what it had told."""
        running: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                for name in self._names.keys() - self._wanted:
                    if name in running:
                        running.pop(name).cancel()
                    self._forget(name, emit)
                for name in sorted(self._wanted - running.keys()):
                    running[name] = tasks.create_task(self._follow(name, emit), name=f"dns {name}")
                await self._changed.wait()

    def _forget(self, name: str, emit: Emit) -> None:
        known = self._names.pop(name)
        facts: list[Fact] = []
        if known.told is not None:
            facts.append(Delete(kind=Kind.RESOLVED, key=name))
        if known.finding is not None:
            facts.append(Delete(kind=Kind.FINDING, key=_key(name)))
        if facts:
            emit(facts)

    async def _follow(self, name: str, emit: Emit) -> None:
        known = self._names.setdefault(name, _Name())
        while True:
            results = await asyncio.gather(*(self._ask(name, rdtype) for rdtype in _TYPES))
            failed = []
            for rdtype, result in zip(_TYPES, results, strict=True):
                if isinstance(result, _Answer):
                    known.answers[rdtype] = result
                else:
                    failed.append(f"{rdtype}: {result}")
            known.failures = known.failures + 1 if failed else 0
            self._tell(name, known, failed, emit)
            if failed:
                await asyncio.sleep(min(self._retry * 2 ** min(known.failures - 1, 30), self._shortest))
            else:
                await asyncio.sleep(min(max(min(answer.ttl for answer in known.answers.values()), self._shortest), self._longest))

    async def _ask(self, name: str, rdtype: str) -> _Answer | str:
        """The answer, or why there is none."""
        listed = in_hosts(self._hosts, name)
        if listed:
            return _Answer(tuple(address for address in listed if (":" in address) == (rdtype == "AAAA")), 0.0)
        try:
            answer = await self._resolver().resolve(name, rdtype, search=False, raise_on_no_answer=False)
        except (dns.exception.DNSException, OSError) as error:
            return _why(error)
        found = (canonical_ip(record.address) for record in answer.rrset or ())
        return _Answer(tuple(address for address in found if address is not None), answer.chaining_result.minimum_ttl)

    def _tell(self, name: str, known: _Name, failed: list[str], emit: Emit) -> None:
        seen = self._clock()
        facts: list[Fact] = []
        if known.answers:
            addresses = {address for answer in known.answers.values() for address in answer.addresses}
            resolved = Resolved(addresses=tuple(sorted(addresses)))
            if resolved != known.told:
                known.told = resolved
                facts.append(Upsert(kind=Kind.RESOLVED, key=name, value=resolved, origin=Origin(source=_SOURCE, place=name, seen=seen)))
        finding = _unresolved(name, known.told, failed) if failed else None
        if finding != known.finding:
            known.finding = finding
            if finding is None:
                facts.append(Delete(kind=Kind.FINDING, key=_key(name)))
            else:
                facts.append(Upsert(kind=Kind.FINDING, key=_key(name), value=finding, origin=Origin(source=_SOURCE, place=name, seen=seen)))
        if facts:
            emit(facts)


def _why(error: Exception) -> str:
    """In words that stay the same from try to try: a finding that changes is told again."""
    match error:
        case dns.resolver.NXDOMAIN():
            return "the name does not exist"
        case dns.exception.Timeout():
            return "no name server answers in time"
        case _:
            return " ".join(str(error).split()) or type(error).__name__


def _key(name: str) -> FindingKey:
    return FindingKey(_SOURCE, "", "hostname-unresolved", f"hostname {name}")


def _unresolved(name: str, kept: Resolved | None, failed: list[str]) -> Finding:
    key = _key(name)
    has_some = kept is not None and bool(kept.addresses)
    standing = f"the last answer is kept ({', '.join(kept.addresses)})" if kept is not None and has_some else "the gateway has no address"
    return Finding(
        id=key.id,
        severity=Severity.WARNING if has_some else Severity.ERROR,
        object=key.object,
        cause=f"the gateway's hostname {name} can't be resolved: {'; '.join(failed)}; {standing}",
        remedy="correct the name, list it in /etc/hosts, or see to the name servers in /etc/resolv.conf; it is tried again within 30 s",
    )
