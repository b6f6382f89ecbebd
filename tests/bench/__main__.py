"""make bench: runs every benchmark, prints each figure with its spread, its references and its target, and writes them all as JSON.

python -m tests.bench [NAME ...] [--json FILE]
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.bench import (
    build,
    change,
    changes,
    churn,
    envoys,
    fanout,
    held,
    idle,
    kubernetes,
    proxies,
    reconnect,
    soak,
    storm,
    visible,
    warm,
)
from tests.bench.figures import Figure, machine, write

BENCHMARKS: dict[str, Callable[[], Iterable[Figure]]] = {
    "build": build.run,
    "change": change.run,
    "changes": changes.run,
    "churn": churn.run,
    "envoys": envoys.run,
    "fanout": fanout.run,
    "held": held.run,
    "idle": idle.run,
    "kubernetes": kubernetes.run,
    "proxies": proxies.run,
    "reconnect": reconnect.run,
    "soak": soak.run,
    "storm": storm.run,
    "visible": visible.run,
    "warm": warm.run,
}
JSON = Path("build/bench.json")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Medians with their spread, beside references of the same run and the targets."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *BENCHMARKS], help=f"only these: {', '.join(BENCHMARKS)}")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", default=JSON, help="where the figures are written as well (default: %(default)s)"
    )
    arguments = parser.parse_args()
    print(", ".join(f"{name} {value}" for name, value in machine().items()), flush=True)
    figures: list[Figure] = []
    for name in arguments.names or BENCHMARKS:
        print(f"-- {name}", flush=True)
        began = time.monotonic()
        for figure in BENCHMARKS[name]():
            print(*figure.lines(), sep="\n", flush=True)
            figures.append(figure)
            write(figures, arguments.json)
        print(f"   ({time.monotonic() - began:.0f} s)", flush=True)
    missed = [figure.name for figure in figures if figure.reached is False]
    promised = sum(figure.reached is not None for figure in figures)
    print(f"-- {promised - len(missed)} of {promised} targets reached; figures in {arguments.json}")
    for name in missed:
        print(f"missed: {name}", file=sys.stderr)


if __name__ == "__main__":
    main()
