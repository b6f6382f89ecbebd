"""What a lab tells people."""

from collections.abc import Sequence

from steersman.lab.status import LabStatus, PodStatus


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two blanks between them; no newline at the end."""
    lines = [tuple(columns), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def pods_table(state: LabStatus) -> str:
    """One line a pod."""
    rows = [
        (pod.pod, pod.network, pod.ip, pod.node, "yes" if pod.ready else f"no ({_waiting(pod)})", _processes(pod)) for pod in state.pods
    ]
    return table(("POD", "NETWORK", "IP", "NODE", "READY", "PROCESSES"), rows)


def gateways_table(state: LabStatus) -> str:
    return table(("GATEWAY", "NETWORK", "REACHED AT"), [(one.service, one.network, ", ".join(one.addresses)) for one in state.gateways])


def status_text(state: LabStatus) -> str:
    """All of it, for a terminal."""
    control = f"pid {state.control.pid}, {'ready' if state.control.ready else 'not ready'}" if state.control.pid else "stopped"
    isolation = "network namespaces" if state.namespace else "loopback addresses, not isolated"
    about = [
        ("lab", f"{state.lab} (run {state.id}, {isolation})"),
        ("control plane", f"{control}; xDS {state.xds}, inspect {state.inspect}, admin http://{state.admin}"),
        ("files", state.directory),
        *((f"127.0.0.1:{forward.port}", forward.to) for forward in state.forwards),
    ]
    width = max(len(name) for name, _ in about)
    return "\n".join([*(f"{name.ljust(width)}  {value}" for name, value in about), "", pods_table(state), "", gateways_table(state)])


def guide(state: LabStatus) -> str:
    """What `lab up` says once all is ready: what there is, and what to do with it."""
    server = "" if state.inspect.endswith(":15011") else f" --server {state.inspect}"
    sidecars = [pod for pod in state.pods if pod.proxy.startswith("sidecar")] or list(state.pods)
    client = next((pod for pod in sidecars if pod.app == "productpage"), sidecars[0])
    other = next((pod for pod in sidecars if pod.app == "reviews"), sidecars[-1])
    name = _short(client.pod)
    known = "/".join(client.pod.split("/")[::2])
    lines = [
        f"a request as from a pod    steersman lab curl {name} -s http://{other.app}:9080/",
        f"a command inside a pod     steersman lab exec {name} -- curl -s localhost:15000/clusters",
        f"what a proxy is sent       steersman proxy-config endpoints {known}{server}",
        f"and why                    steersman explain {known} {other.app}{server}",
        f"break something            steersman lab stop {_short(other.pod)}    (then: lab start, lab status, lab logs)",
    ]
    if state.forwards:
        lines.insert(0, f"a request from outside     curl -s http://127.0.0.1:{state.forwards[0].port}/    ({state.forwards[0].to})")
    return "\n".join(
        ["", status_text(state), "", "Ready. Try, in another terminal:", *(f"  {line}" for line in lines), "", "Ctrl-C ends it."]
    )


def _waiting(pod: PodStatus) -> str:
    return ", ".join(container.name for container in pod.containers if not container.ready)


def _processes(pod: PodStatus) -> str:
    return ", ".join(f"{container.name} {container.pid if container.pid is not None else 'stopped'}" for container in pod.containers)


def _short(pod: str) -> str:
    cluster, namespace, name = pod.split("/")
    return f"{cluster}/{name}" if namespace == "default" else pod


def say(text: str) -> None:
    print(text, flush=True)
