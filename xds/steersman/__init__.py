"""Steersman: a Pilot-like xDS control plane for Envoy.

It watches Kubernetes objects of several clusters (or the same objects in files), works out what each proxy should see from where it stands
(split horizon), and serves that to Envoys and gRPC clients over ADS, incrementally.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("steersman")
except PackageNotFoundError:  # a source tree on PYTHONPATH that was never installed has no metadata
    __version__ = "0+uninstalled"

__all__ = ["__version__"]
