"""What a benchmark returns, and how it is shown."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """`times` in milliseconds. `reference`: those of what it is compared with, measured between its rounds; `compared`: what that is."""

    name: str
    times: tuple[float, ...]
    reference: tuple[float, ...]
    compared: str

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    @property
    def ratio(self) -> float:
        """How many times the reference's median."""
        return self.median / statistics.median(self.reference)

    def spread(self) -> tuple[float, float, float]:
        """Least, 99th percentile, most."""
        ordered = sorted(self.times)
        return ordered[0], ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], ordered[-1]

    def line(self) -> str:
        least, p99, most = self.spread()
        return (
            f"{self.name:<58} {self.median:9.3f} ms  [{least:.3f} - {most:.3f}, p99 {p99:.3f}, n={len(self.times)}]"
            f"  {self.ratio:7.1f} x {self.compared} ({statistics.median(self.reference):.3f} ms)"
        )


def write(figures: Sequence[Figure], path: Path) -> None:
    """As JSON, with everything that `line` shows."""
    rows = [{**asdict(figure), "median": figure.median, "ratio": figure.ratio} for figure in figures]
    path.write_text(json.dumps(rows, indent=2) + "\n")
