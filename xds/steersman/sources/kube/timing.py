"""How long everything may take, in seconds: one place, so that tests can shorten it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations in seconds.

    `connect`: until a connection stands, with TLS. `answer`: until an answer begins, and between two pieces of it. `first_silence`: between
    two pieces of a WatchList that has not told all yet. `silence`: of a watch; API servers send a bookmark a minute. `watch`: the least and
    the most that a watch is asked to last. `short`: a watch that ended sooner has failed. `backoff_first`, `backoff_last`: the wait after
    the first failure in a row, doubled up to the last. `missing`: the most between looks at a resource that may not be read, or an optional
    one that isn't served: who mends that looks whether it helped. `heartbeat`: between heartbeats; `heartbeat_answer`: until one has
    failed; `heartbeat_failed`: until the next then. `renewal`: between readings of the credentials, and `credentials` until one has failed.
    `patience`: how long facts are held back for the sake of a resource that is failing. `grace`: how long something must be wrong before
    the cluster counts as stale, and right again before it does not. `removal_grace`: for how long after trouble what is lost is doubted
    still: a cluster's controllers take half a minute to find each other, and their nodes, again. `tick`: between looks at how the cluster
    stands. `warm`: how long an API may say nothing good at the start before its warm file is used. That is written `keep_first` after first
    facts, then at most every `keep` while something changes, and every `keep_contact` otherwise.
    """

    connect: float = 4.0
    answer: float = 30.0
    first_silence: float = 15.0
    silence: float = 150.0
    watch: tuple[int, int] = (290, 580)
    short: float = 1.0
    backoff_first: float = 0.2
    backoff_last: float = 30.0
    missing: float = 10.0
    heartbeat: float = 5.0
    heartbeat_answer: float = 4.0
    heartbeat_failed: float = 1.0
    renewal: float = 1.0
    credentials: float = 30.0
    patience: float = 5.0
    grace: float = 2.0
    removal_grace: float = 30.0
    tick: float = 0.5
    warm: float = 2.0
    keep_first: float = 5.0
    keep: float = 30.0
    keep_contact: float = 300.0
