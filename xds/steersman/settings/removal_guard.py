"""The section removalGuard: how much of a service may vanish at once, when its cluster's API is not to be trusted, before it is held."""

import re
from dataclasses import dataclass

from steersman.settings import values
from steersman.settings.strict import Section, Wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalGuardSettings:
    """`share`: of a service's endpoints, from 0 to 1; what is lost of it must be more. `at_least`: so many endpoints must be missing in the
    cluster altogether. `hold`: seconds."""

    enabled: bool = True
    share: float = 0.5
    at_least: int = 3
    hold: float = 300.0


GUARDED = RemovalGuardSettings()


def removal_guard_of(section: Section, default: RemovalGuardSettings) -> RemovalGuardSettings:
    """`default`: what holds for the keys that aren't there."""
    guard = RemovalGuardSettings(
        enabled=section.take("enabled", values.boolean, default.enabled),
        share=section.take("share", _share, default.share),
        at_least=section.take("atLeast", values.count, default.at_least),
        hold=section.take("hold", values.duration, default.hold),
    )
    section.close()
    return guard


_PERCENT = re.compile(r"([0-9]{1,2}(?:\.[0-9]+)?)%")


def _share(value: object) -> float:
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Wrong('a share such as "50%", from 0% to less than 100%')
    return float(match[1]) / 100
