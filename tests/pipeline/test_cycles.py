"""Nothing that the pipeline makes needs the cyclic collector, which a server keeps from looking at it (docs/design/server.md)."""

import gc

from steersman.model.facts import Delete
from steersman.model.ids import ClusterID
from tests.bench.mesh import Mesh, service_facts


def test_endpoints_services_and_standpoints_come_and_go_without_leaving_cycles() -> None:
    mesh = Mesh(3, 12)
    mesh.connect()
    mesh.settle()
    gc.collect()
    gc.disable()
    try:
        for name in range(20):
            mesh.change()
            facts = service_facts(ClusterID("c0"), 0, 100 + name % 2, 5)
            mesh.pipeline.apply(facts)
            mesh.settle()
            mesh.pipeline.apply([Delete(kind=fact.kind, key=fact.key) for fact in facts])
            mesh.settle()
        assert gc.collect() == 0
    finally:
        gc.enable()
