"""The section warmStart: where what clusters told last is kept over a restart."""

from dataclasses import dataclass
from pathlib import Path

from steersman.settings import values
from steersman.settings.strict import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStartSettings:
    """`directory`: of a file for each cluster that is read from its API; None: nothing is kept. `max_age`: seconds since the last contact
    with the cluster after which its file is not used."""

    directory: Path | None
    max_age: float = 24 * 3600.0


def warm_start(section: Section, base: Path, ca: Path) -> WarmStartSettings:
    """`base`: what a relative path is relative to. `ca`: the certificate authority's directory, beside which the default is: where one can
    be written, so can the other."""
    enabled = section.take("enabled", values.boolean, True)
    directory = section.take("directory", values.path_from(base, ""), ca.parent / "warm")
    if directory.exists() and not directory.is_dir():
        section.wrong("directory", str(directory), "a directory, or a path where one can be made")
    max_age = section.take("maxAge", values.duration, 24 * 3600.0)
    section.close()
    return WarmStartSettings(directory=directory if enabled else None, max_age=max_age)
