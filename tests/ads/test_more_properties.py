"""The same of what no wildcard covers, and of what lives for a time only: whatever happens, a client is sent what it named, and a heartbeat
is about what it holds."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from steersman.ads.messages import FULL_STATE, WILDCARD, Action, DeltaRequested, ErrorDetail, Requested, Response, Send, Variant
from steersman.names import CDS, TYPE_NAMES
from steersman.resources.resource import Resource
from steersman.snapshot.table import LayeredTable, ResourceTable
from tests.ads.test_properties import ASKABLE, NAMES, Anything, Peer
from tests.support.examples import examples
from tests.support.xds import Mesh, OnDemand, resources

BY_NAME = frozenset("cd")
"""Clusters that are had by name only."""
TTL = 9.0


class OnDemandPeer(Peer):
    """A client of which some clusters are covered by no wildcard."""

    def covers(self, type_url: str, name: str) -> bool:
        names = self.names.get(type_url, frozenset())
        return name in names or (WILDCARD in names and not (type_url == CDS and name in BY_NAME))


class AnyOnDemand(Anything):
    """What Anything does to clusters happens to both tables of them, by name."""

    def __init__(self) -> None:
        RuleBasedStateMachine.__init__(self)
        self.demand = OnDemand()
        self.mesh = self.demand
        self.peer = OnDemandPeer(self.mesh, self.variant)

    @rule(name=st.sampled_from(sorted(BY_NAME)), content=st.integers(1, 3))
    def put_by_name(self, name: str, content: int) -> None:
        self.demand.demand(*resources(f"{name}={content}"))

    @rule(name=st.sampled_from(sorted(BY_NAME)))
    def remove_by_name(self, name: str) -> None:
        self.demand.demand(gone=[name])

    @rule(names=st.frozensets(st.sampled_from(sorted(BY_NAME))))
    def declare_by_name(self, names: frozenset[str]) -> None:
        self.mesh.tell({CDS: self.demand.named.apply((), names)})

    def put(self, type_url: str, name: str, content: int) -> None:
        if type_url != CDS or name not in BY_NAME:
            super().put(type_url, name, content)

    @rule(type_url=st.sampled_from(ASKABLE), name=st.sampled_from(NAMES), content=st.integers(1, 3))
    def put_listed(self, type_url: str, name: str, content: int) -> None:
        self.put(type_url, name, content)

    def declare(self, type_url: str, names: frozenset[str]) -> None:
        super().declare(type_url, names - BY_NAME if type_url == CDS else names)

    @rule(type_url=st.sampled_from(ASKABLE), names=st.frozensets(st.sampled_from(NAMES)))
    def declare_listed(self, type_url: str, names: frozenset[str]) -> None:
        self.declare(type_url, names)

    def move(self, type_url: str, contents: dict[str, int]) -> None:
        """Moves of clusters change both parts."""
        if type_url != CDS:
            super().move(type_url, contents)
            return
        specs = {name: f"{name}={content}" for name, content in contents.items()}
        listed = ResourceTable(CDS)
        named = ResourceTable(CDS, by_name=True)
        listed.replace(resources(*(spec for name, spec in specs.items() if name not in BY_NAME)))
        named.replace(resources(*(spec for name, spec in specs.items() if name in BY_NAME)))
        self.mesh.tables[CDS], self.demand.named = listed, named
        self.demand.clusters = LayeredTable([named, listed])
        self.peer.stream.retable(CDS, self.demand.clusters)

    @rule(type_url=st.sampled_from(ASKABLE), contents=st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3)))
    def move_both(self, type_url: str, contents: dict[str, int]) -> None:
        self.move(type_url, contents)


class AnyOnDemandSotw(AnyOnDemand):
    variant = Variant.SOTW


class AnyOnDemandDelta(AnyOnDemand):
    variant = Variant.DELTA


TestAnyOnDemandSotw = AnyOnDemandSotw.TestCase
TestAnyOnDemandDelta = AnyOnDemandDelta.TestCase
TestAnyOnDemandSotw.settings = TestAnyOnDemandDelta.settings = settings(deadline=None, max_examples=examples(60), stateful_step_count=40)


class MortalPeer(Peer):
    """A client of which every resource lives for a time. It answers heartbeats at once, and accepts a heartbeat only if it is about what it
    holds, as Envoy does. `unknown`: names that it asked for and then refused: it never said what it holds of them."""

    options: Mapping[str, Any] = MappingProxyType({"ttls": dict.fromkeys(ASKABLE, TTL)})

    def __init__(self, mesh: Mesh, variant: Variant) -> None:
        super().__init__(mesh, variant)
        self.answers: dict[str, set[str]] = {}
        self.unknown: dict[str, set[str]] = {type_url: set() for type_url in ASKABLE}

    def judge(self, response: Response) -> None:
        names = {found.name for found in response.resources}
        asked = self.asked[response.type_url]
        self.answers[response.type_url] = names if WILDCARD in asked else names & asked
        super().judge(response)

    def answer(self, type_url: str, error: ErrorDetail | None) -> None:
        if error is None:
            self.unknown[type_url] -= {found.name for found in self.open[type_url].response.resources}
        else:
            self.unknown[type_url] |= self.answers[type_url]
        super().answer(type_url, error)

    def took(self, actions: Any) -> None:
        others: list[Action] = []
        for action in actions:
            if isinstance(action, Send) and action.response.heartbeat:
                super().took(others)
                others = []
                self.beat(action)
            else:
                others.append(action)
        super().took(others)

    def beat(self, send: Send) -> None:
        type_url = send.response.type_url
        about = {found.name: found.version for found in send.response.resources}
        assert all(self.covers(type_url, name) for name in about)
        if type_url not in self.open:
            holds = {name: found.version for name, found in self.held[type_url].items()}
            assert about.items() <= holds.items(), f"a heartbeat of {TYPE_NAMES[type_url]} is about what the client holds: {about} {holds}"
            unsure = self.asked[type_url] | self.unknown[type_url] if WILDCARD not in self.asked[type_url] else holds.keys()
            if self.variant is Variant.SOTW and type_url not in FULL_STATE:  # it knows no other way to lose something than by its time
                table = self.mesh.served[type_url]
                unsure = unsure | {name for name in holds if not isinstance(table.lookup(name), Resource)}
            assert about.keys() >= holds.keys() - unsure, "and about all of it"
        names = tuple(self.names[type_url])
        if self.variant is Variant.SOTW:
            answer: Requested | DeltaRequested = Requested(type_url, names, send.response.version, send.nonce)
        else:
            answer = DeltaRequested(type_url, nonce=send.nonce)
        self.took(self.stream.receive(answer, self.now))

    def finish(self) -> None:
        """Heartbeats never end: accepts everything else until nothing more comes for longer than anything is waited for."""
        quiet = 0
        while quiet < 20:
            quiet = 0 if self.open else quiet + 1
            for type_url in tuple(self.open):
                self.answer(type_url, None)
            self.pump(1.0)

    def check(self) -> None:
        super().check()
        self.pump(TTL)


class AnyMortal(Anything):
    def __init__(self) -> None:
        super().__init__()
        self.peer = MortalPeer(self.mesh, self.variant)


class AnyMortalSotw(AnyMortal):
    variant = Variant.SOTW


class AnyMortalDelta(AnyMortal):
    variant = Variant.DELTA


TestAnyMortalSotw = AnyMortalSotw.TestCase
TestAnyMortalDelta = AnyMortalDelta.TestCase
TestAnyMortalSotw.settings = TestAnyMortalDelta.settings = settings(deadline=None, max_examples=examples(40), stateful_step_count=40)
