"""How long everything may take, in seconds: one place, so that tests can shorten it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations in seconds.

    `connect`: until a connection stands, with TLS. `answer`: until an answer begins, and between two pieces of it. `first_silence`: between

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
    tick: float = 0.5
    warm: float = 2.0
    keep_first: float = 5.0
    keep: float = 30.0
    keep_contact: float = 300.0
