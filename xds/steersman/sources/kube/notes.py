"""What the log says of the removal guard's holds."""

import logging
from collections.abc import Sequence

from steersman.model.clusters import moment
from steersman.model.ids import ClusterID
from steersman.model.removals import HeldRemoval
from steersman.sources.kube.held import HeldFacts

log = logging.getLogger("steersman.kubernetes")

_SHOWN = 3
"""Holds named in a line: in a bad hour there is one for each Service."""


def log_removals(cluster: ClusterID, told: HeldFacts) -> None:
    """A line for the holds that began, and one for those that ended for the same reason."""
    if told.began:
        until = moment(max(held.until for held in told.began))
        words = "cluster %s: a mass removal is held until %s: %s; `steersman release %s` lets go of all"
        log.warning(words, cluster, until, _listed([f"{held.what} ({held.cause})" for held in told.began]), cluster)
        told.began.clear()
    by_reason: dict[str, list[HeldRemoval]] = {}
    for held, why in told.ended:
        by_reason.setdefault(why, []).append(held)
    told.ended.clear()
    for why, over in by_reason.items():
        log.warning("cluster %s: a mass removal is held no longer (%s): %s", cluster, why, _listed([held.what for held in over]))


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
