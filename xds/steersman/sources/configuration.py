"""The parts of the configuration that decide what proxies see, as facts."""

from steersman.model.facts import Fact, Origin, Upsert
from steersman.model.objects import Kind
from steersman.settings import Settings

SOURCE = "config"


def configuration_facts(settings: Settings, seen: float) -> list[Fact]:
    """The mesh section and every cluster. `seen`: wall clock seconds when the file was read."""
    facts: list[Fact] = [Upsert(kind=Kind.MESH, key="", value=settings.mesh, origin=_origin(settings, "mesh", seen))]
    for cluster in settings.clusters:
        origin = _origin(settings, cluster.path, seen)
        facts.append(Upsert(kind=Kind.CLUSTER, key=cluster.config.name, value=cluster.config, origin=origin))
    return facts


def _origin(settings: Settings, path: str, seen: float) -> Origin:
    return Origin(source=SOURCE, place=f"{settings.file}: {path}", seen=seen)
