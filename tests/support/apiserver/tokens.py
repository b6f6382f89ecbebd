"""The TokenRequest API of the double, as the API server of Kubernetes 1.37 answers."""

import datetime as dt
import uuid

from tests.support.apiserver.kinds import ACCOUNTS, Object
from tests.support.apiserver.store import ObjectName, Refused, Store

LONGEST = 2 * 365 * 24 * 3600
"""Seconds that are granted at most, as by --service-account-max-token-expiration."""


def request(store: Store, tokens: dict[str, str], account: ObjectName, asked: Object) -> Object:
    """The request with its status: a token that is taken from now on. Raises Refused."""
    namespace, name = account
    if store.get(ACCOUNTS, account) is None:
        raise Refused(404, "NotFound", f'serviceaccounts "{name}" not found')
    seconds = asked["spec"].get("expirationSeconds", 3600)
    if seconds < 600:
        field = "spec.expirationSeconds: Invalid value"
        raise Refused(
            422, "Invalid", f'TokenRequest.authentication.k8s.io "" is invalid: {field}: {seconds}: may not be less than 10 minutes'
        )
    seconds = min(seconds, LONGEST)
    token = f"the-token-{uuid.uuid4()}"
    tokens[token] = f"system:serviceaccount:{namespace}:{name}"
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    status = {"token": token, "expirationTimestamp": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return {**asked, "metadata": {"name": name, "namespace": namespace}, "status": status}
