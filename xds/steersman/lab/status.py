"""What a running lab says of itself, in the form in which commands of other processes get it."""

import msgspec

CONTROL_PLANE = "steersman"
"""What commands call the control plane."""


class ContainerStatus(msgspec.Struct, frozen=True):
    """`pid` None: it does not run."""

    name: str
    ready: bool
    pid: int | None
    log: str


class PodStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`pod`: CLUSTER/NAMESPACE/NAME. `proxy`: node id of its Envoy, "" if it has none. `namespace`: its network namespace, "" on loopback.
    `outbound`: where its containers dial the mesh when nothing is captured, else ""."""

    pod: str
    app: str
    network: str
    node: str
    ip: str
    ready: bool
    containers: tuple[ContainerStatus, ...]
    proxy: str = ""
    namespace: str = ""
    outbound: str = ""
    admin: str = ""


class GatewayStatus(msgspec.Struct, frozen=True):
    """A Service of type LoadBalancer, with the addresses (HOST:PORT) at which other networks reach it."""

    service: str
    network: str
    addresses: tuple[str, ...]


class ForwardStatus(msgspec.Struct, frozen=True):
    """A port of 127.0.0.1, and what it leads to."""

    port: int
    to: str


class LabStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`control`: the control plane, in network namespace `namespace` ("" on loopback). `xds`: where proxies reach it.
    `inspect`, `admin`: where this machine does."""

    id: str
    lab: str
    isolation: str
    directory: str
    control: ContainerStatus
    namespace: str
    xds: str
    inspect: str
    admin: str
    pods: tuple[PodStatus, ...]
    gateways: tuple[GatewayStatus, ...]
    forwards: tuple[ForwardStatus, ...]

    @property
    def ready(self) -> bool:
        return self.control.ready and all(pod.ready for pod in self.pods)
