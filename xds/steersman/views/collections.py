"""The collections of the views."""

from typing import NamedTuple

from steersman.graph import Derived
from steersman.model.ids import ServicePortKey
from steersman.model.mesh import Horizon, SplitHorizon, Standpoint, Traits, Verdict


class VerdictKey(NamedTuple):
    traits: Traits
    horizon: Horizon


class SeenKey(NamedTuple):
    """A service port as seen from a horizon."""

    port: ServicePortKey
    horizon: Horizon


STANDPOINTS: Derived[str, Standpoint | None] = Derived("standpoints")
"""By node id; None where no such proxy is connected."""

VERDICTS: Derived[VerdictKey, Verdict] = Derived("verdicts")
"""The one answer to "in or out, by which rule": split horizon and explain read the same."""

SEEN: Derived[SeenKey, SplitHorizon] = Derived("seen")
