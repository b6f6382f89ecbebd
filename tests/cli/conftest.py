"""The real command in a process of its own, and a server to ask."""

import asyncio
import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

from steersman.cli import main
from tests.admin.conftest import inspect_port, state

__all__ = ["inspect_port", "state"]


OBJECTS = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: demo}
spec:
  clusterIP: 10.96.0.7
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp-db, port: 5432}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: demo, labels: {app: web, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: web}
status: {phase: Running, podIP: 10.0.0.7, conditions: [{type: Ready, status: "True"}]}
"""
"""A service of an HTTP and a TCP port, and one pod of it."""


class Ran(NamedTuple):
    code: int
    out: str
    err: str


async def inline(*args: str) -> Ran:
    """The same in a thread of this process, which takes a tenth of the time."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = await asyncio.to_thread(main, args)
    return Ran(code, out.getvalue(), err.getvalue())


async def steersman(*args: str | Path, **environment: str) -> Ran:
    """Runs `steersman ARGS` and returns what it said. No traceback ever reaches a user."""
    variables = {name: value for name, value in os.environ.items() if name != "STEERSMAN_SERVER"} | environment
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "steersman.cli",
        *map(str, args),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**variables, "COLUMNS": "100"},
    )
    out, err = await process.communicate()
    ran = Ran(process.returncode or 0, out.decode(), err.decode())
    assert "Traceback" not in ran.err, ran.err
    return ran
