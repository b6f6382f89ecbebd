import datetime

from google.protobuf import any_pb2 as _any_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetServerRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Server(_message.Message):
    __slots__ = ("instance", "version", "started", "ready", "not_ready", "generation", "sources")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    NOT_READY_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    instance: str
    version: str
    started: _timestamp_pb2.Timestamp
    ready: bool
    not_ready: _containers.RepeatedScalarFieldContainer[str]
    generation: int
    sources: _containers.RepeatedCompositeFieldContainer[Source]
    def __init__(self, instance: _Optional[str] = ..., version: _Optional[str] = ..., started: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ready: _Optional[bool] = ..., not_ready: _Optional[_Iterable[str]] = ..., generation: _Optional[int] = ..., sources: _Optional[_Iterable[_Union[Source, _Mapping]]] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("name", "kind", "place", "state", "objects", "ignored", "error")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Source.State]
        SYNCING: _ClassVar[Source.State]
        SYNCED: _ClassVar[Source.State]
        TIMED_OUT: _ClassVar[Source.State]
        FAILED: _ClassVar[Source.State]
        WARM: _ClassVar[Source.State]
    STATE_UNSPECIFIED: Source.State
    SYNCING: Source.State
    SYNCED: Source.State
    TIMED_OUT: Source.State
    FAILED: Source.State
    WARM: Source.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    IGNORED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    place: str
    state: Source.State
    objects: int
    ignored: int
    error: str
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., place: _Optional[str] = ..., state: _Optional[_Union[Source.State, str]] = ..., objects: _Optional[int] = ..., ignored: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...

class ListClustersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListClustersResponse(_message.Message):
    __slots__ = ("clusters",)
    CLUSTERS_FIELD_NUMBER: _ClassVar[int]
    clusters: _containers.RepeatedCompositeFieldContainer[Cluster]
    def __init__(self, clusters: _Optional[_Iterable[_Union[Cluster, _Mapping]]] = ...) -> None: ...

class Cluster(_message.Message):
    __slots__ = ("name", "kind", "place", "server", "uid", "state", "since", "contact", "problem", "objects", "outage_policy", "outage_after", "outage", "resources", "registered_by", "credentials_unused", "warm", "kept", "held", "held_endpoints")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Cluster.State]
        SYNCING: _ClassVar[Cluster.State]
        SYNCED: _ClassVar[Cluster.State]
        FORBIDDEN: _ClassVar[Cluster.State]
        STALE: _ClassVar[Cluster.State]
        UNAUTHORISED: _ClassVar[Cluster.State]
        UNREACHABLE: _ClassVar[Cluster.State]
    STATE_UNSPECIFIED: Cluster.State
    SYNCING: Cluster.State
    SYNCED: Cluster.State
    FORBIDDEN: Cluster.State
    STALE: Cluster.State
    UNAUTHORISED: Cluster.State
    UNREACHABLE: Cluster.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    CONTACT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    OUTAGE_POLICY_FIELD_NUMBER: _ClassVar[int]
    OUTAGE_AFTER_FIELD_NUMBER: _ClassVar[int]
    OUTAGE_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_BY_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_UNUSED_FIELD_NUMBER: _ClassVar[int]
    WARM_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    HELD_ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    place: str
    server: str
    uid: str
    state: Cluster.State
    since: _timestamp_pb2.Timestamp
    contact: _timestamp_pb2.Timestamp
    problem: str
    objects: int
    outage_policy: str
    outage_after: float
    outage: bool
    resources: _containers.RepeatedCompositeFieldContainer[ClusterResource]
    registered_by: str
    credentials_unused: str
    warm: _timestamp_pb2.Timestamp
    kept: _timestamp_pb2.Timestamp
    held: _containers.RepeatedCompositeFieldContainer[HeldRemoval]
    held_endpoints: int
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., place: _Optional[str] = ..., server: _Optional[str] = ..., uid: _Optional[str] = ..., state: _Optional[_Union[Cluster.State, str]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., contact: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., problem: _Optional[str] = ..., objects: _Optional[int] = ..., outage_policy: _Optional[str] = ..., outage_after: _Optional[float] = ..., outage: _Optional[bool] = ..., resources: _Optional[_Iterable[_Union[ClusterResource, _Mapping]]] = ..., registered_by: _Optional[str] = ..., credentials_unused: _Optional[str] = ..., warm: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kept: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., held: _Optional[_Iterable[_Union[HeldRemoval, _Mapping]]] = ..., held_endpoints: _Optional[int] = ...) -> None: ...

