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

    from steersman.settings import read_settings

    settings = read_settings(Path(args.config))  # told what is wrong with it at once: what serves it takes longer to import
    from steersman.server import app

    return app.serve(settings)
