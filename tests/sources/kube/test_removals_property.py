"""Whatever an API tells, and in whatever state: what it lists stands as it lists it, what is held is nobody else's, and all of it ends."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.model.objects import EndpointSlice, Kind, Namespace, Service
from steersman.model.removals import HeldRemoval, slice_held
from steersman.sources.contents import Steps, run
from steersman.sources.kube.doubted import is_up
from tests.sources.kube.guarded import GRACE, HOLD, Guarded, key, kind_of, piece, pod, short
from tests.support.examples import examples

SERVICES = ("web", "db")
SLICES = ("a", "b", "c")
PODS = ("web-1", "web-2", "web-3", "db-1")
NAMESPACES = ("n1", "n2", "n3")
NAMES = {Kind.SERVICE: SERVICES, Kind.ENDPOINT_SLICE: SLICES, Kind.POD: PODS, Kind.NAMESPACE: NAMESPACES}

HELD_WHOLE = (Kind.SERVICE, Kind.POD, Kind.NAMESPACE)

IPS = dict(zip(PODS, ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"), strict=True))
FIRST: dict[Kind, list[Any]] = {
    Kind.SERVICE: [Service(key=key(name)) for name in SERVICES],
    Kind.ENDPOINT_SLICE: [
        piece("a", "10.0.0.1=web-1", "10.0.0.2=web-2"),
        piece("b", "10.0.0.3=web-3", "10.0.0.5"),
        piece("c", "10.0.0.4=db-1", service="db"),
    ],
    Kind.POD: [pod(name, ip) for name, ip in IPS.items()],
    Kind.NAMESPACE: [Namespace(key=key(name)) for name in NAMESPACES],
}
"""What there is at first, and often again."""

addresses = st.sampled_from(["10.0.0.5", *IPS.values()])
proper = st.sampled_from(PODS).map(lambda name: f"{IPS[name]}={name}")
odd = st.builds(lambda ip, name: f"{ip}{f'={name}' if name else ''}", addresses, st.sampled_from(("", *PODS)))
entries = st.builds(lambda one, mark: f"{one}{mark}", proper | proper | odd, st.sampled_from(["", "", "", "!", "~"]))


@st.composite
def slices(draw: st.DrawFn, name: str = "") -> EndpointSlice:
    listed = draw(st.lists(entries, max_size=4, unique_by=lambda text: text.rstrip("!~").partition("=")[0]))
    service = draw(st.sampled_from(SERVICES))
    return piece(name or draw(st.sampled_from(SLICES)), *listed, service=service, port=draw(st.sampled_from([8080, 9090])))


@st.composite
def pods(draw: st.DrawFn, name: str = "") -> Any:
    name = name or draw(st.sampled_from(PODS))
    ips = draw(st.just([IPS[name]]) | st.lists(addresses, max_size=1))
    return pod(name, *ips, terminating=draw(st.sampled_from([False, False, False, True])))


def named(kind: Kind, name: str) -> st.SearchStrategy[Any]:
    match kind:
        case Kind.ENDPOINT_SLICE:
            return slices(name)
        case Kind.POD:
            return pods(name)
        case Kind.SERVICE:
            return st.just(Service(key=key(name)))
    return st.just(Namespace(key=key(name)))


kinds = st.sampled_from(sorted(NAMES))


@st.composite
def steps(draw: st.DrawFn) -> tuple[str, Callable[[Guarded], None]]:
    """What happens next, with a name to read it by."""
    what = draw(
        st.sampled_from(
            ["put", "put", "delete", "list", "list", "list", "half", "trouble", "well", "later", "later", "release", "replaced", "restarts"]
        )
    )
    kind = draw(kinds)
    name = draw(st.sampled_from(NAMES[kind]))
    match what:
        case "put":
            one = draw(named(kind, name))
            return f"put {one}", lambda api: api.puts(one)
        case "delete":
            return f"delete {kind} {name}", lambda api: api.deletes(kind, name)
        case "list" | "half":
            some = [draw(named(kind, one)) for one in draw(st.lists(st.sampled_from(NAMES[kind]), unique=True))]
            found = draw(st.sampled_from([[], some, FIRST[kind], FIRST[kind][:1]]))
            if what == "list":
                return f"list {found}", lambda api: api.lists(kind, *found)
            return f"half a list {found}", lambda api: (api.begins(kind), api.puts(*found))[0]
        case "later":
            seconds = draw(st.sampled_from([0.0, 1.0, GRACE, HOLD / 2, HOLD]))
            return f"{seconds} s later", lambda api: api.later(seconds)
        case "release":
            service = draw(st.sampled_from(("", *SERVICES)))
            return f"release {service}", lambda api: api.releases(service)
    return what, {"trouble": Guarded.trouble, "well": Guarded.well, "replaced": Guarded.replaced, "restarts": Guarded.restarts}[what]


@settings(max_examples=examples(400), deadline=None)
@given(share=st.sampled_from([0.0, 0.5]), at_least=st.sampled_from([1, 3]), happened=st.lists(steps(), max_size=40))
def test_whatever_is_told_ends_as_a_fresh_list_and_nothing_is_held_that_is_anothers(
    share: float, at_least: int, happened: list[tuple[str, Callable[[Guarded], None]]]
) -> None:
    api = Guarded(share, at_least)
    api.sync(*(one for objects in FIRST.values() for one in objects))
    for name, step in happened:
        before = [(hold, held_of(api, hold.object.key.name)) for hold in api.guard.held if hold.is_of_service]
        step(api)
        check(api)
        for hold, held in before:
            if not name.startswith("release") and name != "replaced" and api.now < hold.until:
                kept(api, hold, held)
    api.well()
    for kind in NAMES:
        if kind in api.guard._retold:
            api.completes(kind, api.api[kind])
    api.later(HOLD)
    check(api)
    assert api.is_as_listed()


class Interleaved(Guarded):
    """What takes several steps goes on while other things happen: so many steps at a time."""

    def __init__(self, share: float, at_least: int, pace: int) -> None:
        self.under_way: dict[str, Steps[None]] = {}
        self.pace = pace
        super().__init__(share, at_least)

    def performs(self, who: str, steps: Steps[None]) -> None:
        self.finishes(who)
        self.under_way[who] = steps
        self.goes_on()

    def goes_on(self) -> None:
        for who, steps in list(self.under_way.items()):
            for _ in range(self.pace):
                if next(steps, self) is self:
                    del self.under_way[who]
                    break
            self._hear()

    def finishes(self, *who: str) -> None:
        for one in who or list(self.under_way):
            if one in self.under_way:
                run(self.under_way.pop(one))
        self._hear()

    def restarts(self) -> None:
        self.under_way.clear()  # in the middle of it
        super().restarts()

    def begins(self, kind: Kind) -> None:
        self.finishes(str(kind))
        super().begins(kind)

    def puts(self, *objects: Any) -> None:
        for one in objects:
            self.finishes(str(kind_of(one)))
            super().puts(one)
            self.goes_on()

    def deletes(self, kind: Kind, *names: str) -> None:
        for name in names:
            self.finishes(str(kind))
            super().deletes(kind, name)
            self.goes_on()


@settings(max_examples=examples(200), deadline=None)
@given(
    share=st.sampled_from([0.0, 0.5]),
    at_least=st.sampled_from([1, 3]),
    pace=st.integers(1, 4),
    happened=st.lists(steps(), max_size=40),
)
def test_whatever_happens_while_the_guard_pauses_it_ends_as_a_fresh_list(
    share: float, at_least: int, pace: int, happened: list[tuple[str, Callable[[Guarded], None]]]
) -> None:
    api = Interleaved(share, at_least, pace)
    api.sync(*(one for objects in FIRST.values() for one in objects))
    for _, step in happened:
        step(api)
        api.goes_on()
    api.well()
    for kind in NAMES:
        if kind in api.guard._retold:
            api.completes(kind, api.api[kind])
    for seconds in (0.0, HOLD, 0.0):  # what is decided while the time of it runs out, ends a look later
        api.finishes()
        api.later(seconds)
        api.finishes()
        check(api)
    assert api.is_as_listed()


def check(api: Guarded) -> None:
    """What holds at any time."""
    listed: dict[Kind, dict[Any, Any]] = api.api
    for kind in NAMES:
        for of, one in listed[kind].items():
            assert api.told.values[kind, of] == one, "what the API lists stands as it lists it"
    assert all(one.since <= api.now < one.until == one.since + HOLD for one in api.guard.held), "nothing is held for longer"
    for service in SERVICES if Kind.ENDPOINT_SLICE not in api.guard._retold else ():
        held = [one for shown in held_of(api, service) for one in shown.endpoints]
        there = [two for one in listed[Kind.ENDPOINT_SLICE].values() if one.service == service for two in one.endpoints]
        for one in held:
            assert one.ready
            own = [two for two in there if two.address == one.address and two.pod == one.pod]
            assert not any(two.ready or two.terminating for two in own), "what is listed is no longer held"
            assert not any(two.pod == one.pod != "" and two.address != one.address for two in there), "its Pod is elsewhere"
            if one.pod:
                behind = listed[Kind.POD].get(key(one.pod))
                assert (Kind.POD, key(one.pod)) in api.told.values or behind is None
                if behind is not None and api.guard.held and not api.guard._retold:
                    assert not behind.terminating, "a Pod that goes is not held"
                    assert not behind.ips or one.address in behind.ips, "an address that isn't its Pod's is not held"
    assert set(api.guard._withheld.was) == {(kind, of) for kind, of in api.told.values if kind in HELD_WHOLE and of not in listed[kind]}
    undecided = bool(api.guard._retold) or bool(api.guard.held)
    for kind, of in api.told.values:
        if kind in NAMES and slice_held(of) is None and of not in listed[kind]:
            assert undecided, f"{kind} {of} is nowhere and not held"


def held_of(api: Guarded, service: str) -> list[EndpointSlice]:
    """What is held of a Service."""
    pieces = (one for (kind, of), one in api.told.values.items() if kind is Kind.ENDPOINT_SLICE and slice_held(of) is not None)
    return [one for one in pieces if one.service == service]


def kept(api: Guarded, hold: HeldRemoval, before: list[EndpointSlice]) -> None:
    """What was held of a Service is held still, unless something says what became of it."""
    service, listed = hold.object.key, api.api
    there = [two for one in listed[Kind.ENDPOINT_SLICE].values() if one.service == service.name for two in one.endpoints]
    if (Kind.SERVICE, service) not in api.told.values or sum(is_up(two) for two in there) >= hold.before:
        return
    held = {one.key: one for one in held_of(api, service.name)}
    still = {one.address for shown in held.values() for one in shown.endpoints}
    anew = {ip for one in listed[Kind.POD].values() for ip in one.ips}
    for was in before:
        reshaped = was.key in held and held[was.key].ports != was.ports
        for one in was.endpoints:
            told = any(two.address == one.address or (one.pod and two.pod == one.pod) for two in there)
            behind = listed[Kind.POD].get(key(one.pod))
            gone = one.pod and (Kind.POD, key(one.pod)) not in api.told.values
            moved = behind is not None and (behind.terminating or one.address not in behind.ips)
            taken = behind is None and one.address in anew
            assert one.address in still or reshaped or told or gone or moved or taken, f"{short(one)} is held no longer"


def test_a_restart_while_a_list_is_told_again_that_lacks_nothing() -> None:
    api = Guarded(0.0, 1)
    api.sync(*(one for objects in FIRST.values() for one in objects))
    api.begins(Kind.NAMESPACE)
    api.deletes(Kind.NAMESPACE, "n1")
    api.puts(Namespace(key=key("n1")))
    api.restarts()
    check(api)


def test_a_release_while_a_list_is_told_does_not_forget_what_that_may_lack() -> None:
    api = Guarded(0.0, 1)
    api.sync(*(one for objects in FIRST.values() for one in objects))
    api.begins(Kind.SERVICE)
    api.deletes(Kind.SERVICE, "web")
    api.releases("web")
    api.completes(Kind.SERVICE, api.api[Kind.SERVICE])
    api.later(HOLD)
    assert api.is_as_listed()
