"""The door of the xDS address: the shell around the line in which new streams stand."""

import asyncio

from steersman.admin.counters import Counters
from steersman.ads.line import Line, Refused, Ticket
from steersman.model.limits import Limits


class Door:
    """Lets streams in by turns. One loop's; no locks."""

    def __init__(self, limits: Limits, counters: Counters) -> None:
        self._line = Line(limits)
        self._most = limits.streams
        self._counters = counters
        self._calls: dict[Ticket, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return self._line.waiting

    def full(self) -> str:
        """Counts a stream for which there is no room at all; what it is to be told."""
        refused = Refused("RESOURCE_EXHAUSTED", "streams", f"{self._most} streams are open, as many as there may be")
        self._counters.turned_away[refused.limit] += 1
        return str(refused)

    async def enter(self, peer: str, node: str) -> Ticket:
        """Returns when it is this stream's turn, with what `joined` and `leave` take. `peer`: as gRPC writes addresses. Raises Refused."""
        loop = asyncio.get_running_loop()
        try:
            ticket = self._line.arrive(peer.rpartition(":")[0], node, loop.time())
        except Refused as refused:
            self._counters.turned_away[refused.limit] += 1
            raise
        call = self._calls[ticket] = loop.create_future()
        self._turn()
        try:
            await call
        except asyncio.CancelledError:
            self.leave(ticket)
            raise
        finally:
            del self._calls[ticket]
        self._counters.waits.observe(loop.time() - ticket.since)
        return ticket

    def joined(self, ticket: Ticket) -> None:
        """The server has done its part of the stream's beginning."""
        self._line.joined(ticket, asyncio.get_running_loop().time())
        self._turn()

    def leave(self, ticket: Ticket) -> None:
        """The stream is over."""
        self._line.leave(ticket, asyncio.get_running_loop().time())
        self._turn()

    def _turn(self) -> None:
        """Has the turn that is due, and sets the clock for the next one."""
        loop = asyncio.get_running_loop()
        planned = self._line.next_turn()
        if planned is not None and planned <= loop.time():
            for ticket in self._line.turn(loop.time()):
                call = self._calls[ticket]
                if not call.done():
                    call.set_result(None)
            planned = self._line.next_turn()
        if planned is not None and self._timer is None:
            self._timer = loop.call_at(planned, self._rang)

    def _rang(self) -> None:
        self._timer = None
        self._turn()
