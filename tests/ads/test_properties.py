"""Whatever happens in whatever order, the client ends with what it subscribed to, is told no more than it must be, and is never broken."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from steersman.ads.messages import FULL_STATE, WILDCARD, Action, DeltaRequested, ErrorDetail, Requested, Response, Send, Variant
from steersman.ads.stream import Stream
from steersman.names import CDS, EDS, LDS, RDS, TYPE_NAMES
from steersman.resources.resource import Resource
from steersman.snapshot.table import ResourceTable, Table
from tests.support.examples import examples
from tests.support.xds import BAD, Mesh, resources

NAMES = ("a", "b", "c", "d")
ASKABLE = (CDS, EDS, LDS, RDS)


class Peer:
    """A client that does as it is told: what it holds is what the responses that it accepted add up to."""

    options: Mapping[str, Any] = {}
    """Of its stream."""

    def __init__(self, mesh: Mesh, variant: Variant) -> None:
        self.mesh = mesh
        self.variant = variant
        self.stream: Stream[Any] = mesh.client(variant, **self.options).stream
        self.now = 0.0
        self.names: dict[str, frozenset[str]] = {}
        self.held: dict[str, dict[str, Resource]] = {type_url: {} for type_url in ASKABLE}
        self.open: dict[str, Send] = {}
        self.asked: dict[str, set[str]] = {type_url: set() for type_url in ASKABLE}
        self.following: set[str] = set()
        self.refused: dict[str, dict[str, str]] = {type_url: {} for type_url in ASKABLE}
        self.outdated: set[str] = set()
        self.nonces: set[str] = set()

    def covers(self, type_url: str, name: str) -> bool:
        names = self.names.get(type_url, frozenset())
        return name in names or WILDCARD in names

    def took(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if not isinstance(action, Send):
                continue
            response = action.response
            assert response.type_url not in self.open, "one response of a type at a time"
            assert action.nonce not in self.nonces
            self.nonces.add(action.nonce)
            self.open[response.type_url] = action
            self.judge(response)
            self.watch(response)

    def watch(self, response: Response) -> None:
        """For more that must hold of every response."""

    def judge(self, response: Response) -> None:
        """It must not hold what the client didn't need to be told."""
        type_url = response.type_url
        names = [found.name for found in response.resources]
        assert names == sorted(set(names))
        assert all(self.covers(type_url, name) or response.variant is Variant.SOTW for name in names)
        asked = self.asked[type_url]
        self.asked[type_url] = asked - {WILDCARD, *names, *response.removed}
        held = self.held[type_url]
        news = [found for found in response.resources if found.name not in held or held[found.name].version != found.version]
        if response.variant is Variant.DELTA:
            for found in response.resources:
                expected = found in news or found.name in {*asked, *self.refused[type_url]} or WILDCARD in asked
                expected = expected or (type_url == EDS and found.name in self.following)
                assert expected, f"{found.name} of {TYPE_NAMES[type_url]} is sent for no reason"
            known = {*held, *asked, *self.following, *self.refused[type_url]}
            assert WILDCARD in asked or known.issuperset(response.removed)
            assert response.resources or response.removed or WILDCARD in asked
        if type_url == CDS:
            self.following |= {found.name for found in (response.resources if response.variant is Variant.DELTA else news)}
        elif type_url == EDS:
            self.following -= {*names, *response.removed}

    def subscribe(self, type_url: str, names: frozenset[str]) -> None:
        old = self.names.get(type_url)
        self.names[type_url] = names
        added = names - (old or frozenset())
        self.asked[type_url] |= added
        held = self.held[type_url]
        for name in [name for name in held if not self.covers(type_url, name)]:
            del held[name]
        if self.variant is Variant.SOTW:
            self.asked[type_url] |= names
            self.took(self.stream.receive(Requested(type_url, tuple(names)), self.now))
        else:
            dropped = (old or frozenset()) - names
            if WILDCARD in names:
                self.asked[type_url] |= dropped
            self.took(self.stream.receive(DeltaRequested(type_url, tuple(added), tuple(dropped)), self.now))
        if not names:
            self.open.pop(type_url, None)

    def answer(self, type_url: str, error: ErrorDetail | None) -> None:
        send = self.open.pop(type_url)
        if error is None:
            self.apply(send.response)
        else:
            self.refused[type_url] |= {found.name: found.version for found in send.response.resources}
            self.outdated.add(type_url)
            for name in send.response.removed:
                self.held[type_url].pop(name, None)
        names = tuple(self.names[type_url])
        if self.variant is Variant.SOTW:
            request: Requested | DeltaRequested = Requested(type_url, names, send.response.version, send.nonce, error)
        else:
            request = DeltaRequested(type_url, nonce=send.nonce, error=error)
        self.took(self.stream.receive(request, self.now))

    def apply(self, response: Response) -> None:
        type_url = response.type_url
        accepted = {found.name: found for found in response.resources if self.covers(type_url, found.name)}
        if response.variant is Variant.SOTW and type_url in FULL_STATE:
            self.held[type_url] = {}
            self.outdated.discard(type_url)
            self.refused[type_url].clear()
        self.held[type_url].update(accepted)
        for name in accepted:
            self.refused[type_url].pop(name, None)
        for name in response.removed:
            self.held[type_url].pop(name, None)

    def pump(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.took(self.stream.pump(self.now))

    def finish(self) -> None:
        """Accepts everything until there is nothing more."""
        for _ in range(200):
            self.pump(1.0)
            if not self.open and self.stream.deadline() is None:
                break
            for type_url in tuple(self.open):
                self.answer(type_url, None)
        assert not self.open
        assert self.stream.deadline() is None
        assert self.stream.pump(self.now + 1000) == []

    def check(self) -> None:
        for type_url, names in self.names.items():
            table = self.mesh.served[type_url]
            if type_url in self.outdated and self.variant is Variant.SOTW and type_url in FULL_STATE:
                continue  # it refused the whole state, and nothing has changed since
            if (WILDCARD in names or (self.variant is Variant.SOTW and type_url in FULL_STATE)) and not all(
                known(table, name) for name in names
            ):
                continue  # nothing is sent as long as something of it is pending
            for name in {*table.names(), *NAMES}:
                answer = table.lookup(name)
                held = self.held[type_url].get(name)
                if not self.covers(type_url, name):
                    assert held is None
                elif isinstance(answer, Resource):
                    refused = self.refused[type_url].get(name) == answer.version
                    assert refused or (held is not None and held.version == answer.version), (TYPE_NAMES[type_url], name)
                elif answer is None and (self.variant is Variant.DELTA or type_url in FULL_STATE):
                    assert held is None, (TYPE_NAMES[type_url], name)


def known(table: Table, name: str) -> bool:
    if name == WILDCARD:
        return table.complete
    return table.lookup(name) is None or isinstance(table.lookup(name), Resource)


types = st.sampled_from(ASKABLE)
some_names = st.frozensets(st.sampled_from(NAMES), max_size=4)


class Anything(RuleBasedStateMachine):
    """Any client that keeps to the protocol, with any tables."""

    variant: Variant

    def __init__(self) -> None:
        super().__init__()
        self.mesh = Mesh()
        self.peer = Peer(self.mesh, self.variant)

    @rule(type_url=types, name=st.sampled_from(NAMES), content=st.integers(1, 3))
    def put(self, type_url: str, name: str, content: int) -> None:
        self.mesh.put(type_url, f"{name}={content}")

    @rule(type_url=types, name=st.sampled_from(NAMES))
    def remove(self, type_url: str, name: str) -> None:
        self.mesh.remove(type_url, name)

    @rule(type_url=types, names=some_names)
    def declare(self, type_url: str, names: frozenset[str]) -> None:
        self.mesh.declare(type_url, *names)

    @rule(type_url=types, contents=st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3)))
    def move(self, type_url: str, contents: dict[str, int]) -> None:
        table = ResourceTable(type_url)
        table.replace(resources(*(f"{name}={content}" for name, content in contents.items())))
        self.mesh.tables[type_url] = table
        self.peer.stream.retable(type_url, table)

    @rule(type_url=types, names=some_names, wildcard=st.booleans())
    def subscribe(self, type_url: str, names: frozenset[str], wildcard: bool) -> None:
        if wildcard:
            names |= {WILDCARD}
        if type_url not in self.peer.names and not names:
            return  # the legacy wildcard has transcripts of its own
        self.peer.subscribe(type_url, names)

    @rule(seconds=st.sampled_from([0.0, 0.0, 0.0, 1.0]))
    def pump(self, seconds: float) -> None:
        self.peer.pump(seconds)

    @precondition(lambda self: self.peer.open)
    @rule(data=st.data(), error=st.sampled_from([None, None, None, BAD]))
    def answer(self, data: st.DataObject, error: ErrorDetail | None) -> None:
        self.peer.answer(data.draw(st.sampled_from(sorted(self.peer.open))), error)

    @invariant()
    def it_goes_on(self) -> None:
        assert not self.peer.stream.closed

    def teardown(self) -> None:
        for type_url in tuple(self.peer.open):
            self.peer.answer(type_url, None)
        self.peer.finish()
        self.peer.check()


