"""Credentials from an exec plugin: a program that a kubeconfig names, run for as long as it is waited for and no longer.

The official package runs them as well, but leaves the program behind when nobody waits for it any more, and waits for ever for one that
says much on its standard error.
Source: https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
"""

import asyncio
import base64
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from steersman.sources.kube.kubeconfig import BadKubeconfig

_GROUP = "client.authentication.k8s.io/"
_CLUSTER_KEYS = ("server", "tls-server-name", "certificate-authority-data", "insecure-skip-tls-verify", "proxy-url")
"""What a plugin that asks for it is told of the cluster."""
_LONGEST_WORDS = 200
"""Characters of what a plugin said that are repeated."""


class _Status(msgspec.Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""


class _ExecCredential(msgspec.Struct, rename="camel"):
    kind: str
    api_version: str
    status: _Status


async def exec_credential(command: Mapping[str, Any], cluster: Mapping[str, Any], place: str) -> dict[str, str]:
    """What the plugin says, as a kubeconfig's user says it: `token`, or `client-certificate-data` and `client-key-data`, or both.

    `command`: the user's `exec`. It gets no terminal and no input: nobody is there to be asked. Its whole process group is killed when the
    caller is cancelled. Raises BadKubeconfig.
    """
    name, version = command.get("command"), command.get("apiVersion")
    arguments, variables = command.get("args") or [], command.get("env") or []
    if not isinstance(name, str) or not name or not isinstance(version, str) or not version.startswith(_GROUP):
        raise BadKubeconfig(f"{place}: exec: expected command, a program, and apiVersion, {_GROUP}v1 or v1beta1")
    if not isinstance(arguments, list) or not all(isinstance(argument, str) for argument in arguments):
        raise BadKubeconfig(f"{place}: exec: expected args, a list of texts")
    try:
        given = {str(variable["name"]): str(variable["value"]) for variable in variables}
    except (KeyError, TypeError) as error:
        raise BadKubeconfig(f"{place}: exec: expected env, a list of name and value") from error
    if command.get("interactiveMode") == "Always":
        raise BadKubeconfig(f"{place}: exec: {name} wants a terminal (interactiveMode: Always), which Steersman has none of")
    told = {"KUBERNETES_EXEC_INFO": _info(version, cluster if command.get("provideClusterInfo") else None)}
    code, said, complained = await _run([name, *arguments], {**os.environ, **given, **told}, command, place)
    if code != 0:
        words = complained.decode("utf-8", "replace").strip().rpartition("\n")[2][:_LONGEST_WORDS]
        raise BadKubeconfig(f"{place}: exec: {name} ended with {code}{f': {words}' if words else ''}")
    return _user(said, version, f"{place}: exec: {name}")


def _info(version: str, cluster: Mapping[str, Any] | None) -> str:
    spec: dict[str, Any] = {"interactive": False}
    if cluster is not None:
        spec["cluster"] = {key: cluster[key] for key in _CLUSTER_KEYS if key in cluster}
    return msgspec.json.encode({"apiVersion": version, "kind": "ExecCredential", "spec": spec}).decode()


async def _run(arguments: list[str], environment: Mapping[str, str], command: Mapping[str, Any], place: str) -> tuple[int, bytes, bytes]:
    """The exit code, standard output and standard error."""
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    )
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Were the start cancelled, asyncio would kill the plugin alone and wait, maybe for ever, for what that has started already.
        with suppress(OSError):
            await _killed(await starting)
        raise
    except OSError as error:
        hint = str(command.get("installHint") or "").strip()
        raise BadKubeconfig(f"{place}: exec: {arguments[0]} can't be run: {error.strerror}{f'; {hint}' if hint else ''}") from error
    try:
        said, complained = await process.communicate()
        return await process.wait(), said, complained
    except asyncio.CancelledError:
        await _killed(process)
        raise


async def _killed(process: asyncio.subprocess.Process) -> None:
    """With its group, which bears the plugin's number until the last of them is gone, so that nobody else is met."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _user(said: bytes, version: str, place: str) -> dict[str, str]:
    """No message repeats what was said: it is secret."""
    try:
        answer = msgspec.json.decode(said, type=_ExecCredential)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadKubeconfig(f"{place} printed no ExecCredential with a status") from None
    if answer.kind != "ExecCredential" or answer.api_version != version:
        raise BadKubeconfig(
            f"{place} printed kind {answer.kind} and apiVersion {answer.api_version}, expected ExecCredential and {version}"
        )
    status = answer.status
    user: dict[str, str] = {}
    if status.token:
        user["token"] = status.token
    if bool(status.client_certificate_data) is not bool(status.client_key_data):
        raise BadKubeconfig(f"{place} printed one of clientCertificateData and clientKeyData, expected both or neither")
    for key, pem in (("client-certificate-data", status.client_certificate_data), ("client-key-data", status.client_key_data)):
        if pem:
            user[key] = base64.b64encode(pem.encode()).decode()
    if not user:
        raise BadKubeconfig(f"{place} printed neither a token nor a client certificate")
    return user
