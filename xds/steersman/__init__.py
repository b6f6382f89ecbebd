"""Steersman: a Pilot-like xDS control plane for Envoy.

It watches Kubernetes objects of several clusters (or the same objects in files), works out what each proxy should see from where it stands
(split horizon), and serves that to Envoys and gRPC clients over ADS, incrementally.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        """`__version__`, when it is asked for: what reads a package's metadata takes longer to import than all that --help needs."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("steersman")
        except PackageNotFoundError:  # a source tree on PYTHONPATH that was never installed has no metadata
            return "0+uninstalled"


__all__ = ["__version__"]
