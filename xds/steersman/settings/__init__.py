"""The configuration: what it may say, and how strictly our files are read."""

from steersman.settings.outages import OutageSettings
from steersman.settings.remote import NOTHING, Allowed, RemoteClusterSettings
from steersman.settings.removal_guard import RemovalGuardSettings
from steersman.settings.settings import (
    CASettings,
    ClusterSource,
    InspectSettings,
    KubernetesSource,
    ListenSettings,
    ServerSettings,
    Settings,
    XDSSettings,
    parse_settings,
    read_settings,
)
from steersman.settings.strict import ConfigErrors
from steersman.settings.values import Address
from steersman.settings.warm import WarmStartSettings

__all__ = [
    "NOTHING",
    "Address",
    "Allowed",
    "CASettings",
    "ClusterSource",
    "ConfigErrors",
    "InspectSettings",
    "KubernetesSource",
    "ListenSettings",
    "OutageSettings",
    "RemoteClusterSettings",
    "RemovalGuardSettings",
    "ServerSettings",
    "Settings",
    "WarmStartSettings",
    "XDSSettings",
    "parse_settings",
    "read_settings",
]
