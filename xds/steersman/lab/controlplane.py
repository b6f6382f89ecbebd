"""Steersman itself, as a child of the lab: the same command that a user runs."""

import asyncio
import copy
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from steersman.errors import SteersmanError
from steersman.lab.addresses import Addresses
from steersman.lab.fetch import fetch
from steersman.lab.isolation import Isolation
from steersman.lab.labfile import LabFile
from steersman.lab.netns import within
from steersman.lab.process import Process
from steersman.model.ids import ClusterID

DRAIN = 12.0
"""Seconds that it has to end: it promises to take 10 at most."""


class ControlPlane:
    """`steersman serve` on the lab's configuration, with the clusters' directories put in place of the manifests.

    `namespace`: the network namespace that it runs in, None on loopback. `xds`: where proxies reach it. `inspect` and `admin` are its own.
    """

    def __init__(
        self,
        file: LabFile,
        plan: Addresses,
        directory: Path,
        clusters: Mapping[ClusterID, Path],
        *,
        namespace: str | None,
        changed: Callable[[Process], None],
    ) -> None:
        server = file.settings.server
        self.namespace = namespace
        self.host = "127.0.0.1" if plan.isolation is Isolation.NAMESPACES else plan.control
        self.inspect_port = server.inspect.address.port or 15011
        self.admin_port = server.admin.address.port or 15014
        self.xds = f"{plan.control}:{server.xds.address.port or 15010}"
        self._config = directory / "steersman.yaml"
        self._config.write_text(yaml.safe_dump(self._configuration(file, plan, directory, clusters), sort_keys=False))
        self.process = Process(
            "steersman",
            within(namespace, [sys.executable, "-m", "steersman.cli", "serve", "-c", str(self._config)]),
            log=directory / "logs" / "steersman.log",
            env=dict(os.environ),
            changed=changed,
        )

    @property
    def inspect(self) -> str:
        return f"{self.host}:{self.inspect_port}"

    @property
    def admin(self) -> str:
        return f"{self.host}:{self.admin_port}"

    async def is_ready(self) -> bool:
        try:
            reply = await fetch(f"http://{self.admin}/ready", namespace=self.namespace, within=2.0)
        except (OSError, TimeoutError):
            return False
        return reply.status == 200

    async def until_ready(self, seconds: float) -> None:
        """Raises SteersmanError with its last words if it ends, or isn't ready after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while not await self.is_ready():
                    if not self.process.running:
                        raise SteersmanError(f"the control plane ended with exit {self.process.returncode}:\n{self.process.said()}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise SteersmanError(f"the control plane is not ready after {seconds:.0f} s:\n{self.process.said()}") from None

    def _configuration(self, file: LabFile, plan: Addresses, directory: Path, clusters: Mapping[ClusterID, Path]) -> dict[str, Any]:
        config = copy.deepcopy(file.config)
        for entry in config["clusters"]:
            entry["files"] = str(clusters[entry["name"]])
        config["ca"] = {"directory": str(file.settings.ca.directory.resolve() if "ca" in file.config else directory / "ca")}
        server = config.setdefault("server", {})
        # The management network is ours alone, as loopback is; private keys cross it in plain text.
        server["xds"] = {"address": self.xds, "insecureSecrets": plan.isolation is Isolation.NAMESPACES}
        server["inspect"] = {"address": self.inspect}
        server["admin"] = {"address": self.admin}
        return config
