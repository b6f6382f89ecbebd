"""The demonstration: a mesh over two networks, traffic that crosses it, what the proxies know, a failover. Whatever it claims, it saw."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

from steersman.errors import ConfigError
from steersman.lab.expectations import Expectations, heading, indented
from steersman.lab.explained import candidates
from steersman.lab.fetch import Reply, fetch
from steersman.lab.isolation import Isolation
from steersman.lab.lab import Lab, running
from steersman.lab.labfile import LabFile, find_lab, read_lab
from steersman.lab.manifests import labels_of, read_manifests
from steersman.lab.pod import Pod
from steersman.lab.remote import Remote
from steersman.lab.report import table
from steersman.lab.traffic import Hop, HostState, Page, outbound_hosts, visit
from steersman.lab.up import until_interrupted
from steersman.model.ids import ClusterID, NetworkID, ServiceKey
from steersman.names import hostname, spiffe_id

_PORT = 9080
_PAGES = 12
"""Pages asked of each side at a time; each takes four calls between apps, or three where reviews v1 answers."""

_SETTLING = 15.0
"""Seconds for a change to reach the proxies. It takes a small part of one."""

_ON_BOTH_SIDES = ("productpage", "reviews")
_ON_ONE_SIDE = ("details", "ratings", "inventory")


def run(named: str | None, *, isolate: bool | None, keep: bool) -> int:
    """Exit 0 only if everything expected was seen, 130 if interrupted."""
    file = read_lab(find_lab(named))
    _check_is_bookinfo(file)

    async def main() -> int:
        began = time.monotonic()
        heading(f"Lab {file.name}: {len(file.clusters)} clusters on {len(file.networks)} networks, joined by their gateways only")
        async with running(file, isolate=isolate, say=indented, keep=keep) as lab, Remote(lab):
            demo = Demo(lab)
            indented(f"All is ready after {time.monotonic() - began:.1f} s")
            await demo.show()
        return demo.expectations.verdict(time.monotonic() - began)

    return until_interrupted(main(), interrupted=130)


class Side(NamedTuple):
    """A cluster, and the productpage in it, whose proxy is asked what it knows."""

    name: str
    network: NetworkID
    client: Pod
    reviews: list[Pod]
    gateways: set[str]

    @property
    def addresses(self) -> set[str]:
        """Of its own reviews."""
        return {f"{pod.placed.address.ip}:{_PORT}" for pod in self.reviews}


class Demo:
    """Bookinfo on two clusters: `home`, which loses its reviews, and `away`, which has the only ratings."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.expectations = Expectations()
        self.gateways = lab.gateways()
        self.home, self.away = map(self._side, lab.clusters)

    async def show(self) -> None:
        await self._knowledge()
        at_home, away = await self._pages(self.home), await self._pages(self.away)
        if self.lab.plan.isolation is Isolation.NAMESPACES:
            self._overlap(at_home, away)
        await self._without_mtls()
        await self._failover()
        await self._recovery()
        await self._updates()

    # -- the acts

    async def _knowledge(self) -> None:
        heading(f"What each side's Envoy knows of reviews:{_PORT}")
        for here, there in ((self.home, self.away), (self.away, self.home)):
            # That a pod is ready has been written, and reaches the proxies in a moment.
            await self._until(here, partial(_is_exact, here, there))
            hosts = await self._hosts(here)
            self._tell_hosts(here, hosts)
            self._expect(
                f"{here.name} knows its own pods by address, and those in {there.name} only as their gateway",
                hosts.keys() == here.addresses | there.gateways,
            )
            exact = _is_exact(here, there, hosts)
            self._expect(f"the gateway weighs as much as the {len(there.reviews)} pods behind it", exact, str(hosts))
            await self._explain(here, there)

    async def _explain(self, here: Side, there: Side) -> None:
        """Steersman's own account has to be what the Envoy was seen to have."""
        wanted = {str(pod.key): frozenset[str]() for pod in here.reviews} | {
            str(pod.key): frozenset(there.gateways) for pod in there.reviews
        }
        found = await candidates(self.lab, here.client, "reviews", _PORT)
        self._expect(
            f"`steersman explain {here.name}/{here.client.key.name} reviews` accounts for all {len(wanted)} pods likewise",
            {one.pod: one.gateways for one in found} == wanted,
            str(found),
        )

    async def _pages(self, side: Side) -> list[Page]:
        heading(f"{_PAGES} requests to productpage in {side.name}, and the calls that they took")
        pages = await self._visit(side)
        self._tell_calls(pages)
        hops = [hop for page in pages for hop in page.hops]
        self._expect(f"{_PAGES} of {_PAGES} pages are whole", all(page.complete for page in pages), _what_is_missing(pages))
        crossing = [hop for hop in hops if hop.by.partition("/")[0] not in ("", hop.caller.cluster)]
        self._expect(
            f"{len(crossing)} of {len(hops)} calls crossed the networks, each through the other side's gateway",
            bool(crossing) and all(self.gateways.get(hop.dialled) == self.lab.file.network_of(hop.answered["cluster"]) for hop in crossing),
        )
        staying = [hop for hop in hops if hop not in crossing]
        self._expect("the others went straight to the pod that answered", all(hop.dialled == self._address_of(hop.by) for hop in staying))
        self._expect(
            "each was answered knowing its caller by its certificate",
            all(hop.answered.get("client") == self._identity(f"{hop.caller.cluster}/{hop.caller.name}") for hop in hops),
            str(sorted({str(hop.answered.get("client")) for hop in hops})),
        )
        return pages

    def _overlap(self, *sides: list[Page]) -> None:
        """One address, two pods: what every side reaches there is its own."""
        reached: dict[str, set[str]] = {}
        for hop in (hop for pages in sides for page in pages for hop in page.hops):
            reached.setdefault(hop.dialled, set()).add(hop.by)
        both = {address: pods for address, pods in reached.items() if len(pods) == 2 and address not in self.gateways}
        said = "; ".join(f"{address} was {' and '.join(sorted(pods))}" for address, pods in sorted(both.items()))
        self._expect(f"one address on two networks is two pods: {said}", bool(both), "no address was used on both sides")

    async def _without_mtls(self) -> None:
        heading(f"inventory in {self.away.name} has no proxy, so it speaks no mTLS: no gateway may lead there")
        inside, outside = await self._call(self.away, "inventory"), await self._call(self.home, "inventory")
        self._expect(f"asked in {self.away.name} it answers ({inside.status})", inside.status == 200, inside.text)
        self._expect(f"asked from {self.home.name} there is none ({outside.status})", outside.status == 503, outside.text)
        found = await candidates(self.lab, self.home.client, "inventory", _PORT)
        why = "; ".join(f"{one.pod} is left out by rule {one.rule}, {one.note}" for one in found)
        self._expect(f"steersman explain: {why}", {one.rule for one in found} == {"not-mtls"})

    async def _failover(self) -> None:
        heading(f"Stopping reviews in {self.home.name}: {', '.join(pod.key.name for pod in self.home.reviews)}")
        await self.lab.stop(f"{self.home.name}/reviews")
        took = await self._until(self.home, lambda hosts: not self.home.addresses & hosts.keys())
        self._expect(f"{self.home.client.key.name} is told {_after(took)} the last of them ended", took is not None)
        self._tell_hosts(self.home, await self._hosts(self.home))
        pages = await self._visit(self.home)
        self._tell_calls(pages)
        self._expect(f"{_PAGES} of {_PAGES} pages are whole", all(page.complete for page in pages), _what_is_missing(pages))
        hops = _reviews(pages)
        self._expect(
            f"every review now comes from {self.away.name}, through its gateway",
            len(hops) == _PAGES and all(self._through_gateway(hop) for hop in hops),
        )

    async def _recovery(self) -> None:
        heading("Starting them again")
        await self.lab.start(f"{self.home.name}/reviews")
        took = await self._until(self.home, lambda hosts: self.home.addresses <= hosts.keys())
        self._expect(f"{self.home.client.key.name} has them back {_after(took)} they were started", took is not None)
        pages = await self._visit(self.home)
        mine = [hop for hop in _reviews(pages) if hop.by.startswith(f"{self.home.name}/")]
        whole = all(page.complete for page in pages)
        self._expect(f"{len(mine)} of {_PAGES} reviews come from {self.home.name} again", bool(mine) and whole, _what_is_missing(pages))

    async def _updates(self) -> None:
        heading("What the Envoys made of it")
        proxies = [pod for pod in self.lab.pods.values() if pod.proxy is not None]
        replies = await asyncio.gather(*(pod.admin("/stats?filter=update_rejected|update_success|warming_clusters") for pod in proxies))
        totals: Counter[str] = Counter()
        for line in (line for reply in replies for line in reply.text.splitlines()):
            name, _, value = line.rpartition(": ")
            totals[name.rpartition(".")[2]] += int(value)
        taken, rejected, warming = (totals[name] for name in ("update_success", "update_rejected", "warming_clusters"))
        self._expect(
            f"{len(proxies)} Envoys took {taken} updates, rejected none and left nothing warming",
            taken > 0 and rejected == warming == 0,
            str(totals),
        )

    # -- what they are made of

    def _expect(self, text: str, holds: bool, instead: str = "") -> None:
        self.expectations.expect(text, holds, instead)

    async def _visit(self, side: Side) -> list[Page]:
        return [await visit(self.lab, side.client, _PORT) for _ in range(_PAGES)]

    async def _hosts(self, side: Side) -> dict[str, HostState]:
        """The healthy ones of reviews, as this side's productpage's Envoy has them."""
        name = hostname(ServiceKey("default", "reviews"), self.lab.file.domain)
        return {address: state for address, state in (await outbound_hosts(side.client, name, _PORT)).items() if state.healthy}

    async def _until(self, side: Side, holds: Callable[[Mapping[str, HostState]], bool]) -> float | None:
        """Seconds until it holds of what that side knows of reviews; None if it does not in time."""
        began = time.monotonic()
        while time.monotonic() - began < _SETTLING:
            if holds(await self._hosts(side)):
                return time.monotonic() - began
            await asyncio.sleep(0.01)
        return None

    async def _call(self, side: Side, service: str) -> Reply:
        """As the productpage app would: by name, through its sidecar."""
        placed = side.client.placed
        return await fetch(
            f"http://{service}:{_PORT}/", namespace=placed.namespace, address=placed.address.outbound or self._vip(side, service)
        )

    def _vip(self, side: Side, service: str) -> str:
        return next(vip for key, vip in self.lab.plan.vips.items() if (key.cluster, key.name) == (side.name, service))

    def _side(self, cluster: ClusterID) -> Side:
        network = self.lab.file.network_of(cluster)
        return Side(
            name=cluster,
            network=network,
            client=self.lab.pod(f"{cluster}/productpage"),
            reviews=self.lab.chosen(f"{cluster}/reviews"),
            gateways={address for address, behind in self.gateways.items() if behind == network},
        )

    def _address_of(self, named: str) -> str:
        return f"{self.lab.pod(named).placed.address.ip}:{_PORT}" if named else ""

    def _identity(self, named: str) -> str:
        pod, settings = self.lab.pod(named), self.lab.file.settings
        own = next(source.config.trust_domain for source in settings.clusters if source.config.name == pod.key.cluster)
        return spiffe_id(own or settings.mesh.trust_domain, pod.key.namespace, pod.placed.service_account)

    def _through_gateway(self, hop: Hop) -> bool:
        return hop.by.startswith(f"{self.away.name}/") and self.gateways.get(hop.dialled) == self.away.network

    def _tell_hosts(self, side: Side, hosts: Mapping[str, HostState]) -> None:
        def who(address: str) -> str:
            near = [pod.key.name for pod in side.reviews if f"{pod.placed.address.ip}:{_PORT}" == address]
            return near[0] if near else f"gateway of {self.gateways[address]}" if address in self.gateways else "?"

        rows = [(address, who(address), state.locality, str(state.weight)) for address, state in sorted(hosts.items())]
        indented(table((f"IN {side.name.upper()}", "IS", "LOCALITY", "WEIGHT"), rows))

    def _tell_calls(self, pages: Iterable[Page]) -> None:
        def way(hop: Hop) -> str:
            return f"gateway of {self.gateways[hop.dialled]}" if hop.dialled in self.gateways else "direct"

        def row(hop: Hop) -> tuple[str, ...]:
            return f"{hop.caller.cluster}/{hop.caller.name}", hop.service, hop.by or str(hop.answered.get("error")), hop.dialled, way(hop)

        calls = Counter(row(hop) for page in pages for hop in page.hops)
        rows = [(*call, str(count)) for call, count in sorted(calls.items())]
        indented(table(("CALLER", "ASKS", "ANSWERED BY", "DIALLED", "WAY", "TIMES"), rows))


