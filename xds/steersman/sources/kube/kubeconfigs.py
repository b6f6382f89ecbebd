"""A directory of kubeconfigs, each of one cluster: the name of a file without its extension is the cluster's."""

from pathlib import Path

from steersman.model.facts import Finding, Severity
from steersman.sources.kube.registrations import Claim


def claims_in(directory: Path) -> tuple[Claim, ...] | None:
    """What the files in a directory claim; None where it can't be read. Hidden files, and what editors leave behind, are none."""
    try:
        found = sorted(directory.iterdir())
    except OSError:
        return None
    return tuple(claim for path in found if not path.name.startswith(".") and not path.name.endswith("~") and (claim := _claim(path)))


def missing(directory: Path) -> Finding:
    return Finding(
        id="directory-missing",
        severity=Severity.ERROR,
        object="Source remoteClusters",
        place=str(directory),
        cause=f"{directory} is no directory that can be read; the clusters that it held last are kept",
        remedy="restore the directory, or remove remoteClusters.kubeconfigs from the configuration",
    )


def _claim(path: Path) -> Claim | None:
    try:
        if not path.is_file():
            return None
        found = path.stat()
    except OSError:
        return None
    version = f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"
    return Claim(cluster=path.stem, place=str(path), order=("0", path.name), version=version, file=path)
