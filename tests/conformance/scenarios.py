"""What a server of any variant is held to, as the public conformance harness has it: its 18 outlines, its 98 runs, told in our own words.

A scenario is a transcript with gaps that its rows fill. Its steps:
    ask XDS NAMES        subscribe to these, besides what a delta stream has; "*" is the first request without any
    narrow XDS NAMES     SotW: the subscription is these from now on; "-" is the empty name, by which the harness ends it
    drop XDS NAMES       delta: unsubscribe
    set, add, remove XDS NAME VERSION
    get XDS NAME@VERSION ... !NAME ...
                         one response, with exactly these, and those told to be missing
No other response may come, however long one waits.
"""

from dataclasses import dataclass

from steersman.ads.messages import Variant

SOTW, DELTA = Variant.SOTW, Variant.DELTA

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`given`: the resources that there are at first, all at version 1, of each type that the steps name. `alone`: on per-type streams as
    well as on an aggregated one."""

    title: str
    variants: tuple[Variant, ...]
    given: str
    steps: tuple[str, ...]
    rows: tuple[Row, ...]
    alone: bool = True


def row(xds: str, **gaps: str) -> Row:
    return {"xds": xds, **gaps}


EVERYTHING = (
    Scenario(
        "who asks without names is sent all there is at once",
        (SOTW,),
        "{all}",
        ("ask {xds} *", "get {xds} {all}@1"),
        (row("CDS", all="A B C"), row("LDS", all="D E F")),
    ),
    Scenario(
        "who has all is sent all again when one changes",
        (SOTW,),
        "{all}",
        ("ask {xds} *", "get {xds} {all}@1", "set {xds} {one} 2", "get {xds} {all}@2"),
        (row("CDS", all="A B C", one="A"), row("LDS", all="D E F", one="D")),
    ),
    Scenario(
        "who has all is sent what is new besides",
        (SOTW,),
        "{all}",
        ("ask {xds} *", "get {xds} {all}@1", "add {xds} {new} 2", "get {xds} {all} {new}@2"),
        (row("CDS", all="A B C", new="D"), row("LDS", all="D E F", new="G")),
    ),
)

BY_NAME = (
    Scenario(
        "who asks by name is sent what it named",
        (SOTW, DELTA),
        "{all}",
        ("ask {xds} {some}", "get {xds} {some}@1"),
        (row("LDS", all="G B L D", some="L G"), row("RDS", all="B A", some="B A")),
    ),
    Scenario(
        "of full state types it is sent all that it named when one of them changes",
        (SOTW,),
        "{all}",
        ("ask {xds} {some}", "get {xds} {some}@1", "set {xds} {one} 2", "get {xds} {some}@2"),
        (row("CDS", all="A B C D", some="B D", one="B"), row("LDS", all="G B L D", some="L G", one="G")),
    ),
    Scenario(
        "of other types it is sent what changed",
        (SOTW,),
        "{all}",
        ("ask {xds} {some}", "get {xds} {some}@1", "set {xds} {one} 2", "get {xds} {one}@2"),
        (row("RDS", all="A B C D", some="B D", one="B"), row("EDS", all="A B C D", some="B D", one="B")),
    ),
    Scenario(
        "of full state types it is sent all that it named when what was missing comes",
        (SOTW,),
        "{all}",
        ("ask {xds} {there} {late}", "get {xds} {there}@1", "add {xds} {late} 2", "get {xds} {there} {late}@2"),
        (row("CDS", all="A B C", there="A", late="Z"), row("LDS", all="G B D", there="B D", late="X")),
    ),
    Scenario(
        "of other types it is sent what was missing when it comes",
        (SOTW,),
        "{all}",
        ("ask {xds} {there} {late}", "get {xds} {there}@1", "add {xds} {late} 2", "get {xds} {late}@2"),
        (row("RDS", all="A B C D", there="A", late="Z"), row("EDS", all="A B C D", there="A", late="Z")),
    ),
    Scenario(
        "on one aggregated stream types are subscribed one after the other",
        (SOTW,),
        "A B C",
        ("ask {xds} B", "get {xds} B@1", "ask {other} B", "get {other} B@1", "set {xds} B 2", "get {xds} B@2"),
        (row("CDS", other="LDS"), row("RDS", other="EDS")),
        alone=False,
    ),
)

NO_LONGER = (
    Scenario(
        "of full state types who names fewer is sent those",
        (SOTW,),
        "{all}",
        ("ask {xds} {some}", "get {xds} {some}@1", "narrow {xds} {one}", "set {xds} {one} 2", "get {xds} {one}@2"),
        (row("CDS", all="F A B C D", some="C A B", one="A"), row("LDS", all="G B L D", some="B D L", one="B")),
    ),
    Scenario(
        "of other types who names fewer is sent those",
        (SOTW,),
        "{all}",
        ("ask {xds} {some}", "get {xds} {some}@1", "narrow {xds} {one}", "set {xds} {one} 2", "get {xds} {one}@2"),
        (row("RDS", all="A B C D", some="B D", one="B"), row("EDS", all="A B C D", some="B D", one="B")),
    ),
    Scenario(
        "who names nothing any more is sent nothing any more",
        (SOTW,),
        "A B C D",
        ("ask {xds} A B", "get {xds} A B@1", "narrow {xds} -", "set {xds} B 2"),
        (row("CDS"), row("RDS"), row("LDS"), row("EDS")),
    ),
)

INCREMENTAL = (
    Scenario(
        "names are subscribed one after the other",
        (DELTA,),
        "{one} {two} X",
        ("ask {xds} {one}", "get {xds} {one}@1", "ask {xds} {two}", "get {xds} {two}@1"),
        (row("CDS", one="A", two="B"), row("LDS", one="D", two="E"), row("RDS", one="D", two="E"), row("EDS", one="D", two="E")),
    ),
    Scenario(
        "what changed is all that is sent",
        (DELTA,),
        "A B C",
        ("ask {xds} A B C", "get {xds} A B C@1", "set {xds} A 2", "get {xds} A@2"),
        (row("LDS"), row("CDS"), row("RDS"), row("EDS")),
    ),
    Scenario(
        "what is missing is said to be, and sent when it comes",
        (DELTA,),
        "{one}",
        ("ask {xds} {one} {two}", "get {xds} {one}@1 !{two}", "add {xds} {two} 1", "get {xds} {two}@1"),
        (row("CDS", one="A", two="B"), row("LDS", one="D", two="E"), row("RDS", one="D", two="E"), row("EDS", one="D", two="E")),
    ),
    Scenario(
        "what is removed is said to be, and sent when it comes back",
        (DELTA,),
        "{one} {two}",
        (
            "ask {xds} {one} {two}",
            "get {xds} {one} {two}@1",
            "remove {xds} {two} 1",
            "get {xds} !{two}",
            "add {xds} {two} 2",
            "get {xds} {two}@2",
        ),
        (row("CDS", one="A", two="B"), row("LDS", one="D", two="E"), row("RDS", one="D", two="E"), row("EDS", one="D", two="E")),
    ),
    Scenario(
        "what is unsubscribed changes unheard",
        (DELTA,),
        "{one} {two}",
        (
            "ask {xds} {one} {two}",
            "get {xds} {one} {two}@1",
            "drop {xds} {two}",
            "set {xds} {two} 2",
            "drop {xds} {one}",
            "set {xds} {one} 2",
        ),
        (row("CDS", one="A", two="B"), row("LDS", one="D", two="E"), row("RDS", one="D", two="E"), row("EDS", one="D", two="E")),
    ),
    Scenario(
        "on one aggregated stream types are subscribed and pushed beside each other",
        (DELTA,),
        "A B C",
        (
            "ask {xds} B",
            "ask {other} B",
            "get {xds} B@1",
            "get {other} B@1",
            "set {xds} B 2",
            "get {xds} B@2",
            "set {other} B 2",
            "get {other} B@2",
        ),
        (row("CDS", other="LDS"), row("LDS", other="CDS"), row("RDS", other="EDS"), row("EDS", other="RDS")),
        alone=False,
    ),
)

SCENARIOS = (*EVERYTHING, *BY_NAME, *NO_LONGER, *INCREMENTAL)
