"""steersman serve: the control plane."""

import argparse

from steersman.cli.parser import Commands, add_config, command


def add_parser(commands: Commands) -> None:
    parser = command(
        commands,
        "serve",
        run,
        summary="run the control plane",
        text="""
            Runs the control plane: reads the objects of all clusters, watches them, and serves to every proxy that connects what it
            should see.

            It listens on server.xds (ADS for Envoy and gRPC clients), server.admin (/ready, /metrics and /debug/ over HTTP) and
            server.inspect (what the other commands ask). SIGTERM and Ctrl-C drain it: readiness goes off, streams are ended in order,
            and it exits 0 within 10 seconds. """,
        example="steersman serve -c config/steersman.yaml",
    )
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from steersman.server import app
    from steersman.settings import read_settings

    return app.serve(read_settings(Path(args.config)))
