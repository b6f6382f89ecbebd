"""Every finding that is worked out of the mesh, with its severity. docs/findings.md has a section on each; sources have ids of their
own."""

from steersman.model.facts import Severity
from steersman.views.listeners import Refusal

_ERROR, _WARNING, _INFO = Severity.ERROR, Severity.WARNING, Severity.INFO

LISTENER_FINDINGS = {
    refusal: f"listener-{refusal}"
    for refusal in (
        Refusal.ADDRESS_TAKEN,
        Refusal.PORT_TAKEN,
        Refusal.OWN_PORT,
        Refusal.LOW_PORT,
        Refusal.NO_ADDRESS,
        Refusal.HOST_TAKEN,
        Refusal.NO_TARGET_PORT,
        Refusal.PROTOCOL_CONFLICT,
    )
}
"""What a connected proxy does not get for a service port."""

SERVER_FINDINGS = {
    refusal: f"server-{refusal.removeprefix('server-')}"
    for refusal in (Refusal.UNSUPPORTED_TLS, Refusal.UNSUPPORTED_PROTOCOL, Refusal.BAD_HOST, Refusal.BAD_BIND, Refusal.SERVER_CONFLICT)
}
"""What a server of an Istio Gateway does not get. That a service has no mTLS is `service-not-mtls`."""

SEVERITIES: dict[str, Severity] = {
    "compute-failed": _ERROR,
    # services
    "service-conflict": _WARNING,
    "service-without-vip": _WARNING,
    "vip-taken": _WARNING,
    "identity-unknown": _ERROR,
    "duplicate-address": _WARNING,
    "selector-matches-nothing": _WARNING,
    "port-without-endpoints": _WARNING,
    "pod-missing": _WARNING,
    "slice-of-missing-service": _WARNING,
    "bad-address": _WARNING,
    # networks
    "network-of-unknown-cluster": _WARNING,
    "cluster-claimed-twice": _WARNING,
    "range-claimed-twice": _WARNING,
    "cluster-without-network": _WARNING,
    "network-without-gateway": _ERROR,
    "network-gateway-ignored": _WARNING,
    "gateway-of-unused-network": _WARNING,
    "network-gateway-without-passthrough": _WARNING,
    "service-not-mtls": _WARNING,
    # clusters
    "cluster-twice": _ERROR,
    # Istio Gateways
    "gateway-selects-nothing": _WARNING,
    "passthrough-admits-nothing": _WARNING,
    **dict.fromkeys(SERVER_FINDINGS.values(), _WARNING),
    # connected proxies
    "proxy-cluster-unknown": _WARNING,
    "proxy-network-unknown": _WARNING,
    "network-view-unknown": _WARNING,
    "weights-rounded": _INFO,
    **dict.fromkeys(LISTENER_FINDINGS.values(), _WARNING),
    # the configuration
    "secrets-withheld": _WARNING,
    # a running server
    "update-rejected": _ERROR,
    "source-not-synced": _WARNING,
    "source-failed": _ERROR,
}
