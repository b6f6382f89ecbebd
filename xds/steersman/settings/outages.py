"""What the configuration says of clusters whose API is silent."""

from dataclasses import dataclass

from steersman.model.clusters import OutagePolicy
from steersman.settings import values
from steersman.settings.strict import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageSettings:
    """What becomes of a cluster's endpoints when its API has been silent for `after` seconds."""

    policy: OutagePolicy = OutagePolicy.KEEP
    after: float = 60.0


KEEP = OutageSettings()


def outage_of(section: Section, default: OutageSettings) -> OutageSettings:
    """`default`: what holds for the keys that aren't there."""
    outage = OutageSettings(
        policy=section.take("policy", values.choice_of(OutagePolicy), default.policy),
        after=section.take("after", values.duration, default.after),
    )
    section.close()
    return outage
