"""What objects stand in a text, and at which lines."""

import json
from collections.abc import Collection
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.sources.texts import BrokenText, Entry, Format, entries

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}


def found_in(form: Format, text: str | bytes) -> list[tuple[int, str, str, Any]]:
    """(line from 1, apiVersion, kind, name or body) of each object."""
    data = text.encode() if isinstance(text, str) else text
    return [
        (entry.line + one.line + 1, one.api_version, one.kind, (json.loads(one.body) or {}).get("metadata", {}).get("name"))
        for entry in entries(form, data, ())
        for one in entry.found or ()
    ]


def test_each_document_is_an_object_at_its_line() -> None:
    text = (
        "# a comment\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n# another\napiVersion: v1\nkind: A\nmetadata: {name: b}\n"
    )
    assert found_in(Format.YAML, text) == [(3, "v1", "Pod", "a"), (8, "v1", "A", "b")]


@pytest.mark.parametrize("text", ["", "---\n", "# only a comment\n", "---\n---\n# nothing\n", "null\n", "~"])
def test_a_text_without_objects_is_fine(text: str) -> None:
    assert found_in(Format.YAML, text) == []


def test_a_border_needs_no_newline_before_the_end_and_may_hold_content() -> None:
    text = '--- {kind: Pod, apiVersion: v1, metadata: {name: a}}\r\n--- {kind: "Pod"}\r\n---  \r\nkind: X\n---'
    assert found_in(Format.YAML, text) == [(1, "v1", "Pod", "a"), (2, "", "Pod", None), (4, "", "X", None)]


def test_three_dashes_inside_a_block_text_are_no_border() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n    a\n    ---\n    b\n---x: y\n"
    assert found_in(Format.YAML, text) == [(1, "v1", "ConfigMap", "a")]


@pytest.mark.parametrize("text", ["%YAML 1.1\n---\nkind: A\n...\n---\nkind: B\n", "kind: A\n...\n# c\n---\nkind: B\n"])
def test_directives_and_end_marks_are_understood(text: str) -> None:
    assert [kind for _, _, kind, _ in found_in(Format.YAML, text)] == ["A", "B"]


def test_a_list_as_kubectl_prints_it_is_its_items_each_at_its_line() -> None:
    text = """apiVersion: v1
items:
- apiVersion: v1
  kind: Pod
  metadata:
    name: a
    annotations:
      note: |
        - no item
        items:
- apiVersion: v1
  kind: Service
  metadata:
    name: b

# between
- kind: Pod
  apiVersion: v1
  metadata: {name: c}
kind: List
metadata:
  resourceVersion: ""
"""
    assert found_in(Format.YAML, text) == [(3, "v1", "Pod", "a"), (11, "v1", "Service", "b"), (17, "v1", "Pod", "c")]


@pytest.mark.parametrize("indent", ["", "  ", "    "])
def test_items_may_be_indented_or_come_first_or_last(indent: str) -> None:
    items = f"items:  # here\n{indent}- metadata: {{name: a}}\n{indent}-\n{indent}  metadata: {{name: b}}\n"
    head = "apiVersion: v1\nkind: PodList\n"
    assert [found[1:] for found in found_in(Format.YAML, head + items)] == [("v1", "Pod", "a"), ("v1", "Pod", "b")]
    assert [found[1:] for found in found_in(Format.YAML, items + head)] == [("v1", "Pod", "a"), ("v1", "Pod", "b")]


@pytest.mark.parametrize(
    "items",
    [
        "\n- &a {apiVersion: v1, kind: Pod, metadata: {name: a}}\n- *a\n",
        "\n- {apiVersion: v1, kind: Pod, metadata: {name: a, x: 'a\n- b'}}\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n",
        " [{apiVersion: v1, kind: Pod, metadata: {name: a}}, {apiVersion: v1, kind: Pod, metadata: {name: a}}]\n",
        "\n- null\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n-\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n",
        "\n- kind: PodList\n  apiVersion: v1\n  items:\n  - {metadata: {name: a}}\n  - {metadata: {name: a}}\n",
    ],
)
def test_a_list_that_can_only_be_read_as_a_whole_is_read_as_a_whole(items: str) -> None:
    assert [found[1:] for found in found_in(Format.YAML, f"kind: List\napiVersion: v1\nitems:{items}")] == [
        ("v1", "Pod", "a"),
        ("v1", "Pod", "a"),
    ]


