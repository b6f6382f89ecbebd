"""What the running control plane says for itself, asked as a user asks it: by the command `steersman explain`."""

import sys
from typing import Any, NamedTuple

import msgspec

from steersman.lab import netns
from steersman.lab.lab import Lab
from steersman.lab.pod import Pod


class Candidate(NamedTuple):
    """An endpoint that a service has in some cluster. `pod`: CLUSTER/NAMESPACE/NAME. `rule`: what took it in or left it out, with a `note`
    for people. `gateways`: those that lead to it, none where it is reached directly or not at all."""

    address: str
    pod: str
    rule: str
    note: str
    gateways: frozenset[str]


async def candidates(lab: Lab, proxy: Pod, service: str, port: int) -> list[Candidate]:
    """Every endpoint of the service in any cluster, and whether this pod's proxy is sent it.

    Raises CommandFailed with the command's own words where it has no answer.
    """
    words = [
        "explain",
        f"{proxy.key.cluster}/{proxy.key.name}",
        f"{service}:{port}",
        "--server",
        f"127.0.0.1:{lab.doors['inspect'].port}",
        "-o",
        "json",
    ]
    # Exit 1 says that nothing of it is for this proxy, which is an answer.
    said: Any = msgspec.json.decode(await netns.run(sys.executable, "-m", "steersman.cli", *words, fine=(0, 1)))
    return [
        Candidate(
            f"{one['address']}:{one['port']}", one.get("pod", ""), one["rule"], one.get("note", ""), frozenset(one.get("gateways", ()))
        )
        for each in said["ports"]
        for one in each["candidates"]
    ]
