"""YAML as Kubernetes reads it."""

import sys
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.sources.yamltext import PlainValues, YAMLProblem, nodes_of


def values_of(text: str) -> list[Any]:
    values = PlainValues(text)
    return [values.of(node) for node in nodes_of(text)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("2024-01-01", "2024-01-01"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("12:30", "12:30"),
        ("10.0.0.1", "10.0.0.1"),
        ("'80'", "80"),
        ("80", 80),
        ("-5", -5),
        ("0x1f", 31),
        ("0o17", 15),
        ("017", 15),
        ("1_000", 1000),
        ("08", 8.0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("yes", True),
        ("Off", False),
        ("y", "y"),
        ("~", None),
        ("null", None),
        ("!!str 5", "5"),
        ("!!binary aGk=", "aGk="),
        ("|\n two\n lines\n", "two\nlines\n"),
        ("", None),
    ],
)
def test_a_plain_value_is_what_kubernetes_takes_it_for(text: str, value: object) -> None:
    (found,) = values_of(f"key: {text}\n")
    assert (found["key"], type(found["key"])) == (value, type(value))


def test_keys_are_texts() -> None:
    assert values_of("1: a\nyes: b\n1.5: c\nnull: d\nx: e\n") == [{"1": "a", "true": "b", "1.5": "c", "null": "d", "x": "e"}]


def test_a_merge_key_fills_what_is_not_set() -> None:
    text = "base: &b {a: 1, b: 2}\nmore: &m {b: 5, c: 3}\nsum:\n  <<: [*b, *m]\n  a: 9\n"
    assert values_of(text)[0]["sum"] == {"a": 9, "b": 2, "c": 3}


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", 2, "'a' stands twice"),
        ("x:\n  a: 1\n  'a': 3\n", 2, "'a' stands twice"),
        ("a: [1\nb: 2\n", 1, "expected ',' or ']'"),
        ("a: 'open\n", 1, "end of stream"),
        ("a: b: c", 0, "mapping values are not allowed"),
        ("a:\n\t- b", 1, "cannot start any token"),
        ("a: *nowhere", 0, "undefined alias"),
        ("a: !!python/name:os.system", 0, "the tag"),
        ("a: !thing {}\nb: !other x", 1, "the tag"),
        ("? [a]\n: b", 0, "a key must be a text"),
        ("a: &a [*a]", 0, "refers to itself"),
        ("x: 1\n<<: 5", 1, "only mappings can be merged"),
        ("a: \x01", 0, "not allowed"),
        ("[" * 100_000, 0, "nested more than 200 deep"),
        ("- " * 100_000, 0, "nested more than 200 deep"),
        ("a: 0b12\nb: 0b2\n", 0, ""),
    ],
)
def test_what_json_cannot_say_is_refused_with_its_line(text: str, line: int, problem: str) -> None:
    if problem == "":
        assert values_of(text) == [{"a": "0b12", "b": "0b2"}]
        return
    with pytest.raises(YAMLProblem) as caught:
        values_of(text)
    assert caught.value.line == line
    assert problem in caught.value.problem


def test_a_few_aliases_that_unfold_to_billions_are_refused() -> None:
    levels = [f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]" for below, name in zip("abcdefgh", "bcdefghi", strict=True)]
    with pytest.raises(YAMLProblem, match="unfold to more than a million"):
        values_of("\n".join(["a: &a [x, x, x, x, x, x, x, x, x]", *levels]))


def test_brackets_in_quotes_and_many_shallow_ones_are_no_depth() -> None:
    text = "a: '" + "[" * 500 + "'\nb: [" + "{c: [1]}, " * 500 + "]\n"
    assert values_of(text)[0]["b"] == [{"c": [1]}] * 500


TEXTS = st.text().filter(
    lambda text: not text[:1].isdigit() and text[:1] not in tuple("+-.")
)  # PyYAML quotes fewer numbers than Go's YAML has
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-sys.maxsize, sys.maxsize) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES, st.booleans(), st.sampled_from([None, '"']))
@settings(deadline=None)
def test_whatever_is_dumped_is_read_back(value: object, flow: bool, style: str | None) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, default_style=style)
    assert values_of(text) == [value]
