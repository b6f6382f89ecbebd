"""How answers are printed."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Left-aligned columns, three blanks between them, as istioctl and kubectl print; an empty cell is a dash. Ends in a newline."""
    lines = [list(columns), *([cell or "-" for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    return "".join("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines)


def as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def as_yaml(value: Any) -> str:
    """Keys in the order of the value; long lines unbroken, so that they can be searched; texts of several lines as blocks."""
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    dumper: Any = type("Dumper", (base,), {"ignore_aliases": lambda self, data: True})
    dumper.add_multi_representer(dict, lambda self, data: self.represent_dict(data.items()))
    dumper.add_representer(str, _text)
    text: str = yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True, width=2**31 - 1)
    return text


def _text(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def structured(value: Any, form: str) -> str:
    """`form`: "json" or "yaml"."""
    return as_json(value) if form == "json" else as_yaml(value)


def show(text: str) -> None:
    sys.stdout.write(text)


def note(text: str) -> None:
    """Beside the answer, so that the answer can be piped."""
    print(text, file=sys.stderr)
