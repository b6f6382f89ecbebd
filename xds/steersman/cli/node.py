"""NODE.yaml: an envoy.config.core.v3.Node in a file."""

from pathlib import Path
from typing import Any

from steersman.errors import ConfigError
from steersman.model.proxy import Proxy

EXPECTED = "an envoy.config.core.v3.Node, such as {id: sidecar~10.0.0.5~reviews-v1.default~cluster.local, metadata: {CLUSTER_ID: east}}"


def read_node(file: Path) -> Proxy:
    """The proxy that the Node in this YAML or JSON file describes. Raises ConfigError for a file that holds none."""
    import yaml
    from envoy.config.core.v3.base_pb2 import Node
    from google.protobuf import json_format

    from steersman.ads.node import proxy_of

    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(str(file), "", "bytes that are no UTF-8", EXPECTED) from None
    except OSError as error:
        raise ConfigError(str(file), "", error.strerror, "a readable file") from None
    try:
        value: Any = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (safe, whichever it is)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{file}{line}", "", error.problem, "YAML or JSON") from None
    except yaml.YAMLError as error:
        raise ConfigError(str(file), "", str(error), "YAML or JSON") from None
    if not isinstance(value, dict):
        raise ConfigError(str(file), "", value, EXPECTED)
    node = Node()
    try:
        json_format.ParseDict(value, node)
    except json_format.ParseError as error:
        problem = str(error).partition("\n")[0].partition(" Available Fields")[0]
        raise ConfigError(str(file), "", problem, EXPECTED) from None
    return proxy_of(node, "")