class AnySotw(Anything):
    variant = Variant.SOTW


class AnyDelta(Anything):
    variant = Variant.DELTA


TestAnySotw = AnySotw.TestCase
TestAnyDelta = AnyDelta.TestCase
TestAnySotw.settings = TestAnyDelta.settings = settings(deadline=None, max_examples=examples(60), stateful_step_count=40)


LEADING = (LDS, RDS)
"""The types whose resources lead to clusters: in these tests each says in its content to which."""


class RoutedPeer(Peer):
    """An Envoy in no hurry. At no time may it have, or be on its way to have, a route or listener that leads to a cluster that it has not
    acknowledged, which is when it is warm, or that it was told is gone. And endpoints that it didn't ask for may not be of a later
    generation than their cluster: `told` is the content of each cluster that was said last. Nor may it be sent a route or listener that
    leads to a cluster of which it was told that it has no endpoints (`empty`), though there are some."""

    def __init__(self, mesh: Mesh, variant: Variant) -> None:
        super().__init__(mesh, variant)
        self.told: dict[str, str] = {}
        self.empty: set[str] = set()

    def subscribe(self, type_url: str, names: frozenset[str]) -> None:
        if type_url == EDS:
            self.empty &= names
        super().subscribe(type_url, names)

    def judge(self, response: Response) -> None:
        if response.type_url == EDS:
            unasked = [found for found in response.resources if found.name not in {*self.asked[EDS], *self.following}]
            for name, content in map(spelled_out, unasked):
                assert self.told.get(name) == content, (
                    f"endpoints {name}={content} come before their cluster, which is {self.told.get(name)}"
                )
        super().judge(response)

    def watch(self, response: Response) -> None:
        if response.type_url == CDS:
            if self.variant is Variant.SOTW:
                self.told = {}
            self.told |= dict(map(spelled_out, response.resources))
            for name in response.removed:
                del self.told[name]
            left = {*self.held[CDS], *self.told} & self.told.keys()
            self.lead_somewhere([found for type_url in LEADING for found in self.leading(type_url)], left)
        elif response.type_url == EDS:
            none = {found.name for found in response.resources if not spelled_out(found)[1]}
            self.empty = (self.empty - {found.name for found in response.resources}) | none | set(response.removed)
        elif response.type_url in LEADING:
            self.lead_somewhere(response.resources, (self.held[CDS].keys() & self.told.keys()) - self.empty)

    def leading(self, type_url: str) -> Iterable[Resource]:
        """What it has, and what it may come to have."""
        yield from self.held[type_url].values()
        if type_url in self.open:
            yield from self.open[type_url].response.resources

    def lead_somewhere(self, leading: Iterable[Resource], clusters: Collection[str]) -> None:
        for one in leading:
            _, target = spelled_out(one)
            assert target in clusters, f"{one.name} leads to {target}, of the clusters {sorted(clusters)}"

    def reconnect(self) -> None:
        """Says what it holds, and asks for what it had asked for; whatever was on its way is lost."""
        self.mesh.streams.remove(self.stream)
        self.stream = stream = self.mesh.delta().stream
        self.open.clear()
        self.nonces.clear()
        self.following.clear()
        self.empty.clear()
        self.told = dict(map(spelled_out, self.held[CDS].values()))
        for type_url in (CDS, EDS, LDS, RDS):
            names = self.names.get(type_url)
            if names is not None:
                held = {name: found.version for name, found in self.held[type_url].items()}
                self.asked[type_url] = set(names - held.keys())
                self.took(stream.receive(DeltaRequested(type_url, tuple(names), initial=held), self.now))


