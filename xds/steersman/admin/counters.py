"""What the server counts as it goes. Only counts: what can be read off the present state is read off when it is asked for."""

from bisect import bisect_left
from collections import Counter

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets in which times are counted; what is longer than the last counts only in the total."""


class Histogram:
    """How often something took how long. `buckets[i]`: how many took at most SECONDS[i] and more than SECONDS[i - 1]."""

    __slots__ = ("buckets", "count", "total")

    def __init__(self) -> None:
        self.buckets = [0] * len(SECONDS)
        self.count = 0
        self.total = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        place = bisect_left(SECONDS, seconds)
        if place < len(SECONDS):
            self.buckets[place] += times
        self.count += times
        self.total += seconds * times


class Counters:
    """Since this server started. "by type": under the short name of a resource type ("cds", ...; the type URL where it has none).

    `pushes`: responses sent, by type. `pushed_resources`, `pushed_bytes`: what was in them, by type. `rejects`: NACKs, by type.
    `heartbeats`: responses that only keep what a client has from expiring, by type.
    `expired_nonces`: requests with a nonce that is no longer the last one's, by type. `streams`: streams opened, by protocol
    ("delta", "sotw", "lrs"). `closed`: streams that ended, by gRPC status. `facts`: facts that changed something, by (kind, "upsert" or
    "delete"). `turned_away`: streams that were not let in, by the limit that says so (a key of server.xds.limits). `waits`: seconds that
    streams stood in line. `generations`: settlements. `computed`: values computed in them. `failures`: values whose computation raised.
    `internal_errors`: bugs that cost a stream or a source. `settling`: seconds from the first fact taken to a complete
    generation. `convergence`: seconds from a fact's being seen to the last response that it caused being handed to a stream, once
    a stream.
    """

    def __init__(self) -> None:
        self.pushes: Counter[str] = Counter()
        self.pushed_resources: Counter[str] = Counter()
        self.pushed_bytes: Counter[str] = Counter()
        self.rejects: Counter[str] = Counter()
        self.heartbeats: Counter[str] = Counter()
        self.expired_nonces: Counter[str] = Counter()
        self.streams: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.turned_away: Counter[str] = Counter()
        self.facts: Counter[tuple[str, str]] = Counter()
        self.generations = 0
        self.computed = 0
        self.failures = 0
        self.internal_errors = 0
        self.settling = Histogram()
        self.convergence = Histogram()
        self.waits = Histogram()
