"""Which service a user means."""

import pytest

from steersman.explain.service_names import UnclearService, UnknownService, service_named
from steersman.model.config import MeshConfig
from tests.support.mesh import Mesh, port, service

MESH = Mesh(
    MeshConfig(domain="mesh.example"),
    service("east", "reviews", ports=(port(9080, "http"), port(9090, "grpc"))),
    service("west", "reviews", namespace="other"),
    service("west", "ratings", namespace="other"),
    service("east", "twice", namespace="one"),
    service("east", "twice", namespace="two"),
)


def named(text: str, namespace: str = "default") -> tuple[str, int | None]:
    found = service_named(MESH.pipeline.graph.ask, text, namespace)
    return str(found.service), found.port


@pytest.mark.parametrize(
    "text",
    [
        "reviews",
        "reviews.default",
        "reviews.default.svc",
        "reviews.default.svc.mesh.example",
        "Reviews.Default.svc.mesh.example.",
        " reviews ",
    ],
)
def test_a_service_has_the_names_by_which_a_client_may_call_it(text: str) -> None:
    assert named(text) == ("default/reviews", None)


@pytest.mark.parametrize("text", ["reviews:9090", "reviews.default:grpc", "reviews.default.svc.mesh.example:9090"])
def test_a_port_is_named_by_number_or_name(text: str) -> None:
    assert named(text) == ("default/reviews", 9090)


def test_a_bare_name_is_the_clients_own_namespaces_else_the_only_one() -> None:
    assert named("reviews", "other") == ("other/reviews", None)
    assert named("ratings", "default") == ("other/ratings", None)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("twice", UnclearService, "'twice' fits 2 services; say which: twice.one, twice.two"),
        ("", UnclearService, "'' names no service; write NAME, NAME.NAMESPACE or the full host, with :PORT for one port"),
        ("reviews:", UnclearService, "'reviews:' names no service; write NAME, NAME.NAMESPACE or the full host, with :PORT for one port"),
        ("ratings.default", UnknownService, "no cluster has a Service ratings in namespace default; near: ratings.other"),
        ("review", UnknownService, "no cluster has a Service review; near: reviews.default, reviews.other"),
        ("reviews.defalt", UnknownService, "no cluster has a Service reviews in namespace defalt; near: reviews.default, reviews.other"),
        ("db", UnknownService, "no cluster has a Service db; there are 5, such as reviews.default, twice.one, ratings.other"),
        ("reviews.default:80", UnknownService, "reviews.default has no port 80; its ports: 9080 (http), 9090 (grpc)"),
        ("reviews.default.svc.other.domain", UnknownService, "no cluster has a Service reviews in namespace default.svc.other.domain"),
    ],
)
def test_a_name_that_means_nothing_is_told_what_is_near(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        named(text)
    assert str(caught.value).startswith(message)


def test_an_empty_mesh_says_so() -> None:
    with pytest.raises(UnknownService, match="no cluster has any Service"):
        service_named(Mesh().pipeline.graph.ask, "reviews")
