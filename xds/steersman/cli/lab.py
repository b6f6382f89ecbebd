"""steersman lab: a mesh of real Envoys on this machine."""

import argparse

from steersman.cli.errors import WrongUse
from steersman.cli.output import show, structured
from steersman.cli.parser import Commands, Help, Run, add_output, command

_FILE = "a lab file, or the name of one that comes with Steersman (default: two-networks)"
_TARGET = "CLUSTER/[NAMESPACE/]POD or CLUSTER/[NAMESPACE/]APP, such as east/reviews-v1 or west/ratings"


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser(
        "lab",
        help="run a mesh of real Envoys on this machine",
        description="""
            Runs a whole mesh on this machine as one tree of processes: the control plane, apps, a real Envoy beside each of
            them, and gateways between networks. As root on Linux every pod gets a network namespace of its own, two clusters
            may use the same addresses, and only the gateways are joined. Without root all use loopback addresses, and nothing
            is isolated.
            """,
        epilog="example:\n  steersman lab up\n  steersman lab curl east/productpage -s http://reviews:9080/",
        formatter_class=Help,
    )
    verbs: Commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _up(verbs)
    _down(verbs)
    _demo(verbs)
    _status(verbs)
    _inside(verbs)
    _steering(verbs)


def _up(verbs: Commands) -> None:
    parser = _verb(
        verbs,
        "up",
        _run_up,
        summary="run a lab until Ctrl-C",
        text="""
            Starts everything that the lab file names, says where it is once all of it is ready, and ends all of it on Ctrl-C
            or SIGTERM. What runs writes its logs, and the objects that Steersman watches, into a directory that `lab status`
            names.
            """,
        example="steersman lab up config/labs/two-networks.yaml",
        one_run=False,
    )
    _add_file(parser)


def _down(verbs: Commands) -> None:
    _verb(
        verbs,
        "down",
        _run_down,
        summary="end labs, and clean up after those that were killed",
        text="""
            Ends every lab of this user that still runs, and removes what one that was killed has left: processes by their
            recorded ids, network namespaces by the run's own prefix, and its directory.
            """,
        example="steersman lab down",
    )


def _demo(verbs: Commands) -> None:
    parser = _verb(
        verbs,
        "demo",
        _run_demo,
        summary="run a lab, show traffic crossing it, break it, and check what was seen",
        text="""
            Runs a lab of Bookinfo over two networks; sends requests through its proxies and says who answered, from where and
            through which gateway; shows what each side's proxy knows of reviews; stops one side's reviews and shows the
            failover. Exits 0 only if all of that was seen.
            """,
        example="steersman lab demo",
        one_run=False,
    )
    _add_file(parser)
    parser.add_argument("--keep", action="store_true", help="keep the run's directory, with all logs")


def _status(verbs: Commands) -> None:
    parser = _verb(
        verbs,
        "status",
        _run_status,
        summary="what runs, where it is, and whether it is ready",
        text="""
            Shows a running lab: its control plane, pods with their addresses and processes, gateways and forwarded ports. Exits 1 if
            a part isn't ready.
            """,
        example="steersman lab status",
    )
    add_output(parser)


def _inside(verbs: Commands) -> None:
    execute = _verb(
        verbs,
        "exec",
        _run_exec,
        summary="run a command inside a pod's network",
        text="""
            Runs a command in a pod's network namespace, with the names of its cluster's services in /etc/hosts, so that what
            it sends goes through the pod's sidecar. The target `steersman` is the control plane's network.
            """,
        example="""
            steersman lab exec east/productpage -- curl -s http://reviews:9080/
            steersman lab exec east/productpage -- curl -s localhost:15000/clusters
            """,
    )
    execute.add_argument("target", help=_TARGET)
    execute.add_argument("command", nargs=argparse.REMAINDER, help="the command, after --")
    curl = _verb(
        verbs,
        "curl",
        _run_curl,
        summary="curl from inside a pod, with or without namespaces",
        text="""
            Runs curl as if the pod's app did: through its sidecar, to services by name. Without namespaces nothing is
            captured, so curl is told to connect to the sidecar's outbound address instead.
            """,
        example="steersman lab curl east/productpage -s http://reviews:9080/",
    )
    curl.add_argument("target", help=_TARGET)
    curl.add_argument("arguments", nargs=argparse.REMAINDER, help="curl's own")
    logs = _verb(
        verbs,
        "logs",
        _run_logs,
        summary="what a process of the lab printed",
        text="Prints the log of a pod's first container, of the container named, or of the control plane (`steersman`).",
        example="steersman lab logs east/reviews-v1 -c istio-proxy",
    )
    logs.add_argument("target", help=f"{_TARGET}; steersman: the control plane")
    logs.add_argument("-c", "--container", help="such as istio-proxy")
    logs.add_argument("-f", "--follow", action="store_true", help="and what is added to it, until Ctrl-C")


def _steering(verbs: Commands) -> None:
    for verb, run, what, text in (
        (
            "stop",
            _run_stop,
            "end a part of a running lab",
            "Ends the apps of pods, a container of them, or the control plane. They stay down until `lab start`.",
        ),
        ("start", _run_start, "start again what was stopped", "Starts again what `lab stop` ended, or what ended by itself."),
    ):
        parser = _verb(
            verbs, verb, run, summary=what, text=text, example=f"steersman lab {verb} east/reviews\nsteersman lab {verb} steersman"
        )
        parser.add_argument("target", help=f"{_TARGET}; steersman: the control plane")
        parser.add_argument("-c", "--container", help="such as istio-proxy (default: all but the Envoy)")


def _verb(verbs: Commands, name: str, run: Run, *, summary: str, text: str, example: str, one_run: bool = True) -> argparse.ArgumentParser:
    parser = command(verbs, name, run, summary=summary, text=text, example=example)
    if one_run:
        parser.add_argument("--run", dest="run_id", metavar="ID", help="which run, where several are running")
    return parser


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", metavar="FILE", help=_FILE)
    parser.add_argument(
        "--namespaces",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="use network namespaces, or loopback addresses only (default: namespaces, where this machine can)",
    )


def _run_up(args: argparse.Namespace) -> int:
    from steersman.lab import up

    return up.up(args.file, isolate=args.namespaces)


def _run_down(args: argparse.Namespace) -> int:
    from steersman.lab import session

    return session.down(args.run_id)


def _run_demo(args: argparse.Namespace) -> int:
    from steersman.lab import demo

    return demo.run(args.file, isolate=args.namespaces, keep=args.keep)


def _run_status(args: argparse.Namespace) -> int:
    import msgspec

    from steersman.lab import report, session

    state = session.status(args.run_id)
    show(report.status_text(state) + "\n" if args.output == "table" else structured(msgspec.to_builtins(state), args.output))
    return 0 if state.ready else 1


def _run_exec(args: argparse.Namespace) -> int:
    from steersman.lab import session

    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not words:
        raise WrongUse("lab exec needs a command after --, such as: steersman lab exec east/productpage -- ip address")
    return session.execute(args.run_id, args.target, words)


def _run_curl(args: argparse.Namespace) -> int:
    from steersman.lab import session

    return session.curl(args.run_id, args.target, args.arguments)


def _run_logs(args: argparse.Namespace) -> int:
    from steersman.lab import session

    return session.logs(args.run_id, args.target, args.container, follow=args.follow)


def _run_stop(args: argparse.Namespace) -> int:
    from steersman.lab import session

    return session.steer("stop", args.run_id, args.target, args.container)


def _run_start(args: argparse.Namespace) -> int:
    from steersman.lab import session

    return session.steer("start", args.run_id, args.target, args.container)