def test_an_object_with_items_that_is_no_list_stays_whole() -> None:
    text = "apiVersion: v1\nkind: Menu\nmetadata: {name: m}\nitems:\n- a\n- b\n"
    assert found_in(Format.YAML, text) == [(1, "v1", "Menu", "m")]
    assert found_in(Format.JSON, json.dumps(yaml.safe_load(text))) == [(1, "v1", "Menu", "m")]


@pytest.mark.parametrize("items", ["[]", "null", "~", ""])
def test_an_empty_list_holds_nothing(items: str) -> None:
    assert found_in(Format.YAML, f"apiVersion: v1\nitems: {items}\nkind: List\n") == []
    assert found_in(Format.JSON, f'{{"kind": "PodList", "apiVersion": "v1", "items": {items.strip("~") or "null"}}}') == []


def test_json_objects_are_found_with_their_lines() -> None:
    assert found_in(Format.JSON, json.dumps(POD)) == [(1, "v1", "Pod", "p")]
    listed = json.dumps({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": [POD, POD | {"kind": "X"}, None]}, indent=2)
    assert found_in(Format.JSON, listed) == [(6, "v1", "Pod", "p"), (13, "v1", "X", "p")]
    typed = json.dumps({"kind": "PodList", "apiVersion": "v1", "items": [{"metadata": {"name": "a"}}]})
    assert found_in(Format.JSON, typed) == [(1, "v1", "Pod", "a")]


def test_json_values_may_follow_each_other_as_jq_prints_them() -> None:
    text = json.dumps(POD, indent=1) + "\n" + json.dumps(POD | {"kind": "X"}) + json.dumps(POD | {"kind": "Y"}) + "\n"
    assert [(line, kind) for line, _, kind, _ in found_in(Format.JSON, text)] == [(1, "Pod"), (8, "X"), (8, "Y")]


def test_a_yaml_file_may_hold_json_and_flow_style() -> None:
    assert found_in(Format.YAML, json.dumps(POD, indent=2)) == [(1, "v1", "Pod", "p")]
    assert found_in(Format.YAML, "{kind: Pod, apiVersion: v1}") == [(1, "v1", "Pod", None)]


def test_a_byte_order_mark_is_skipped() -> None:
    assert found_in(Format.YAML, b"\xef\xbb\xbfkind: Pod\n") == [(1, "", "Pod", None)]
    assert found_in(Format.JSON, b"\xef\xbb\xbf" + json.dumps(POD).encode()) == [(1, "v1", "Pod", "p")]


@pytest.mark.parametrize(
    ("form", "text", "line", "problem"),
    [
        (Format.YAML, "kind: Pod\n---\nkind: [\n", 2, "did not find expected node"),
        (Format.YAML, "kind: Pod\n---\njust words\n", 2, "expected a Kubernetes object, found 'just words'"),
        (Format.YAML, "- a\n- b\n", 0, "expected a Kubernetes object"),
        (Format.YAML, "kind: List\nitems:\n- kind: Pod\n- kind: [\n", 3, "expected node"),
        (Format.YAML, "a: 1\nb: .nan\n", 0, ""),
        (Format.YAML, b"a: 1\nb: \xff\n", 1, "the byte 0xff is not UTF-8"),
        (Format.JSON, b'{"a":\n\n"\xe9"}', 2, "the byte 0xe9 is not UTF-8"),
        (Format.JSON, '{\n"kind": "Pod",\n"metadata": {\n', 2, "ends too early"),
        (Format.JSON, '{\n"kind": "Pod",\n"metadata": nope}\n', 2, "malformed"),
        (Format.JSON, "", 0, "the file is empty"),
        (Format.JSON, " \n \n", 0, "the file is empty"),
        (Format.JSON, "[1]", 0, "expected a Kubernetes object"),
        (Format.JSON, '{"kind": 5}', 0, "expected a Kubernetes object"),
        (Format.JSON, '{"kind": "List", "items": {}}', 0, "expected a Kubernetes object"),
        (Format.JSON, '{"kind": "A"} {"kind": ', 0, "trailing characters"),
        (Format.JSON, '{"kind": "A"}\n[1]', 1, "expected a Kubernetes object"),
        (Format.JSON, '{"a": ' * 5000, 0, "nested too deeply"),
    ],
)
def test_a_broken_text_is_told_with_its_line(form: Format, text: str | bytes, line: int, problem: str) -> None:
    if not problem and form is Format.YAML:
        assert found_in(form, text) == [(1, "", "", None)]
        return
    with pytest.raises(BrokenText) as caught:
        found_in(form, text)
    assert caught.value.line == line
    assert problem in caught.value.problem


def known(found: Collection[Entry]) -> set[bytes]:
    return {entry.digest for entry in found}


@pytest.mark.parametrize("written", ["documents", "list", "json"])
def test_only_what_changed_is_parsed_again_wherever_it_now_stands(written: str) -> None:
    def text(names: list[str]) -> bytes:
        objects: list[dict[str, Any]] = [POD | {"metadata": {"name": name}} for name in names]
        if written == "documents":
            return yaml.safe_dump_all(objects).encode()
        whole = {"apiVersion": "v1", "kind": "List", "items": objects}
        return yaml.safe_dump(whole).encode() if written == "list" else json.dumps(whole, indent=1).encode()

    form = Format.JSON if written == "json" else Format.YAML
    before = list(entries(form, text(["a", "b", "c"]), ()))
    assert all(entry.found is not None for entry in before)
    after = list(entries(form, text(["new", "c", "a", "b"]), known(before)))
    assert [json.loads(one.body)["metadata"]["name"] for entry in after for one in entry.found or ()] == ["new"]
    fresh = list(entries(form, text(["new", "c", "a", "b"]), ()))
    assert [(entry.digest, entry.line) for entry in after] == [(entry.digest, entry.line) for entry in fresh]


NAMES = st.lists(st.sampled_from(["a", "b", "- c", "items:", "---", "x: y", "'", '"', "#", "{", "|", "\n- z", "é"]), max_size=4)
OBJECTS = st.lists(st.fixed_dictionaries({"apiVersion": st.just("v1"), "kind": st.just("Pod"), "data": NAMES}), max_size=4)


@given(OBJECTS, st.sampled_from(["List", "PodList"]), st.booleans(), st.integers(20, 200))
@settings(deadline=None)
def test_a_list_is_the_same_however_it_is_written(objects: list[dict[str, Any]], kind: str, in_order: bool, width: int) -> None:
    whole = {"kind": kind, "apiVersion": "v1", "items": objects} if in_order else {"items": objects, "apiVersion": "v1", "kind": kind}
    bodies = [
        [json.loads(one.body) for entry in entries(form, text.encode(), ()) for one in entry.found or ()]
        for form, text in [
            (Format.JSON, json.dumps(whole)),
            (Format.JSON, json.dumps(whole, indent=2)),
            *((Format.YAML, yaml.safe_dump(whole, sort_keys=False, width=width, default_flow_style=flow)) for flow in (False, True, None)),
            (Format.YAML, yaml.safe_dump_all(objects, width=width)),
        ]
    ]
    assert bodies == [objects] * 6


@given(OBJECTS)
@settings(deadline=None)
def test_the_line_of_an_item_is_where_its_text_begins(objects: list[dict[str, Any]]) -> None:
    whole = {"apiVersion": "v1", "items": objects, "kind": "List"}
    for form, text in [(Format.YAML, yaml.safe_dump(whole)), (Format.JSON, json.dumps(whole, indent=1))]:
        lines = text.splitlines()
        for entry in entries(form, text.encode(), ()):
            for one in entry.found or ():
                begins = lines[entry.line + one.line].strip()
                assert begins.startswith("- apiVersion" if form is Format.YAML else "{")
