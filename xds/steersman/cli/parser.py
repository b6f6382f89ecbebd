"""What the commands' arguments have in common."""

import argparse
import shutil
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = object

DEFAULT_SERVER = "127.0.0.1:15011"

Run = Callable[[argparse.Namespace], int]


class Help(argparse.HelpFormatter):
    """Fills paragraphs, but leaves the line breaks of what is indented, such as examples."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=min(shutil.get_terminal_size().columns - 2, 100))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = textwrap.dedent(text).strip().split("\n\n")
        return "\n\n".join(
            paragraph if "\n  " in paragraph else super(Help, self)._fill_text(paragraph, width, indent) for paragraph in paragraphs
        )


def command(
    commands: Commands, name: str, run: Run, *, summary: str, text: str, example: str, alias: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """A command's parser, which sets `run` on what it parses. `text`: paragraphs. `example`: what to type, line by line."""
    parser = commands.add_parser(
        name,
        aliases=alias,
        help=summary,
        description=text,
        epilog="example:\n" + textwrap.indent(textwrap.dedent(example).strip(), "  "),
        formatter_class=Help,
    )
    parser.set_defaults(run=run)
    return parser


def add_config(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument("-c", "--config", metavar="FILE", required=required, help="the configuration file")


def add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--server", metavar="HOST:PORT", help=f"the running server's inspect address (default: $STEERSMAN_SERVER, else {DEFAULT_SERVER})"
    )


def add_output(parser: argparse.ArgumentParser, choices: Sequence[str] = ("table", "json", "yaml"), default: str = "table") -> None:
    parser.add_argument("-o", "--output", choices=choices, default=default, help="form of the output (default: %(default)s)")
