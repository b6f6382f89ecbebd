"""Who may answer for a service (rule 11)."""

from collections.abc import Iterable

from steersman.graph import Reader
from steersman.model.ids import ServiceKey
from steersman.model.mesh import Identities, ObjectRef, Workload
from steersman.registry.collections import ENDPOINT_SOURCES, SERVICES_NAMED, SOURCE_IDENTITIES
from steersman.registry.endpoints import workloads_from


def source_identities(read: Reader, source: ObjectRef) -> Identities:
    """The identities behind one source's entries, usable or not: stands between single endpoints and a service's SANs, so that neither
    readiness nor one replica more moves those."""
    return _identities_of(workloads_from(read, source))


def _identities_of(workloads: Iterable[Workload]) -> Identities:
    sans = set()
    mtls = unknown = False
    for workload in workloads:
        if workload.identity:
            sans.add(workload.identity)
        if workload.mtls:
            mtls = True
            unknown = unknown or not workload.identity
    return Identities(sans=tuple(sorted(sans)), mtls=mtls, unknown=unknown)


def identities(read: Reader, key: ServiceKey) -> Identities:
    """Who may answer for a service, in all clusters, whichever of them a client sees."""
    parts = [read(SOURCE_IDENTITIES, source) for service in read(SERVICES_NAMED, key) for source in read(ENDPOINT_SOURCES, service)]
    return Identities(
        sans=tuple(sorted({san for part in parts for san in part.sans})),
        mtls=any(part.mtls for part in parts),
        unknown=any(part.unknown for part in parts),
    )