def spelled_out(found: Resource) -> tuple[str, str]:
    name, _, content = found.body.decode().partition("=")
    return name, content


class Routed(RuleBasedStateMachine):
    """Generations in which each route and listener leads to a cluster there is."""

    variant: Variant

    def __init__(self) -> None:
        super().__init__()
        self.mesh = Mesh()
        self.clusters = {"a"}
        self.listeners = {"l"}
        self.mesh.wave(cds="a", eds="a", rds="r1=a r2=a", lds="l=a")
        self.peer = RoutedPeer(self.mesh, self.variant)
        self.peer.subscribe(CDS, frozenset({WILDCARD}))
        self.peer.answer(CDS, None)
        self.peer.subscribe(EDS, frozenset({"a"}))
        self.peer.answer(EDS, None)
        self.peer.subscribe(LDS, frozenset({WILDCARD}))
        self.peer.answer(LDS, None)
        self.peer.subscribe(RDS, frozenset({"r1", "r2"}))
        self.peer.answer(RDS, None)

    @rule(
        clusters=st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3), min_size=1),
        leads=st.tuples(*[st.integers(0, 3)] * 4),
        listeners=st.sets(st.sampled_from(["l", "l2"])),
        said=st.booleans(),
    )
    def generation(self, clusters: dict[str, int], leads: tuple[int, ...], listeners: set[str], said: bool) -> None:
        """`said`: whether streams may say it, before the next one comes."""
        targets = [sorted(clusters)[number % len(clusters)] for number in leads]
        contents = [f"{name}={content}" for name, content in clusters.items()]
        gone = [f"-{name}" for name in self.clusters - clusters.keys()]
        leading = dict(zip(["r1", "r2", "l", "l2"], targets, strict=True))
        self.mesh.wave(
            cds=" ".join([*contents, *gone]),
            eds=" ".join([*contents, *gone]),
            rds=" ".join(f"{name}={leading[name]}" for name in ("r1", "r2")),
            lds=" ".join([*(f"{name}={leading[name]}" for name in listeners), *(f"-{name}" for name in self.listeners - listeners)]),
        )
        self.clusters, self.listeners = set(clusters), listeners
        if said:
            self.peer.pump()

    @rule(leads=st.integers(0, 3))
    def move(self, leads: int) -> None:
        """It stands at other tables, of the same clusters."""
        target = sorted(self.clusters)[leads % len(self.clusters)]
        for type_url in ASKABLE:
            table = ResourceTable(type_url)
            table.replace(self.mesh.tables[type_url].content())
            if type_url == RDS:
                table.apply(resources(f"r1={target}", f"r2={target}"))
            self.mesh.tables[type_url] = table
            self.peer.stream.retable(type_url, table)
        self.peer.pump()

    @precondition(lambda self: self.peer.open)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        self.peer.answer(data.draw(st.sampled_from(sorted(self.peer.open))), None)

    @rule(names=st.sets(st.sampled_from(NAMES), min_size=1))
    def endpoints(self, names: set[str]) -> None:
        self.peer.subscribe(EDS, frozenset(names))

    def teardown(self) -> None:
        self.peer.finish()
        self.peer.check()
        assert set(self.peer.held[CDS]) == self.clusters


