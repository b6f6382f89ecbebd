"""Which pods a name on the command line means."""

from collections.abc import Mapping

from steersman.errors import SteersmanError


def chosen(named: str, pods: Mapping[str, str]) -> list[str]:
    """The pods that CLUSTER/[NAMESPACE/]NAME means: that of this name, else all whose app it is. Raises SteersmanError where there is none.

    `pods`: CLUSTER/NAMESPACE/NAME of every pod, with the value of its label app.
    """
    cluster, *namespace, name = named.split("/") if named.count("/") in (1, 2) else ("", "", "")
    near = {pod: app for pod, app in pods.items() if pod.startswith("/".join([cluster, *namespace, ""]))}
    found = [pod for pod in near if pod.rpartition("/")[2] == name] or [pod for pod, app in near.items() if app == name]
    if not found:
        raise SteersmanError(f"no pod {named} in this lab; there are: {', '.join(pods)}")
    return found


def only(named: str, pods: Mapping[str, str]) -> str:
    """The only pod that the name means. Raises SteersmanError where there are several, naming them."""
    found = chosen(named, pods)
    if len(found) > 1:
        raise SteersmanError(f"{named} means several pods, name one: {', '.join(found)}")
    return found[0]
