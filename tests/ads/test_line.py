"""The line of new streams: who comes in, when, and in which order. The numbers are those of docs/conformance.md."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from steersman.ads.line import AT_ONCE, BEHIND, TURN, Line, Refused, Ticket
from steersman.model.limits import Limits
from tests.support.examples import examples


class Clerk:
    """Calls `turn` when it is to be called, `late` seconds after its time; remembers who came in, and when."""

    def __init__(self, *, late: float = 0.0, joins: bool = True, **limits: int) -> None:
        self.line = Line(Limits(**limits))
        self.now = 100.0
        self.late = late
        self.joins = joins
        self.admitted: list[tuple[Ticket, float]] = []

    def arrive(self, host: str, node: str) -> Ticket:
        ticket = self.line.arrive(host, node, self.now)
        self.work(self.now)
        return ticket

    def work(self, until: float) -> None:
        while (planned := self.line.next_turn()) is not None and planned + self.late <= until:
            self.now = max(self.now, planned + self.late)
            for ticket in self.line.turn(self.now):
                self.admitted.append((ticket, self.now))
                if self.joins:
                    self.line.joined(ticket, self.now)
        self.now = max(self.now, until)

    @property
    def nodes(self) -> list[str]:
        return [ticket.node for ticket, _ in self.admitted]


def test_a_single_stream_comes_in_at_once() -> None:
    clerk = Clerk()
    for number in range(10):
        clerk.arrive("h", f"n{number}")
        assert clerk.admitted[-1] == (clerk.admitted[-1][0], clerk.now)
        clerk.work(clerk.now + 1)
    assert len(clerk.admitted) == 10


def test_c37_a_storm_comes_in_at_the_rate_and_all_of_it() -> None:
    clerk = Clerk(new_streams_per_second=1000)
    began = clerk.now
    for number in range(5_000):
        clerk.arrive(f"h{number}", f"n{number}")
    clerk.work(began + 4.5)
    assert 4_400 <= len(clerk.admitted) <= 4_520
    clerk.work(began + 5.1)
    assert len(clerk.admitted) == 5_000
    assert clerk.line.waiting == 0


def test_c37_a_server_that_is_behind_lets_in_one_at_a_time_but_always_one() -> None:
    clerk = Clerk(late=10 * BEHIND)
    began = clerk.now
    for number in range(100):
        clerk.arrive(f"h{number}", f"n{number}")
    clerk.work(began + 2.0)
    times = [at for _, at in clerk.admitted]
    assert 15 <= len(times) <= 20
    assert len(set(times)) == len(times)


def test_c37_so_many_are_joining_and_no_more_until_the_server_has_done_its_part() -> None:
    clerk = Clerk(joins=False)
    for number in range(2 * AT_ONCE):
        clerk.arrive(f"h{number}", f"n{number}")
    clerk.work(clerk.now + 10)
    assert len(clerk.admitted) == AT_ONCE
    assert clerk.line.next_turn() is None, "nothing is to be done until one has joined"
    clerk.line.joined(clerk.admitted[0][0], clerk.now)
    clerk.line.leave(clerk.admitted[1][0], clerk.now)
    clerk.work(clerk.now + 10)
    assert len(clerk.admitted) == AT_ONCE + 2


def test_who_comes_again_and_again_waits_for_itself() -> None:
    clerk = Clerk(new_streams_per_second=1, streams_per_node=1_000)
    for _ in range(500):
        clerk.arrive("loop", "looping")
    for number in range(3):
        clerk.arrive(f"h{number}", f"n{number}")
    clerk.work(clerk.now + 7.5)
    assert {"n0", "n1", "n2"} <= set(clerk.nodes[:8])


def test_nor_do_others_of_its_host_wait_for_it() -> None:
    clerk = Clerk(new_streams_per_second=1, streams_per_node=1_000)
    for _ in range(500):
        clerk.arrive("nat", "looping")
    for number in range(3):
        clerk.arrive("nat", f"n{number}")
    clerk.work(clerk.now + 8.5)
    assert {"n0", "n1", "n2"} <= set(clerk.nodes[:8])


def test_a_host_of_many_nodes_takes_half_of_the_line_at_most() -> None:
    clerk = Clerk(new_streams_per_second=1, waiting_streams=100)
    for number in range(50 + 1):
        clerk.arrive("many", f"n{number}")
    with pytest.raises(Refused) as refused:
        clerk.arrive("many", "another")
    assert refused.value.code == "UNAVAILABLE"
    assert str(refused.value) == "50 streams are in line, too many for another; connect again later (server.xds.limits.waitingStreams)"
    clerk.arrive("other", "a")
    assert clerk.line.waiting == 51


def test_streams_of_a_node_are_limited_wherever_they_are() -> None:
    clerk = Clerk(new_streams_per_second=1, streams_per_node=3)
    tickets = [clerk.arrive("h", "n") for _ in range(3)]
    assert clerk.line.waiting == 2 or len(clerk.admitted) < 3
    with pytest.raises(Refused) as refused:
        clerk.arrive("elsewhere", "n")
    assert refused.value.code == "RESOURCE_EXHAUSTED"
    assert str(refused.value) == "3 streams of the node 'n' are open, as many as one may have (server.xds.limits.streamsPerNode)"
    clerk.line.leave(tickets[1], clerk.now)
    clerk.line.leave(tickets[1], clerk.now)
    clerk.arrive("elsewhere", "n")
    with pytest.raises(Refused):
        clerk.arrive("elsewhere", "n")


class Doors(RuleBasedStateMachine):
    """Whatever comes and goes: the rate and the places hold, turns are fair, and nothing is kept of who is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(new_streams_per_second=100, streams_per_node=4, waiting_streams=12)
        self.line = Line(self.limits)
        self.now = 0.0
        self.began = 0.0
        self.waiting: list[Ticket] = []
        self.joining: list[Ticket] = []
        self.open: list[Ticket] = []
        self.let_in = 0
        self.passed: dict[Ticket, list[Ticket]] = {}

    @rule(host=st.sampled_from("xyz"), node=st.sampled_from("abcd"))
    def arrives(self, host: str, node: str) -> None:
        of_node = [ticket for ticket in (*self.waiting, *self.joining, *self.open) if ticket.node == node]
        of_host = [ticket for ticket in self.waiting if ticket.host == host]
        room = len(of_node) < 4 and len(of_host) < 12 - len(self.waiting)
        try:
            ticket = self.line.arrive(host, node, self.now)
        except Refused:
            assert not room
            return
        assert room
        self.waiting.append(ticket)
        self.passed[ticket] = []

    @precondition(lambda self: self.line.next_turn() is not None)
    @rule(late=st.sampled_from((0.0, 0.004, 0.02, 1.0)))
    def turns(self, late: float) -> None:
        planned = self.line.next_turn()
        assert planned is not None
        self.now = max(self.now, planned + late)
        places = AT_ONCE - len(self.joining)
        admitted = self.line.turn(self.now)
        assert admitted or places == 0
        assert len(admitted) <= (1 if self.now - planned > BEHIND else places)
        for ticket in admitted:
            self.waiting.remove(ticket)
            self.joining.append(ticket)
            self.let_in += 1
            self.judge(ticket)

    def judge(self, ticket: Ticket) -> None:
        """It waited for one of each other host, for one of each other node of its own, and for those of its node that came before it."""
        for other in self.waiting:
            self.passed[other].append(ticket)
        passed = self.passed.pop(ticket)
        siblings = [one for one in passed if one.host == ticket.host]
        earlier = [one for one in siblings if one.node == ticket.node]
        turns = len(earlier) + 1
        for node in {one.node for one in siblings} - {ticket.node}:
            assert len([one for one in siblings if one.node == node]) <= turns
        for host in {one.host for one in passed} - {ticket.host}:
            assert len([one for one in passed if one.host == host]) <= len(siblings) + 1

    @precondition(lambda self: self.joining)
    @rule(data=st.data())
    def joins(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.joining))
        self.line.joined(ticket, self.now)
        self.joining.remove(ticket)
        self.open.append(ticket)

    @precondition(lambda self: self.waiting or self.joining or self.open)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from((*self.waiting, *self.joining, *self.open)))
        self.line.leave(ticket, self.now)
        for those in (self.waiting, self.joining, self.open):
            if ticket in those:
                those.remove(ticket)
        self.passed.pop(ticket, None)

    @rule(seconds=st.sampled_from((0.0, 0.003, 0.1, 5.0)))
    def waits(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def holds(self) -> None:
        assert self.line.waiting == len(self.waiting)
        assert self.let_in <= (self.now - self.began + 2 * TURN) * 100 + 1
        if self.waiting:
            assert (self.line.next_turn() is None) == (len(self.joining) >= AT_ONCE)

    def teardown(self) -> None:
        for ticket in (*self.waiting, *self.joining, *self.open):
            self.line.leave(ticket, self.now)
        assert self.line.waiting == 0
        assert not self.line._hosts
        assert not self.line._of_node
        assert not self.line._joining
        assert not self.line._open


TestDoors = Doors.TestCase
TestDoors.settings = settings(max_examples=examples(100), stateful_step_count=40, deadline=None)
