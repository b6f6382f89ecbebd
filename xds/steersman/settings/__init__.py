"""The configuration: what it may say, and how strictly our files are read."""

from steersman.settings.settings import (
    CASettings,
    ClusterSource,
    KubernetesSource,
    ListenSettings,
    OutageSettings,
    ServerSettings,
    Settings,
    XDSSettings,
    parse_settings,
    read_settings,
)
from steersman.settings.strict import ConfigErrors
from steersman.settings.values import Address

__all__ = [
    "Address",
    "CASettings",
    "ClusterSource",
    "ConfigErrors",
    "KubernetesSource",
    "ListenSettings",
    "OutageSettings",
    "ServerSettings",
    "Settings",
    "XDSSettings",
    "parse_settings",
    "read_settings",
]
