"""Which of the connected proxies a user means."""

from collections.abc import Iterable, Sequence

from steersman.errors import SteersmanError
from steersman.model.proxy import Proxy


class NotFound(SteersmanError):
    """What was asked for is not there; the text says what there is."""


class Unclear(SteersmanError):
    """The question fits several things, or has the wrong form; the text says how to ask better."""


SHOWN = 5
"""So many candidates are listed in an error; a mesh has thousands."""


def names_of(proxy: Proxy) -> tuple[str, ...]:
    """Every name by which this proxy may be called: the longer, the fewer others share it."""
    short = f"{proxy.name}.{proxy.namespace}" if proxy.name else ""
    node_id = proxy.id.removeprefix(f"{proxy.cluster}/")
    names = [proxy.id, node_id, short, proxy.name, f"{proxy.cluster}/{short}", f"{proxy.cluster}/{proxy.name}"]
    if proxy.ip:
        names.append(proxy.ip)
    return tuple(name for name in names if name and not name.startswith("/") and not name.endswith("/"))


def matching(proxies: Iterable[Proxy], wanted: str) -> tuple[Proxy, ...]:
    """The proxies of that name: by id if there is one, else by any of their names, else those whose id has it as a part."""
    known = {proxy.id: proxy for proxy in proxies}
    if wanted in known:
        return (known[wanted],)
    ordered = [known[key] for key in sorted(known)]
    return tuple(proxy for proxy in ordered if wanted in names_of(proxy)) or tuple(proxy for proxy in ordered if wanted in proxy.id)


def only(proxies: Iterable[Proxy], wanted: str) -> Proxy:
    """The one proxy of that name. Raises NotFound or Unclear."""
    held = list(proxies)
    if not wanted:
        raise Unclear("no proxy was named; give a node id or an unambiguous part of one, such as NAME.NAMESPACE or CLUSTER/NAME")
    found = matching(held, wanted)
    if not found:
        raise NotFound(f"no connected proxy is called {wanted!r}; {_listed('connected', sorted({proxy.id for proxy in held}))}")
    if len(found) > 1:
        raise Unclear(f"{wanted!r} fits {len(found)} proxies; {_listed('say which', [proxy.id for proxy in found])}")
    return found[0]


def _listed(lead: str, names: Sequence[str]) -> str:
    if not names:
        return "none is connected"
    more = f" and {len(names) - SHOWN} more (steersman proxies)" if len(names) > SHOWN else ""
    return f"{lead}: {', '.join(names[:SHOWN])}{more}"
