"""When a cluster's first facts are told, whether its warm file stands in for them, and when that file is written anew. Pure: no clock."""

import math
from collections.abc import Sequence
from enum import StrEnum

from steersman.sources.kube.reflector import Standing
from steersman.sources.kube.state import ResourceStatus, is_settled
from steersman.sources.kube.timing import Timing

_HOLD_BACK = 0.9
"""The part of the cluster's time-out for which first facts are held back at most."""


class Due(StrEnum):
    """NOTHING: first facts are still waited for. WARM: the API gives nothing, so that the warm file should. FACTS: what there is."""

    NOTHING = "nothing"
    WARM = "warm"
    FACTS = "facts"


class FirstTelling:
    """First facts come together: a Service without its slices, because they are slower, is no Service without endpoints.

    So they do again where a warm file stood in for all of them: until the API is heard, nothing is waited for, and then as at the start.
    Times are seconds of any steady clock; `timeout`: seconds that the cluster is waited for.
    """

    def __init__(self, timing: Timing, timeout: float, now: float) -> None:
        self._timing = timing
        self._timeout = timeout
        self._began = now
        self._stood_in = math.inf

    def stand_in(self, now: float) -> None:
        """The warm file was told."""
        self._stood_in = now

    def due(self, now: float, resources: Sequence[ResourceStatus], heard: float, *, out: bool, warm: bool) -> Due:
        """`heard`: when anything good came of the API last. `out`: it is known not to answer, or not to us. `warm`: there may be a file."""
        if self._stood_in < math.inf:
            if heard <= self._stood_in:
                return Due.NOTHING
            self._stood_in, self._began = math.inf, now
        waited = now - self._began
        if all(is_settled(resource) for resource in resources) or waited >= _HOLD_BACK * self._timeout:
            return Due.FACTS
        if waited >= self._timing.patience and all(resource.whole or resource.standing is not Standing.SYNCING for resource in resources):
            return Due.FACTS
        if warm and waited >= self._timing.warm and (out or heard < self._began):
            return Due.WARM
        return Due.NOTHING


class Keeping:
    """When a warm file is written: soon after the first facts, now and then while something changes, and rarely for the time of contact
    alone; when an outage begins, at once, as that time is what its policy counts from. `contact`: wall clock seconds of the last one."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._began = math.inf
        self._tried = -math.inf
        self._kept: tuple[int, float] | None = None
        self._failed = False

    def due(self, now: float, changes: int, contact: float, *, out: bool) -> bool:
        timing, waited = self._timing, now - self._tried
        if self._kept is None and not self._failed:
            self._began = min(self._began, now)
            return now - self._began >= timing.keep_first
        if self._failed or self._kept is None:
            return waited >= timing.keep
        kept_changes, kept_contact = self._kept
        if contact > kept_contact and (out or waited >= timing.keep_contact):
            return True
        return changes != kept_changes and waited >= timing.keep

    def is_behind(self, changes: int, contact: float) -> bool:
        """Whether the file lacks anything."""
        return self._kept is None or self._kept[0] != changes or self._kept[1] < contact

    def done(self, now: float, changes: int, contact: float, *, kept: bool) -> None:
        """It was written, or could not be."""
        self._tried, self._failed = now, not kept
        if kept:
            self._kept = (changes, contact)
