"""make fuzz: bytes of clients against the decoding and both streams, by atheris, guided by what they reach.

python -m tests.fuzz [--seconds N] [--corpus DIR]

What it finds interesting it keeps in the corpus, so that the next run goes on from there. Bytes that break something are written to a file,
which `python -m tests.fuzz FILE` plays again.
"""

import argparse
import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]  # has no types, and is not to be had everywhere

CORPUS = Path("build/fuzz")
OURS = ["steersman.ads", "steersman.model.ids", "steersman.names", "steersman.snapshot"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzzes what clients send, as bytes.")
    parser.add_argument("file", nargs="?", type=Path, help="play only this, as a run before has written it")
    parser.add_argument("--seconds", type=int, default=300, help="how long (default: %(default)s)")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="where seeds and finds are kept (default: %(default)s)")
    arguments = parser.parse_args()
    with atheris.instrument_imports(include=OURS, enable_loader_override=False):
        from tests.fuzz.corpus import write
        from tests.fuzz.subject import plays
    if arguments.file is not None:
        plays(arguments.file.read_bytes())
        print(f"{arguments.file}: nothing breaks")
        return
    write(arguments.corpus)
    finds = arguments.corpus.parent / f"{arguments.corpus.name}-found-"
    options = [f"-max_total_time={arguments.seconds}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=2048", f"-artifact_prefix={finds}"]
    atheris.Setup([sys.argv[0], str(arguments.corpus), *options], plays)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