class HeldRemoval(_message.Message):
    __slots__ = ("object", "count", "before", "since", "until", "cause", "release")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    object: str
    count: int
    before: int
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    cause: str
    release: str
    def __init__(self, object: _Optional[str] = ..., count: _Optional[int] = ..., before: _Optional[int] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., cause: _Optional[str] = ..., release: _Optional[str] = ...) -> None: ...

class ReleaseRemovalsRequest(_message.Message):
    __slots__ = ("cluster", "service")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    service: str
    def __init__(self, cluster: _Optional[str] = ..., service: _Optional[str] = ...) -> None: ...

class ReleaseRemovalsResponse(_message.Message):
    __slots__ = ("released",)
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    released: _containers.RepeatedCompositeFieldContainer[HeldRemoval]
    def __init__(self, released: _Optional[_Iterable[_Union[HeldRemoval, _Mapping]]] = ...) -> None: ...

class ClusterResource(_message.Message):
    __slots__ = ("name", "version", "state", "whole", "optional", "objects", "problem", "warm")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    OPTIONAL_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    WARM_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    state: str
    whole: bool
    optional: bool
    objects: int
    problem: str
    warm: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., state: _Optional[str] = ..., whole: _Optional[bool] = ..., optional: _Optional[bool] = ..., objects: _Optional[int] = ..., problem: _Optional[str] = ..., warm: _Optional[int] = ...) -> None: ...

class ListProxiesRequest(_message.Message):
    __slots__ = ("proxy",)
    PROXY_FIELD_NUMBER: _ClassVar[int]
    proxy: str
    def __init__(self, proxy: _Optional[str] = ...) -> None: ...

class ListProxiesResponse(_message.Message):
    __slots__ = ("proxies",)
    PROXIES_FIELD_NUMBER: _ClassVar[int]
    proxies: _containers.RepeatedCompositeFieldContainer[Proxy]
    def __init__(self, proxies: _Optional[_Iterable[_Union[Proxy, _Mapping]]] = ...) -> None: ...

class Proxy(_message.Message):
    __slots__ = ("id", "type", "name", "namespace", "cluster", "network", "inferred", "stream", "peer", "protocol", "agent", "connected", "server", "types", "service")
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    INFERRED_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: str
    name: str
    namespace: str
    cluster: str
    network: str
    inferred: _containers.RepeatedScalarFieldContainer[str]
    stream: str
    peer: str
    protocol: str
    agent: str
    connected: _timestamp_pb2.Timestamp
    server: str
    types: _containers.RepeatedCompositeFieldContainer[TypeStatus]
    service: str
    def __init__(self, id: _Optional[str] = ..., type: _Optional[str] = ..., name: _Optional[str] = ..., namespace: _Optional[str] = ..., cluster: _Optional[str] = ..., network: _Optional[str] = ..., inferred: _Optional[_Iterable[str]] = ..., stream: _Optional[str] = ..., peer: _Optional[str] = ..., protocol: _Optional[str] = ..., agent: _Optional[str] = ..., connected: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., server: _Optional[str] = ..., types: _Optional[_Iterable[_Union[TypeStatus, _Mapping]]] = ..., service: _Optional[str] = ...) -> None: ...

class TypeStatus(_message.Message):
    __slots__ = ("type", "sync", "wildcard", "subscribed", "pending", "sent", "acked", "rejection")
    class Sync(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SYNC_UNSPECIFIED: _ClassVar[TypeStatus.Sync]
        NOT_SENT: _ClassVar[TypeStatus.Sync]
        SYNCED: _ClassVar[TypeStatus.Sync]
        STALE: _ClassVar[TypeStatus.Sync]
        ERROR: _ClassVar[TypeStatus.Sync]
    SYNC_UNSPECIFIED: TypeStatus.Sync
    NOT_SENT: TypeStatus.Sync
    SYNCED: TypeStatus.Sync
    STALE: TypeStatus.Sync
    ERROR: TypeStatus.Sync
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    WILDCARD_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    ACKED_FIELD_NUMBER: _ClassVar[int]
    REJECTION_FIELD_NUMBER: _ClassVar[int]
    type: str
    sync: TypeStatus.Sync
    wildcard: bool
    subscribed: int
    pending: int
    sent: str
    acked: str
    rejection: Rejection
    def __init__(self, type: _Optional[str] = ..., sync: _Optional[_Union[TypeStatus.Sync, str]] = ..., wildcard: _Optional[bool] = ..., subscribed: _Optional[int] = ..., pending: _Optional[int] = ..., sent: _Optional[str] = ..., acked: _Optional[str] = ..., rejection: _Optional[_Union[Rejection, _Mapping]] = ...) -> None: ...

class Rejection(_message.Message):
    __slots__ = ("version", "code", "message", "names", "resources")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    version: str
    code: int
    message: str
    names: _containers.RepeatedScalarFieldContainer[str]
    resources: _containers.RepeatedCompositeFieldContainer[RejectedResource]
    def __init__(self, version: _Optional[str] = ..., code: _Optional[int] = ..., message: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ..., resources: _Optional[_Iterable[_Union[RejectedResource, _Mapping]]] = ...) -> None: ...

class RejectedResource(_message.Message):
    __slots__ = ("name", "version", "changed", "made_from", "others")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    MADE_FROM_FIELD_NUMBER: _ClassVar[int]
    OTHERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    changed: bool
    made_from: _containers.RepeatedCompositeFieldContainer[Reference]
    others: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., changed: _Optional[bool] = ..., made_from: _Optional[_Iterable[_Union[Reference, _Mapping]]] = ..., others: _Optional[int] = ...) -> None: ...

