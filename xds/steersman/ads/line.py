"""New streams in line: who may come in, when, and in which order. Sans-IO: `now` is seconds of any clock that goes forward.

arrive --refused past a limit--> (ProtocolError)
   '--> line: by host, then node --turn: a few at a time, from each by turns--> joining --joined--> open
                                      ^ as many as the rate and the places give; but one, where the server is behind with its work
"""

from collections import Counter, OrderedDict

from steersman.errors import ProtocolError
from steersman.model.limits import Limits

TURN = 0.005
"""Seconds from one turn to the next."""
BEHIND = 0.010
"""A turn that comes later than this after its time says that the server has more to do than it can: those that are in go first."""
AT_ONCE = 64
"""Streams that may be joining: the server takes them into the mesh together, and none of it waits for a client."""


class Refused(ProtocolError):
    """A stream that is not let in. `limit`: the setting that says so."""

    def __init__(self, code: str, limit: str, message: str) -> None:
        self.limit = limit
        super().__init__(code, f"{message} (server.xds.limits.{limit})")


class Ticket:
    """A stream's place in line, then in the server. `since`: when it came."""

    __slots__ = ("host", "node", "since")

    def __init__(self, host: str, node: str, since: float) -> None:
        self.host = host
        self.node = node
        self.since = since


class _Host:
    """Those who wait from one host, by node. `waiting`: how many."""

    __slots__ = ("nodes", "waiting")

    def __init__(self) -> None:
        self.nodes: OrderedDict[str, OrderedDict[Ticket, None]] = OrderedDict()
        self.waiting = 0


class Line:
    """Whoever calls `arrive`, `joined` or `leave` then sees to it that `turn` is called at `next_turn`.

    The rate is kept by the time at which the next stream is allowed (a generic cell rate algorithm): exact, and nothing accumulates.

    Fair: a stream waits for one of each other host at most, and of its own host for one of each other node at most, before it is its turn
    or that of one that came before it from its node. A host may have as many in line as there are free places; so one that comes again and
    again takes half of the line at most, a second one a quarter, and there is room for others.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        self._of_node: Counter[str] = Counter()
        self._joining: set[Ticket] = set()
        self._open: set[Ticket] = set()
        self._apart = 1 / limits.new_streams_per_second
        self._allowed = 0.0
        self._planned = 0.0
        self.waiting = 0

    def arrive(self, host: str, node: str, now: float) -> Ticket:
        """A stream of this node has come, from this host; it stands in line. Raises Refused."""
        limits = self._limits
        if self._of_node[node] >= limits.streams_per_node:
            text = f"{self._of_node[node]} streams of the node {node!r} are open, as many as one may have"
            raise Refused("RESOURCE_EXHAUSTED", "streamsPerNode", text)
        found = self._hosts.get(host)
        if (found.waiting if found is not None else 0) >= limits.waiting_streams - self.waiting:
            raise Refused("UNAVAILABLE", "waitingStreams", f"{self.waiting} streams are in line, too many for another; connect again later")
        if found is None:
            found = self._hosts[host] = _Host()
        if not self.waiting:
            self._planned = max(self._planned, now)
        ticket = Ticket(host, node, now)
        found.nodes.setdefault(node, OrderedDict())[ticket] = None
        found.waiting += 1
        self.waiting += 1
        self._of_node[node] += 1
        return ticket

    def next_turn(self) -> float | None:
        """When to call `turn`; None: not before something happens."""
        if not self.waiting or len(self._joining) >= AT_ONCE:
            return None
        return self._planned

    def turn(self, now: float) -> list[Ticket]:
        """Those who come in now."""
        self._allowed = max(self._allowed, now - 2 * TURN)  # a turn that is late makes up for little of what it missed
        most = AT_ONCE if now - self._planned <= BEHIND else 1
        admitted: list[Ticket] = []
        while self.waiting and len(admitted) < most and self._allowed <= now and len(self._joining) < AT_ONCE:
            self._allowed += self._apart
            ticket = self._first()
            self._joining.add(ticket)
            admitted.append(ticket)
        self._planned = max(now + TURN, self._allowed)
        return admitted

    def joined(self, ticket: Ticket, now: float) -> None:
        """The server has done its part: what comes now is for the client to ask."""
        if ticket in self._joining:
            self._joining.remove(ticket)
            self._open.add(ticket)
            self._planned = max(self._planned, now)

    def leave(self, ticket: Ticket, now: float) -> None:
        """The stream is over, wherever it was; idempotent."""
        if ticket in self._open:
            self._open.remove(ticket)
        elif ticket in self._joining:
            self._joining.remove(ticket)
            self._planned = max(self._planned, now)
        elif not self._stepped_out(ticket):
            return
        self._of_node[ticket.node] -= 1
        if not self._of_node[ticket.node]:
            del self._of_node[ticket.node]

    # -- the line -------------------------------------------------------------------------------------------------------------

    def _first(self) -> Ticket:
        """Whose turn it is; its host and its node are the last to have another."""
        name, host = next(iter(self._hosts.items()))
        node, tickets = next(iter(host.nodes.items()))
        ticket = next(iter(tickets))
        self._hosts.move_to_end(name)
        host.nodes.move_to_end(node)
        self._stepped_out(ticket)
        return ticket

    def _stepped_out(self, ticket: Ticket) -> bool:
        """Takes it out of the line; False if it doesn't stand there."""
        host = self._hosts.get(ticket.host)
        tickets = host.nodes.get(ticket.node) if host is not None else None
        if host is None or tickets is None or ticket not in tickets:
            return False
        del tickets[ticket]
        host.waiting -= 1
        self.waiting -= 1
        if not tickets:
            del host.nodes[ticket.node]
        if not host.waiting:
            del self._hosts[ticket.host]
        return True
