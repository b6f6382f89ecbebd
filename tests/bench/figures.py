"""What a benchmark returns, and how it is shown."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple


class Reference(NamedTuple):
    """What a figure is compared with, measured between its rounds and in its unit."""

    name: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`values`: one a round, in `unit` (ms, s, us, KB, MB, bytes, or "" for a number of something).

    `target`, `p99_target`, `most_target`: what the median, the 99th percentile and the largest are to stay at or below; None: nothing was
    promised.
    """

    name: str
    values: tuple[float, ...]
    unit: str = "ms"
    references: tuple[Reference, ...] = ()
    target: float | None = None
    p99_target: float | None = None
    most_target: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def ratios(self) -> dict[str, float]:
        """How many times each reference's median."""
        return {reference.name: self.median / reference.median for reference in self.references if reference.median}

    def spread(self) -> tuple[float, float, float]:
        """Least, 99th percentile, most."""
        ordered = sorted(self.values)
        return ordered[0], ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], ordered[-1]

    def judged(self) -> dict[str, tuple[float, float]]:
        """What is measured beside what it is to stay at or below, by what that is: median, p99, most."""
        _, p99, most = self.spread()
        pairs = {"median": (self.median, self.target), "p99": (p99, self.p99_target), "most": (most, self.most_target)}
        return {name: (value, target) for name, (value, target) in pairs.items() if target is not None}

    @property
    def reached(self) -> bool | None:
        """None where there is no target."""
        judged = self.judged()
        return all(value <= target for value, target in judged.values()) if judged else None

    def lines(self) -> list[str]:
        """The figure, then a line for each reference."""
        least, p99, most = self.spread()
        spread = f"[{shown(least)} - {shown(most)}, p99 {shown(p99)}, n={len(self.values)}]"
        targets = ", ".join(f"{name} <= {shown(target)}" for name, (_, target) in self.judged().items())
        verdict = f"  {'reached' if self.reached else 'MISSED'}: {targets}" if targets else ""
        head = f"{self.name:<72} {shown(self.median):>9} {self.unit:<5} {spread:<46}{verdict}"
        return [head.rstrip(), *(f"    {self._ratio(one)} {one.name} ({shown(one.median)} {self.unit})" for one in self.references)]

    def _ratio(self, reference: Reference) -> str:
        return f"{self.ratios[reference.name]:6.2f} x" if reference.name in self.ratios else "     beside"


def shown(value: float) -> str:
    """Three digits that count."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("grpcio", "protobuf", "msgspec")},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write(figures: Sequence[Figure], path: Path) -> None:
    """As JSON, with everything that `lines` shows, and the machine."""
    rows = [
        {
            **asdict(figure),
            "references": [{"name": one.name, "median": one.median, "values": one.values} for one in figure.references],
            "median": figure.median,
            "ratios": figure.ratios,
            "reached": figure.reached,
        }
        for figure in figures
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), "figures": rows}, indent=2) + "\n")