class RoutedSotw(Routed):
    variant = Variant.SOTW


class RoutedDelta(Routed):
    variant = Variant.DELTA

    @rule()
    def reconnect(self) -> None:
        """In state of the world the first answer is all there is, whatever the client still uses: nobody knows what that was."""
        self.peer.reconnect()


TestRoutedSotw = RoutedSotw.TestCase
TestRoutedDelta = RoutedDelta.TestCase
TestRoutedSotw.settings = TestRoutedDelta.settings = settings(deadline=None, max_examples=examples(60), stateful_step_count=40)


@settings(deadline=None, max_examples=examples(100))
@given(
    holds=st.dictionaries(st.sampled_from(NAMES), st.integers(1, 2)),
    has=st.dictionaries(st.sampled_from(NAMES), st.integers(1, 2)),
    named=st.booleans(),
    type_url=types,
)
def test_a_client_that_reconnects_is_sent_the_difference(holds: dict[str, int], has: dict[str, int], named: bool, type_url: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, *(f"{name}={content}" for name, content in has.items()))
    peer = Peer(mesh, Variant.DELTA)
    held = {found.name: found for found in resources(*(f"{name}={content}" for name, content in holds.items()))}
    peer.held[type_url] = dict(held)
    names = frozenset({*held, "new"} if named else {WILDCARD})
    peer.names[type_url] = names
    peer.asked[type_url] = {"new"} if named else {WILDCARD}
    versions = {name: found.version for name, found in held.items()}
    peer.took(peer.stream.receive(DeltaRequested(type_url, tuple(names), initial=versions), 0.0))
    changed = {name for name in (held if named else {*held, *has}) if holds.get(name) != has.get(name)} | ({"new"} if named else set())
    told: set[str] = set()
    for _ in range(5):
        if type_url in peer.open:
            response = peer.open[type_url].response
            told |= {found.name for found in response.resources} | set(response.removed)
            peer.answer(type_url, None)
        peer.pump(1.0)
    assert told == changed
    peer.finish()
    peer.check()
