"""Two pods joined by a wire, each a network namespace whose TCP is captured for its Envoy as Istio's init container does it."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import pytest

from steersman.lab.launch import EnvoyFile
from steersman.lab.namespaces import PROXY_ID, capture_rules
from steersman.lab.netns import inside
from steersman.server.bootstrap import Mode, envoy_bootstrap
from tests.support.envoy import envoy
from tests.support.running import Envoy

_TOOLS = ("ip", "iptables-restore", "ip6tables-restore", "setpriv")

TPROXY_RULES = f"""*mangle
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:DIVERT - [0:0]
-A PREROUTING -p tcp -m mark --mark {PROXY_ID} -j CONNMARK --save-mark
-A PREROUTING -i lo -j RETURN
-A PREROUTING -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j DIVERT
-A PREROUTING -p tcp -j TPROXY --tproxy-mark {PROXY_ID}/0xffffffff --on-port 15006
-A OUTPUT -p tcp -m connmark --mark {PROXY_ID} -j CONNMARK --restore-mark
-A DIVERT -j MARK --set-mark {PROXY_ID}
-A DIVERT -j ACCEPT
COMMIT
"""
"""Inbound by TPROXY, as Istio's init container sets it up: what Envoy sends to the application with the client's address is marked, and so
are the answers, which are routed back to Envoy instead of out to the client."""


def run(*command: str, text: str = "") -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


class CapturedPod:
    """A network namespace. `addresses`: its own, the first its primary one."""

    def __init__(self, name: str, addresses: Sequence[str]) -> None:
        self.name = name
        self.addresses = tuple(addresses)

    def ip(self, command: str) -> None:
        run("ip", "-n", self.name, *command.split())

    def capture(self, *, transparent: bool = False) -> None:
        """From now on, all TCP goes to the proxy; with `transparent`, inbound IPv4 by TPROXY."""
        rules = capture_rules()
        if transparent:
            rules = "".join(line for line in rules.splitlines(keepends=True) if "PREROUTING" not in line and "-o lo !" not in line)
            run("ip", "netns", "exec", self.name, "iptables-restore", "--noflush", text=TPROXY_RULES)
            self.ip(f"rule add fwmark {PROXY_ID} lookup 133")
            self.ip("route add local 0.0.0.0/0 dev lo table 133")
        run("ip", "netns", "exec", self.name, "iptables-restore", "--noflush", text=rules)
        self.ip("address add ::6/128 dev lo")
        run(
            "ip",
            "netns",
            "exec",
            self.name,
            "ip6tables-restore",
            text=rules.replace("127.0.0.6/32", "::6/128").replace("127.0.0.1/32", "::1/128"),
        )

    def connect(self, address: str, port: int) -> socket.socket:
        """A connection of the pod's application."""
        with inside(self.name):
            sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            sock.settimeout(10)
            sock.connect((address, port))
            return sock


class CapturedEnvoy(Envoy):
    """One whose admin interface is a socket file, since it stands in another network."""

    def connection(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("envoy", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self._admin)
        return connection


class Wire:
    """Makes and removes the two pods. Skips the test where that can't be done."""

    def __init__(self, client: Sequence[str], server: Sequence[str]) -> None:
        envoy()
        missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
        if os.geteuid() != 0 or missing:
            pytest.skip(f"needs root, iproute2 and iptables to make pods of network namespaces; missing: {missing or 'root'}")
        mark = f"t{os.getpid()}-{time.monotonic_ns() % 10_000}"
        self.client = CapturedPod(f"{mark}-client", client)
        self.server = CapturedPod(f"{mark}-server", server)
        self._stack = ExitStack()
        self.directory = Path()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="steersman-")))
            self.directory.chmod(0o777)
            for pod in (self.client, self.server):
                run("ip", "netns", "add", pod.name)
                stack.callback(run, "ip", "netns", "delete", pod.name)
            run("ip", "link", "add", "eth0", "netns", self.client.name, "type", "veth", "peer", "name", "eth0", "netns", self.server.name)
            for pod in (self.client, self.server):
                pod.ip("link set lo up")
                pod.ip("link set eth0 up")
                for address in pod.addresses:
                    pod.ip(f"address add {address}/64 dev eth0 nodad" if ":" in address else f"address add {address}/24 dev eth0")
            for pod, other in ((self.client, self.server), (self.server, self.client)):
                for family in ({":" in address: address for address in reversed(other.addresses)}).values():
                    pod.ip(f"{'-6 ' if ':' in family else ''}route add default via {family}")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    @contextmanager
    def proxied(self, pod: CapturedPod, node_id: str, xds: str) -> Iterator[Envoy]:
        """An Envoy in the pod, as the user whose connections aren't captured."""
        admin, config, log = (self.directory / f"{pod.name}.{end}" for end in ("sock", "json", "log"))
        bootstrap = envoy_bootstrap(node_id=node_id, node_cluster="test", xds=xds, admin=f"unix:{admin}", mode=Mode.SOTW)
        config.write_text(json.dumps(bootstrap))
        log.touch()
        log.chmod(0o666)
        binary = EnvoyFile()
        command, kept = binary.command(by_others=True)
        options = ["-c", str(config), "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "--log-path", str(log)]
        user = ["setpriv", "--reuid", str(PROXY_ID), "--regid", str(PROXY_ID), "--clear-groups"]
        able = ["--inh-caps", "+net_admin", "--ambient-caps", "+net_admin"]
        process = subprocess.Popen(
            ["ip", "netns", "exec", pod.name, *user, *able, "--", command, *options],
            pass_fds=kept,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            running = CapturedEnvoy(str(admin), process, log)
            running.wait_ready()
            yield running
        finally:
            process.terminate()
            process.wait(timeout=10)
            binary.close()
