"""make bench: runs every benchmark, prints a line for each figure, and writes them as JSON to the file that --json names.

python -m tests.bench [NAME ...] [--json FILE]
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import change, visible
from tests.bench.figures import Figure, write

BENCHMARKS: dict[str, Callable[[], Sequence[Figure]]] = {
    "change": change.run,
    "visible": visible.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Medians with their spread, beside a reference of the same run."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *BENCHMARKS], help=f"only these: {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    arguments = parser.parse_args()
    figures: list[Figure] = []
    for name in arguments.names or BENCHMARKS:
        for figure in BENCHMARKS[name]():
            print(figure.line(), flush=True)
            figures.append(figure)
    if arguments.json:
        write(figures, arguments.json)


if __name__ == "__main__":
    main()
