"""Another cluster's account, asked for a token by which Steersman may read that cluster.

The only code that writes to a cluster, and only when it is told to (`make`): the account and its rights.
Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
"""

from dataclasses import dataclass

import msgspec

from steersman.errors import SourceError
from steersman.sources.kube import wire
from steersman.sources.kube.api import Api, Broken, Unreachable
from steersman.sources.kube.credentials import Credentials, loaded
from steersman.sources.kube.kubeconfig import Kubeconfig
from steersman.sources.kube.resources import RESOURCES, Resource
from steersman.sources.kube.rights import Account, Object, account_objects
from steersman.sources.kube.timing import Timing

RBAC = "config/kubernetes/rbac.yaml"
_PATIENCE = Timing(connect=5.0, answer=10.0)
_PLURALS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}


class _Granted(msgspec.Struct, rename="camel"):
    token: str
    expiration_timestamp: str


class _TokenRequest(msgspec.Struct):
    status: _Granted


@dataclass(frozen=True, slots=True)
class Token:
    """`expires`: as the API server says it, in RFC 3339."""

    secret: str
    expires: str

    def __repr__(self) -> str:
        return f"Token(expires={self.expires!r})"


@dataclass(frozen=True, slots=True)
class Given:
    """Credentials of a kubeconfig that was read already."""

    config: Kubeconfig
    place: str

    def changed(self) -> bool:
        return False

    def revoked(self) -> bool:
        return False

    async def credentials(self) -> Credentials:
        return await loaded(self.config, self.place)


async def token_of(access: Given, account: Account, seconds: int, *, make: bool) -> Token:
    """A token of the account, good for so many seconds unless the API server grants fewer. `make`: the account and its rights are made
    where they are missing. Raises SourceError, which names the cluster, what was refused, and what to do."""
    async with Api(access, _PATIENCE) as api:
        where = f"{api.server} ({access.place})"
        if make:
            for value in account_objects(account):
                await _made(api, where, value)
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}}
        path = f"/api/v1/namespaces/{account.namespace}/serviceaccounts/{account.name}/token"
        code, body = await _posted(api, where, path, asked)
        if code == 404:
            raise SourceError(
                f"{where}: it has no ServiceAccount {account}. Make it with its rights by --create-service-account, or by "
                f"`kubectl apply -f {RBAC}` in that cluster"
            )
        if code == 403:
            raise SourceError(
                f"{where}: a token of ServiceAccount {account} is refused ({_words(code, body)}). Use a context that may create "
                f"serviceaccounts/token in namespace {account.namespace}"
            )
        if code not in (200, 201):
            raise SourceError(f"{where}: no token of ServiceAccount {account} could be had: {_words(code, body)}")
        try:
            granted = msgspec.json.decode(body, type=_TokenRequest).status
        except msgspec.DecodeError:
            raise SourceError(f"{where}: its answer to a TokenRequest holds no token; is this a Kubernetes API?") from None
        return Token(granted.token, granted.expiration_timestamp)


async def missing_rights(access: Given) -> tuple[Resource, ...]:
    """What these credentials may not list of that which is read. Raises SourceError."""
    async with Api(access, _PATIENCE) as api:
        return tuple([resource for resource in RESOURCES if await _forbidden(api, resource)])


async def _forbidden(api: Api, resource: Resource) -> bool:
    """By whichever version is served: who may not ask is told so before it is looked at whether there is such a thing."""
    async with api.request(resource.path(resource.versions[0]), (("limit", "1"),)) as response:
        return response.status in (401, 403)


async def _made(api: Api, where: str, value: Object) -> None:
    """Unless it is there: what an administrator changed stays as it is."""
    what = f"{value['kind']} {value['metadata']['name']}"
    code, body = await _posted(api, where, _PLURALS[value["kind"]].format(value["metadata"].get("namespace", "")), value)
    if code == 403:
        raise SourceError(
            f"{where}: making {what} is refused ({_words(code, body)}). Use a context that may, or have an administrator apply {RBAC} there"
        )
    if code not in (200, 201, 409):
        raise SourceError(f"{where}: {what} could not be made: {_words(code, body)}")


async def _posted(api: Api, where: str, path: str, value: Object) -> tuple[int, bytes]:
    """Raises SourceError where there is no answer, or nobody is known by these credentials."""
    try:
        async with api.request(path, method="POST", body=msgspec.json.encode(value)) as response:
            code, body = response.status, await api.body(response)
    except (Unreachable, Broken) as error:
        raise SourceError(f"{where}: {error}. See whether the API server runs and can be reached from here") from error
    if code == 401:
        raise SourceError(
            f"{where}: it takes these credentials for nobody's ({_words(code, body)}). Log in again, or name another --context"
        )
    return code, body


def _words(code: int, body: bytes) -> str:
    message = wire.status(body).message
    return f"{code}: {message}" if message else str(code)
