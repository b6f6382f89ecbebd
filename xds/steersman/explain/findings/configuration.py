"""What the configuration says that objects don't show."""

from ipaddress import ip_address

from steersman.explain.findings.kinds import SEVERITIES
from steersman.model.facts import Finding
from steersman.settings import Settings


def settings_findings(settings: Settings) -> tuple[Finding, ...]:
    """Findings about a configuration alone."""
    xds = settings.server.xds
    if xds.insecure_secrets or _is_loopback(xds.address.host):
        return ()
    return (
        Finding(
            id="secrets-withheld",
            severity=SEVERITIES["secrets-withheld"],
            object="server.xds",
            place=f"{settings.file}: server.xds.address",
            cause=f"{xds.address} is plaintext and not loopback, so private keys don't leave over it: proxies get no certificates",
            remedy="listen on loopback beside the proxies, or set server.xds.insecureSecrets: true where nobody else is on the wire",
        ),
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
