"""A kubeconfig from a Secret is hostile input: what is taken of it, what is refused, and that nothing of it is run, read or repeated."""

import asyncio
import base64
import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from steersman.errors import SourceError
from steersman.settings import NOTHING, Allowed
from steersman.sources.kube.credentials import loaded
from steersman.sources.kube.kubeconfig import BadKubeconfig, restricted
from steersman.sources.kube.plainyaml import NotPlain, plain
from tests.support.apiserver.tls import ClusterCA

SECRET = "s3cr3t"
CLUSTER = {"server": "https://west:6443"}
EVERYTHING = Allowed(
    exec=frozenset({"aws"}),
    exec_env=frozenset({"AWS_PROFILE"}),
    files=frozenset({"/var/token", "/var/ca"}),
    auth_providers=frozenset({"oidc"}),
    insecure_servers=True,
)


def written(cluster: Any = None, user: Any = None, **root: Any) -> bytes:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {**CLUSTER, **(cluster or {})}}],
        "users": [{"name": "u", "user": {"token": SECRET} if user is None else user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
        **root,
    }
    return json.dumps(config).encode()


def parts(text: bytes, allow: Allowed = NOTHING) -> tuple[Any, Any]:
    """Cluster and user of what is taken."""
    config = restricted(text, allow)
    assert [len(config[key]) for key in ("clusters", "users", "contexts")] == [1, 1, 1]
    return config["clusters"][0]["cluster"], config["users"][0]["user"]


def refusal(text: bytes, allow: Allowed = NOTHING) -> str:
    with pytest.raises(BadKubeconfig) as caught:
        restricted(text, allow)
    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) < 1500
    assert str(caught.value).isprintable()
    return str(caught.value)


def outcome(read: Callable[..., Any], *arguments: Any) -> Any:
    """What is read, or the text of the refusal."""
    try:
        return read(*arguments)
    except (BadKubeconfig, NotPlain) as error:
        return str(error)


def test_credentials_that_stand_in_it_are_taken_and_nothing_else() -> None:
    user = {
        "token": SECRET,
        "client-certificate-data": "QQ==",
        "client-key-data": "QQ==",
        "unknown": {"exec": 1},
        "username": "me",
        "password": "p",
    }
    cluster = {
        "certificate-authority-data": "QQ==",
        "tls-server-name": "api",
        "extensions": [{"name": "x"}],
        "proxy-url": "http://proxy:3128",
    }
    assert parts(written(cluster, user, preferences={"a": 1}, extensions=[])) == (
        {**CLUSTER, "certificate-authority-data": "QQ==", "tls-server-name": "api", "proxy-url": "http://proxy:3128"},
        {key: value for key, value in user.items() if key != "unknown"},
    )


@pytest.mark.parametrize(
    ("cluster", "user", "told"),
    [
        ({}, {"exec": {"command": "aws", "apiVersion": "v1"}}, "exec of the command aws (allow.exec)"),
        ({}, {"exec": {"command": ["aws"]}}, "exec of the command that is not named (allow.exec)"),
        ({}, {"exec": "aws"}, "an exec that is no mapping"),
        ({}, {"token": SECRET, "tokenFile": "/var/token"}, "tokenFile, the file /var/token (allow.files)"),
        ({}, {"tokenFile": ["/var/token"]}, "expected a text"),
        (
            {},
            {"client-certificate": "/a", "client-key": "/b"},
            "client-certificate, the file /a (allow.files); client-key, the file /b (allow.files)",
        ),
        ({}, {"auth-provider": {"name": "oidc", "config": {}}}, "auth-provider oidc (allow.authProviders)"),
        ({}, {"auth-provider": {"name": "gcp", "config": {"cmd-path": "/bin/sh"}}}, "auth-provider gcp (allow.authProviders)"),
        ({}, {"auth-provider": ["gcp"]}, "auth-provider that is not named"),
        ({}, {"token": SECRET, "as": "admin"}, "as: impersonation"),
        ({}, {"token": SECRET, "as-groups": ["admins"]}, "as-groups: impersonation"),
        ({"certificate-authority": "/var/ca"}, None, "certificate-authority, the file /var/ca (allow.files)"),
        ({"insecure-skip-tls-verify": True}, None, "insecure-skip-tls-verify (allow.insecureServers)"),
        ({"insecure-skip-tls-verify": "no"}, None, "insecure-skip-tls-verify, which must be true or false"),
        ({"server": "http://west"}, None, "a server by http, expected https (allow.insecureServers)"),
        ({"server": "file:///etc/passwd"}, None, "a URL of http or https"),
        ({"server": f"https://me:{SECRET}@west"}, None, "a server that is no URL of a host"),
        ({"server": "https://"}, None, "a server that is no URL of a host"),
        ({"server": "https://west:port"}, None, "a server that is no URL of a host"),
        ({"server": "https://west/?q"}, None, "a server that is no URL of a host"),
        ({"server": "https://west\r\nHost: x"}, None, "a server that is no URL of a host"),
        ({"proxy-url": "socks5://proxy"}, None, "a proxy-url by socks5, expected https or http"),
        ({"proxy-url": f"http://me:{SECRET}@proxy"}, None, "a proxy-url that is no URL of a host"),
        ({"proxy-url": {}, "tls-server-name": 5}, None, "expected a text"),
    ],
)
def test_what_would_be_run_read_or_trusted_is_refused_by_name(cluster: Any, user: Any, told: str) -> None:
    assert told in refusal(written(cluster, user))


