"""The page under /debug/: what there is to ask, how the server does, and who is connected."""

from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from steersman.admin import inspect_pb2 as pb
from steersman.admin.connected import one_each

SHOWN = 200
"""So many proxies are listed; /debug/proxies has them all."""

PAGES = (
    ("/ready", "200 when the server is ready, else 503 and why not"),
    ("/live", "200 as long as the server answers at all, ready or not"),
    ("/metrics", "figures for Prometheus: steersman_*, and pilot_* where Istio has the same"),
    ("/debug/proxies", "every open stream, and how far its proxy is with each type; ?proxy=NAME for one"),
    ("/debug/config_dump?proxy=NAME", "the resources that a proxy stands to be sent; &type=cds,eds,lds,rds,sds for some"),
    ("/debug/explain?proxy=NAME&service=SERVICE[:PORT]", "every candidate endpoint of a service, in or out for that proxy, and why"),
    ("/debug/findings", "what should be mended, in the mesh and at its proxies"),
    ("/debug/sources", "the server, and how far each of its sources is"),
    ("/debug/clusters", "how each cluster stands, and each resource that is read of its API"),
)

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c2430; background: #fff; }
h1 { font-size: 1.4rem; }
h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; vertical-align: top; }
th { border-bottom: 1px solid #b8c1cc; }
td { border-bottom: 1px solid #e6eaee; }
code { font: 13px/1.5 ui-monospace, monospace; }
.bad { color: #a4161a; font-weight: 600; }
.good { color: #1b6e3c; font-weight: 600; }
@media (prefers-color-scheme: dark) {
  body { color: #dfe5ec; background: #14181d; }
  a { color: #8ab4f8; }
  .bad { color: #ff8a80; }
  .good { color: #7bd88f; }
}
"""


def index_page(server: pb.Server, proxies: pb.ListProxiesResponse) -> str:
    """The page as HTML; everything that is not ours to word is escaped."""
    connected = list(one_each(proxies.proxies))
    return "\n".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Steersman</title>',
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>',
            f"<h1>Steersman {escape(server.version)} on {escape(server.instance)}</h1>",
            _readiness(server),
            "<h2>Pages</h2>",
            _table(("Page", "What it says"), ((_page(page), escape(text)) for page, text in PAGES)),
            "<h2>Sources</h2>",
            _table(("Source", "Kind", "Place", "State", "Objects", "Error"), (_source(source) for source in server.sources)),
            f"<h2>Proxies ({len(connected)})</h2>",
            _proxies(connected),
            "</body></html>\n",
        )
    )


def _readiness(server: pb.Server) -> str:
    if server.ready:
        return f'<p><span class="good">Ready.</span> Generation {server.generation}.</p>'
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in server.not_ready)
    return f'<p><span class="bad">Not ready:</span></p><ul>{reasons}</ul>'


def _page(page: str) -> str:
    """A link, where the page needs no parameter."""
    return f"<code>{escape(page)}</code>" if "?" in page else f'<a href="{escape(page)}"><code>{escape(page)}</code></a>'


def _source(source: pb.Source) -> Sequence[str]:
    state = pb.Source.State.Name(source.state).lower().replace("_", " ")
    marked = state if source.state == pb.Source.SYNCED else f'<span class="bad">{state}</span>'
    place = f"<code>{escape(source.place)}</code>"
    return (escape(source.name), escape(source.kind), place, marked, str(source.objects), escape(source.error))


def _proxies(proxies: Sequence[pb.Proxy]) -> str:
    if not proxies:
        return "<p>None is connected.</p>"
    shown = proxies[:SHOWN]
    rows = _table(("Proxy", "Cluster", "Network", "Protocol", "Types", ""), (_proxy(proxy) for proxy in shown))
    more = len(proxies) - len(shown)
    return rows + (f'<p>and {more} more: <a href="/debug/proxies">/debug/proxies</a></p>' if more else "")


def _proxy(proxy: pb.Proxy) -> Sequence[str]:
    link = f'<a href="/debug/config_dump?proxy={quote(proxy.id, safe="")}">config</a>'
    types = ", ".join(_sync(status) for status in proxy.types)
    return (f"<code>{escape(proxy.id)}</code>", escape(proxy.cluster), escape(proxy.network), escape(proxy.protocol), types, link)


def _sync(status: pb.TypeStatus) -> str:
    text = f"{status.type} {pb.TypeStatus.Sync.Name(status.sync)}"
    if status.sync != pb.TypeStatus.ERROR:
        return escape(text)
    return f'<span class="bad" title="{escape(status.rejection.message)}">{escape(text)}</span>'


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    head = "".join(f"<th>{column}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