class GetProxyConfigRequest(_message.Message):
    __slots__ = ("proxy", "types")
    PROXY_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    proxy: str
    types: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, proxy: _Optional[str] = ..., types: _Optional[_Iterable[str]] = ...) -> None: ...

class GetProxyConfigResponse(_message.Message):
    __slots__ = ("proxy", "generation", "resources")
    PROXY_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    proxy: str
    generation: int
    resources: _containers.RepeatedCompositeFieldContainer[Resource]
    def __init__(self, proxy: _Optional[str] = ..., generation: _Optional[int] = ..., resources: _Optional[_Iterable[_Union[Resource, _Mapping]]] = ...) -> None: ...

class Resource(_message.Message):
    __slots__ = ("type", "name", "version", "resource")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    type: str
    name: str
    version: str
    resource: _any_pb2.Any
    def __init__(self, type: _Optional[str] = ..., name: _Optional[str] = ..., version: _Optional[str] = ..., resource: _Optional[_Union[_any_pb2.Any, _Mapping]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("proxy", "service")
    PROXY_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    proxy: str
    service: str
    def __init__(self, proxy: _Optional[str] = ..., service: _Optional[str] = ...) -> None: ...

class Reference(_message.Message):
    __slots__ = ("object", "place")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    object: str
    place: str
    def __init__(self, object: _Optional[str] = ..., place: _Optional[str] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("proxy", "service", "standpoint", "services", "notes", "ports", "load_reports")
    PROXY_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    STANDPOINT_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    LOAD_REPORTS_FIELD_NUMBER: _ClassVar[int]
    proxy: str
    service: str
    standpoint: Standpoint
    services: _containers.RepeatedCompositeFieldContainer[Reference]
    notes: _containers.RepeatedScalarFieldContainer[str]
    ports: _containers.RepeatedCompositeFieldContainer[PortExplanation]
    load_reports: LoadReports
    def __init__(self, proxy: _Optional[str] = ..., service: _Optional[str] = ..., standpoint: _Optional[_Union[Standpoint, _Mapping]] = ..., services: _Optional[_Iterable[_Union[Reference, _Mapping]]] = ..., notes: _Optional[_Iterable[str]] = ..., ports: _Optional[_Iterable[_Union[PortExplanation, _Mapping]]] = ..., load_reports: _Optional[_Union[LoadReports, _Mapping]] = ...) -> None: ...

class LoadReports(_message.Message):
    __slots__ = ("open", "last", "seconds")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    open: bool
    last: _timestamp_pb2.Timestamp
    seconds: float
    def __init__(self, open: _Optional[bool] = ..., last: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., seconds: _Optional[float] = ...) -> None: ...

class Standpoint(_message.Message):
    __slots__ = ("cluster", "network", "namespace", "locality", "families", "view", "inferred")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    LOCALITY_FIELD_NUMBER: _ClassVar[int]
    FAMILIES_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    INFERRED_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    network: str
    namespace: str
    locality: str
    families: _containers.RepeatedScalarFieldContainer[str]
    view: _containers.RepeatedScalarFieldContainer[str]
    inferred: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, cluster: _Optional[str] = ..., network: _Optional[str] = ..., namespace: _Optional[str] = ..., locality: _Optional[str] = ..., families: _Optional[_Iterable[str]] = ..., view: _Optional[_Iterable[str]] = ..., inferred: _Optional[_Iterable[str]] = ...) -> None: ...

class PortExplanation(_message.Message):
    __slots__ = ("port", "name", "protocol", "cluster", "candidates", "gateways", "notes", "facts", "load", "dropped")
    PORT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    GATEWAYS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    port: int
    name: str
    protocol: str
    cluster: str
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    gateways: _containers.RepeatedCompositeFieldContainer[GatewayShare]
    notes: _containers.RepeatedScalarFieldContainer[str]
    facts: _containers.RepeatedCompositeFieldContainer[Reference]
    load: _containers.RepeatedCompositeFieldContainer[LocalityLoad]
    dropped: _containers.RepeatedCompositeFieldContainer[DroppedLoad]
    def __init__(self, port: _Optional[int] = ..., name: _Optional[str] = ..., protocol: _Optional[str] = ..., cluster: _Optional[str] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., gateways: _Optional[_Iterable[_Union[GatewayShare, _Mapping]]] = ..., notes: _Optional[_Iterable[str]] = ..., facts: _Optional[_Iterable[_Union[Reference, _Mapping]]] = ..., load: _Optional[_Iterable[_Union[LocalityLoad, _Mapping]]] = ..., dropped: _Optional[_Iterable[_Union[DroppedLoad, _Mapping]]] = ...) -> None: ...

class LocalityLoad(_message.Message):
    __slots__ = ("locality", "issued", "succeeded", "failed", "in_progress")
    LOCALITY_FIELD_NUMBER: _ClassVar[int]
    ISSUED_FIELD_NUMBER: _ClassVar[int]
    SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    IN_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    locality: str
    issued: float
    succeeded: float
    failed: float
    in_progress: int
    def __init__(self, locality: _Optional[str] = ..., issued: _Optional[float] = ..., succeeded: _Optional[float] = ..., failed: _Optional[float] = ..., in_progress: _Optional[int] = ...) -> None: ...

class DroppedLoad(_message.Message):
    __slots__ = ("category", "rate")
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    category: str
    rate: float
    def __init__(self, category: _Optional[str] = ..., rate: _Optional[float] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("address", "port", "admitted", "rule", "because", "note", "gateways", "pod", "cluster", "network", "locality", "mtls", "health", "weight", "source")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    ADMITTED_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    GATEWAYS_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    LOCALITY_FIELD_NUMBER: _ClassVar[int]
    MTLS_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    address: str
    port: int
    admitted: bool
    rule: str
    because: _containers.RepeatedCompositeFieldContainer[Reference]
    note: str
    gateways: _containers.RepeatedScalarFieldContainer[str]
    pod: str
    cluster: str
    network: str
    locality: str
    mtls: bool
    health: str
    weight: int
    source: Reference
    def __init__(self, address: _Optional[str] = ..., port: _Optional[int] = ..., admitted: _Optional[bool] = ..., rule: _Optional[str] = ..., because: _Optional[_Iterable[_Union[Reference, _Mapping]]] = ..., note: _Optional[str] = ..., gateways: _Optional[_Iterable[str]] = ..., pod: _Optional[str] = ..., cluster: _Optional[str] = ..., network: _Optional[str] = ..., locality: _Optional[str] = ..., mtls: _Optional[bool] = ..., health: _Optional[str] = ..., weight: _Optional[int] = ..., source: _Optional[_Union[Reference, _Mapping]] = ...) -> None: ...

class GatewayShare(_message.Message):
    __slots__ = ("address", "port", "network", "locality", "weight", "source")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    LOCALITY_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    address: str
    port: int
    network: str
    locality: str
    weight: int
    source: Reference
    def __init__(self, address: _Optional[str] = ..., port: _Optional[int] = ..., network: _Optional[str] = ..., locality: _Optional[str] = ..., weight: _Optional[int] = ..., source: _Optional[_Union[Reference, _Mapping]] = ...) -> None: ...

class ListFindingsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListFindingsResponse(_message.Message):
    __slots__ = ("findings",)
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    def __init__(self, findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("id", "severity", "object", "place", "cause", "remedy")
    class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SEVERITY_UNSPECIFIED: _ClassVar[Finding.Severity]
        ERROR: _ClassVar[Finding.Severity]
        WARNING: _ClassVar[Finding.Severity]
        INFO: _ClassVar[Finding.Severity]
    SEVERITY_UNSPECIFIED: Finding.Severity
    ERROR: Finding.Severity
    WARNING: Finding.Severity
    INFO: Finding.Severity
    ID_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    id: str
    severity: Finding.Severity
    object: str
    place: str
    cause: str
    remedy: str
    def __init__(self, id: _Optional[str] = ..., severity: _Optional[_Union[Finding.Severity, str]] = ..., object: _Optional[str] = ..., place: _Optional[str] = ..., cause: _Optional[str] = ..., remedy: _Optional[str] = ...) -> None: ...
