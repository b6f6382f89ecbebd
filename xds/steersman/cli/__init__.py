"""The command `steersman`. Exit codes: 0 fine, 1 the answer is bad news, 2 wrong use.

Each command is a module with `add_parser(commands)`. Heavy modules are imported when a command runs, so that --help answers at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from steersman.cli import bootstrap, clusters, doctor, explain, lab, proxies, proxy_config, release, remote_secret, render, serve
from steersman.cli.errors import WrongUse
from steersman.cli.parser import Commands, Help
from steersman.errors import ConfigError, SteersmanError

COMMANDS = (serve, render, bootstrap, clusters, release, proxies, proxy_config, explain, doctor, remote_secret, lab)
"""In the order in which --help lists them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. Nothing a user can type or write in a file ends in a traceback."""
    try:
        args = _parser().parse_args(argv)
        code: int = args.run(args)
        sys.stdout.flush()
    except SystemExit as end:  # argparse's, after --help or wrong use
        return end.code if isinstance(end.code, int) else 2
    except (ConfigError, WrongUse) as error:
        print(f"steersman: {error}", file=sys.stderr)
        return 2
    except SteersmanError as error:
        print(f"steersman: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has had enough. Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="steersman",
        formatter_class=Help,
        description="A Pilot-like xDS control plane for Envoy: several clusters, several networks, one mesh.",
        epilog="steersman COMMAND --help says more and gives an example. Exit codes: 0 fine, 1 the answer is bad news, 2 wrong use.",
    )
    parser.add_argument("--version", action=_Version, help="print the version")
    commands: Commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


class _Version(argparse.Action):
    """argparse's own `version` action would want the text, and so the package's metadata, at every start."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:  # noqa: A002 (argparse's name)
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from steersman import __version__

        print(f"steersman {__version__}")
        parser.exit()
