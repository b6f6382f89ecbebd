"""Golden files: what the code gives now against what was reviewed. One flag, --update-golden, rewrites them."""

from collections.abc import Iterable
from difflib import unified_diff
from pathlib import Path
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Block style, keys in the order given, long lines left whole: a review reads the diff."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


_Dumper.add_multi_representer(str, lambda dumper, text: dumper.represent_str(str(text)))


def as_yaml(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
    return text


def compare(file: Path, text: str, *, update: bool) -> None:
    """Fails, with the difference, where the file doesn't hold this text; writes it instead with `update`."""
    if update:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return
    held = file.read_text() if file.exists() else ""
    if held != text:
        diff = "".join(unified_diff(held.splitlines(True), text.splitlines(True), f"{file.name} as reviewed", f"{file.name} as it is now"))
        raise AssertionError(f"{file} differs (`make golden` rewrites it, for review):\n{diff}")


def stale(directory: Path, cases: Iterable[str], *, update: bool) -> list[Path]:
    """Golden files of no case, by stem; removed with `update`."""
    names = set(cases)
    found = sorted(file for file in directory.glob("*.yaml") if file.stem not in names)
    if not update:
        return found
    for file in found:
        file.unlink()
    return []