def test_all_that_is_refused_is_told_at_once() -> None:
    told = refusal(written({"insecure-skip-tls-verify": True}, {"exec": {"command": "aws"}, "tokenFile": "/t"}))
    assert all(key in told for key in ("allow.insecureServers", "allow.exec", "allow.files"))


def test_what_is_allowed_by_name_is_taken_and_no_more() -> None:
    command = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "aws",
        "args": ["eks"],
        "env": [{"name": "AWS_PROFILE", "value": "p"}],
    }
    cluster, user = parts(
        written({"insecure-skip-tls-verify": True}, {"exec": {**command, "installHint": "x"}, "tokenFile": "/var/token"}), EVERYTHING
    )
    assert cluster == {**CLUSTER, "insecure-skip-tls-verify": True}
    assert user == {"exec": command, "tokenFile": "/var/token"}
    assert "exec of the command /usr/bin/aws" in refusal(written(user={"exec": {"command": "/usr/bin/aws"}}), EVERYTHING)
    assert "the file /var/../var/token" in refusal(written(user={"tokenFile": "/var/../var/token"}), EVERYTHING)
    wrong = {**command, "env": [{"name": "LD_PRELOAD", "value": "x"}]}
    assert "the environment variable LD_PRELOAD (allow.execEnv)" in refusal(written(user={"exec": wrong}), EVERYTHING)
    assert "env is no list" in refusal(written(user={"exec": {**command, "env": ["LD_PRELOAD=x"]}}), EVERYTHING)
    provider = {"name": "oidc", "config": {"id-token": SECRET, "idp-certificate-authority": "/etc/passwd"}}
    assert parts(written(user={"auth-provider": provider}), EVERYTHING)[1] == {
        "auth-provider": {"name": "oidc", "config": {"id-token": SECRET}}
    }
    assert "no mapping of texts" in refusal(written(user={"auth-provider": {"name": "oidc", "config": {"id-token": {}}}}), EVERYTHING)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"text",
        b"}{",
        b"\x00",
        b"[" * 100_000,
        b"- " * 100_000,
        b"{" + b"a: {" * 100,
        b"a: &a [x]\nb: *a",
        b"a: &a [*a]",
        b"a: !!python/object/apply:os.system ['true']",
        b"!!set {a, b}",
        b"a: 1\na: 2",
        b"? [a]\n: b",
        b"--- {}\n--- {}",
        b"x" * (1 << 20) + b"x",
        b"[" + b"a," * 100_000 + b"]",
        b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 40)),
        written(**{"current-context": "nobody"}),
        written(**{"current-context": 5}),
        written(contexts=None),
        written(contexts=[{"name": "x"}]),
        written(contexts=[["x"]]),
        written(clusters={"c": CLUSTER}),
        written(users=[]),
    ],
)
def test_nonsense_and_bombs_are_refused_in_few_words(text: bytes) -> None:
    assert refusal(text)


def test_plain_yaml_makes_texts_of_what_is_no_quoted_truth() -> None:
    text = "a: 1\nb: [~, null, 'null', true, \"true\", 2026-01-01, 0x10, 1_000, 10.0.0.1, .inf]\nc: {d: , '1': x}\ne: |\n  t\n"
    assert plain(text.encode()) == {
        "a": "1",
        "b": [None, None, "null", True, "true", "2026-01-01", "0x10", "1_000", "10.0.0.1", ".inf"],
        "c": {"d": None, "1": "x"},
        "e": "t\n",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([SECRET, "/etc/passwd", "x", "c", "u"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "user", "cluster", "exec", "env", "config"]), inner, max_size=3)
    ),
    max_leaves=6,
)
CLUSTER_KEYS = ["server", "certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify", "proxy-url", "tls-server-name"]
USER_KEYS = [
    "token",
    "tokenFile",
    "client-certificate",
    "client-key",
    "client-key-data",
    "exec",
    "auth-provider",
    "as",
    "username",
    "password",
]