def _is_exact(here: Side, there: Side, hosts: Mapping[str, HostState]) -> bool:
    """Whether all of its own pods weigh to the gateways of the other side as there are pods here and there."""
    own, others = (sum(hosts[address].weight for address in addresses & hosts.keys()) for addresses in (here.addresses, there.gateways))
    return others > 0 and own * len(there.reviews) == others * len(here.reviews)


def _check_is_bookinfo(file: LabFile) -> None:
    pods = [
        (cluster.name, labels_of(pod))
        for cluster in file.clusters
        for pod in read_manifests(cluster.name, cluster.manifests).of_kind("Pod")
    ]
    both = all(
        {name for name, labels in pods if labels.get("app") == app} == {cluster.name for cluster in file.clusters} for app in _ON_BOTH_SIDES
    )
    if len(file.clusters) != 2 or not both or not {labels.get("app") for _, labels in pods}.issuperset(_ON_ONE_SIDE):
        needed = f"two clusters with {' and '.join(_ON_BOTH_SIDES)} in both, and {', '.join(_ON_ONE_SIDE)}"
        raise ConfigError(
            str(file.path),
            "config.clusters",
            [cluster.name for cluster in file.clusters],
            f"{needed}; to run another lab: steersman lab up",
        )


def _reviews(pages: Iterable[Page]) -> list[Hop]:
    return [hop for page in pages for hop in page.hops if hop.service == "reviews"]


def _what_is_missing(pages: Iterable[Page]) -> str:
    wrong = Counter(
        f"{hop.service} for {hop.caller.cluster}/{hop.caller.name}: {hop.answered.get('error')}"
        for page in pages
        for hop in page.hops
        if not hop.by
    )
    wrong.update(f"productpage: {page.reply.status}" for page in pages if page.reply.status != 200)
    return ", ".join(f"{count} x {what}" for what, count in wrong.items())


def _after(seconds: float | None) -> str:
    return f"{seconds * 1000:.0f} ms after" if seconds is not None else f"not within {_SETTLING:.0f} s after"
