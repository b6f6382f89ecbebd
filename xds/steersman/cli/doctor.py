"""steersman doctor: what should be mended in a configuration and its objects, without a server."""

import argparse
from typing import TYPE_CHECKING

from steersman.cli.parser import Commands, add_config, add_output, command

if TYPE_CHECKING:
    from steersman.admin import inspect_pb2 as pb


def add_parser(commands: Commands) -> None:
    parser = command(
        commands,
        "doctor",
        run,
        summary="check a configuration and its objects, without a server",
        text="""
            Reads the configuration and the objects of all its clusters once, and says what should be mended. Each finding has an id
            (docs/findings.md), the object that it is about and where that is written, the cause, and the remedy. A running server has
            the same, and what only connected proxies show, under /debug/findings.

            Exit code 1: there is a finding of severity error; with --fail-on warning, of severity warning or error. Exit code 2: the
            configuration itself can't be used, as its messages say.
            """,
        example="""
            steersman doctor -c config/steersman.yaml
            steersman doctor -c config/steersman.yaml --fail-on warning -o json
            """,
    )
    add_config(parser)
    parser.add_argument(
        "--fail-on", choices=("error", "warning"), default="error", help="severity that makes the exit code 1 (default: %(default)s)"
    )
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    from steersman.admin import inspect_pb2 as pb
    from steersman.admin.answers import finding
    from steersman.admin.protojson import as_dict
    from steersman.cli.offline import offline
    from steersman.cli.output import show, structured
    from steersman.explain.findings import findings, in_order, settings_findings

    mesh = offline(args.config)
    found = [finding(one) for one in in_order((*settings_findings(mesh.settings), *findings(mesh.pipeline)))]
    show(_text(found) if args.output == "table" else structured([as_dict(one) for one in found], args.output))
    bad = (pb.Finding.ERROR,) if args.fail_on == "error" else (pb.Finding.ERROR, pb.Finding.WARNING)
    return 1 if any(one.severity in bad for one in found) else 0


def _text(found: "list[pb.Finding]") -> str:
    from steersman.admin import inspect_pb2 as pb

    blocks = []
    counts: dict[str, int] = {}
    for one in found:
        severity = pb.Finding.Severity.Name(one.severity).lower()
        counts[severity] = counts.get(severity, 0) + 1
        at = f"\n  at      {one.place}" if one.place else ""
        blocks.append(f"{severity} {one.id}: {one.object}{at}\n  cause   {one.cause}\n  remedy  {one.remedy}\n")
    total = ", ".join(f"{count} {severity}{'s' if count > 1 and severity != 'info' else ''}" for severity, count in counts.items())
    return "\n".join([*blocks, f"{len(found)} finding{'s' if len(found) > 1 else ''}: {total}\n" if found else "No findings.\n"])