@given(st.dictionaries(st.sampled_from(CLUSTER_KEYS), JSON), st.dictionaries(st.sampled_from(USER_KEYS), JSON), st.booleans())
def test_whatever_it_says_it_is_refused_or_names_no_file_command_or_provider(cluster: Any, user: Any, known: bool) -> None:
    text = written({**cluster, **({"server": "https://west"} if known else {})}, user)
    config = outcome(restricted, text, NOTHING)
    if isinstance(config, str):
        assert config.isprintable()
        return
    taken_cluster, taken_user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    assert taken_cluster["server"].startswith("https://")
    assert set(taken_cluster) <= {"server", "certificate-authority-data", "proxy-url", "tls-server-name"}
    assert set(taken_user) <= {"token", "client-key-data", "client-certificate-data", "username", "password"}
    assert all(isinstance(value, str) for value in (*taken_cluster.values(), *taken_user.values()))


@given(st.binary(max_size=200) | st.text(alphabet="a:-[]{}&*!|>'\"#?,%@ \n\t1~", max_size=80).map(str.encode))
def test_any_bytes_are_plain_values_or_refused(text: bytes) -> None:
    assert is_plain(outcome(plain, text))


def is_plain(value: Any) -> bool:
    match value:
        case dict():
            return all(isinstance(key, str) and is_plain(inner) for key, inner in value.items())
        case list():
            return all(map(is_plain, value))
        case _:
            return value is None or isinstance(value, str | bool)


@example("\x85")
@given(JSON)
def test_json_is_read_as_what_it_says(value: Any) -> None:
    def texts(part: Any) -> Any:
        match part:
            case dict():
                return {key: texts(inner) for key, inner in part.items()}
            case list():
                return [texts(inner) for inner in part]
            case bool() | str() | None:
                return part
            case _:
                return str(part)

    as_is = "\x85" not in json.dumps(value, ensure_ascii=False)  # a line break to YAML 1.1, which PyYAML writes without escaping it
    for written_as in (json.dumps(value), yaml.safe_dump(value, allow_unicode=as_is, default_flow_style=False)):
        found = outcome(plain, written_as.encode())
        # YAML 1.1 has no word for some characters of JSON, and PyYAML writes what stands twice as an alias.
        assert found == texts(value) or (isinstance(found, str) and ("no YAML" in found or "alias" in found))


def test_nothing_is_run_or_read_even_when_credentials_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is taken goes through the official package: no file is opened but those that it writes itself, and these are gone afterwards."""
    marker = tmp_path / "ran"
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    started: list[Any] = []
    monkeypatch.setattr(os, "fork", lambda: started.append("fork"))
    monkeypatch.setattr(asyncio, "create_subprocess_exec", lambda *arguments, **_: started.append(arguments))
    key, certificate = _pair()
    user = {
        "client-certificate-data": certificate,
        "client-key-data": key,
        "token": SECRET,
        "hidden": {"exec": {"command": f"touch {marker}"}},
    }
    config = restricted(written({"certificate-authority-data": certificate}, user), NOTHING)
    credentials = asyncio.run(loaded(copy.deepcopy(config), "here"))
    assert credentials.tls is not None
    assert asyncio.run(_headers(credentials)) == {"Authorization": f"Bearer {SECRET}"}
    assert not started
    assert not marker.exists()
    assert list((tmp_path / "tmp").iterdir()) == []


async def _headers(credentials: Any) -> Any:
    return await credentials.headers()


@pytest.mark.parametrize("token", ["a\r\nHost: evil", "a\x00", "tök"])
def test_a_token_that_no_header_can_hold_is_an_error_of_its_source(token: str) -> None:
    credentials = asyncio.run(loaded(restricted(written(user={"token": token}), NOTHING), "here"))
    with pytest.raises(SourceError, match="no token can have"):
        asyncio.run(_headers(credentials))


def _pair() -> tuple[str, str]:
    """A key and its certificate, as a kubeconfig holds them."""
    certificate, key = ClusterCA().serving("127.0.0.1")
    return base64.b64encode(key).decode(), base64.b64encode(certificate).decode()
