"""Schemas are held against values in bounded time, and say what is wrong with them."""

import time
from typing import Any

import pytest

from orchestrator.domain.errors import Invalid
from orchestrator.service import json_schemas
from orchestrator.service.json_schemas import check_schema, fault


@pytest.mark.parametrize(
    ("schema", "field", "words"),
    [
        ({"properties": {"a": {"pattern": "("}}}, "$.s.properties.a.pattern", "no regular expression"),
        ({"items": [{"patternProperties": {"(": {}}}]}, "$.s.items[0].patternProperties", "no regular expression"),
        ({"pattern": "a" * 1001}, "$.s.pattern", "1,000 characters"),
        ({"allOf": [{"unevaluatedProperties": False}]}, "$.s.allOf[0]", "unevaluatedProperties is not served"),
        ({"properties": {"a": {"$schema": "x"}}}, "$.s.properties.a", "at the top"),
        ({"$schema": "http://127.0.0.1:1/"}, "$.s.$schema", "draft"),
        ({"$schema": []}, "$.s.$schema", "draft"),
        ({"type": [{"n": n} for n in range(101)]}, "$.s.type[0]", "no JSON Schema"),
        ({"type": "wish"}, "$.s.type", "no JSON Schema"),
    ],
)
def test_what_is_not_served_is_refused_at_the_install(schema: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(Invalid, match=words) as refusal:
        check_schema(schema, "$.s")
    assert refusal.value.facts["field"] == field


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"pattern": {"type": "string"}, "patternProperties": {}}},
        {"default": {"pattern": "x"}, "enum": [{"pattern": "x"}]},
        {"enum": list(range(500))},
        {"enum": [{"n": n} for n in range(3000)]},
        {"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"$ref": "#"}}},
    ],
)
def test_what_only_looks_like_it_is_served(schema: dict[str, Any]) -> None:
    check_schema(schema, "$.s")
    assert fault(schema, next(iter(schema.get("enum", [{"a": {"a": {}}}])))) is None


def test_a_schema_nested_too_deep_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(500):
        schema = {"not": schema}
    with pytest.raises(Invalid):
        check_schema(schema, "$.s")


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"$defs": {"a": {"$ref": "#"}}, "allOf": [{"$ref": "#/$defs/a"}]}])
def test_a_schema_that_goes_in_circles_allows_nothing(schema: dict[str, Any]) -> None:
    check_schema(schema, "$.s")
    assert "without end" in str(fault(schema, {}))


def test_a_reference_brings_in_nothing_that_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = {"not": {"unevaluatedItems": True}}
    schema = {"properties": {"properties": {"properties": hidden["not"]}}, "$ref": "#/properties/properties/properties"}
    check_schema(schema, "$.s")
    assert "unevaluatedItems is not served" in str(fault(schema, [1]))


SLOW = r"(?=(a+))\1*.*.*.*[xy]$"
HOSTILE = "a" * 800


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": SLOW}, HOSTILE),
        ({"patternProperties": {SLOW: {}}}, {HOSTILE: 1}),
        ({"additionalProperties": False, "patternProperties": {SLOW: {}}}, {HOSTILE: 1}),
        ({"propertyNames": {"pattern": SLOW}}, {HOSTILE: 1}),
    ],
)
def test_an_expression_that_takes_for_ever_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, schema: dict[str, Any], value: Any
) -> None:
    check_schema(schema, "$.s")
    monkeypatch.setattr(json_schemas, "LONGEST_SECS", 0.05)
    assert "within 0.05 s" in str(fault(schema, value))


@pytest.mark.parametrize(
    ("schema", "value", "words"),
    [
        ({"pattern": r"^\p{Lu}\d{2}$"}, "Ä12", None),
        ({"pattern": "^a"}, "ba", "$: 'ba' does not match '^a'"),
        ({"pattern": "^a"}, 5, None),
        ({"patternProperties": {"^n_": {"type": "integer"}}}, {"n_a": 1, "b": "x"}, None),
        ({"patternProperties": {"^n_": {"type": "integer"}}}, {"n_a": "x"}, "$.n_a: 'x' is not of type 'integer'"),
        (
            {"properties": {"a": {}}, "patternProperties": {"^n_": {}}, "additionalProperties": False},
            {"a": 1, "n_a": 1},
            None,
        ),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"b": 1}, "$: there is no such property: 'b'"),
        ({"additionalProperties": {"type": "null"}}, {"b": 1}, "$.b: 1 is not of type 'null'"),
        ({"additionalProperties": True}, {"b": 1}, None),
    ],
)
def test_expressions_and_further_properties(schema: dict[str, Any], value: Any, words: str | None) -> None:
    check_schema(schema, "$.s")
    assert fault(schema, value) == words


@pytest.mark.parametrize(
    ("values", "is_unique"),
    [
        ([1, True, "1", None, [1], {"a": 1}], True),
        ([1, 1.0], False),
        ([{"a": [1], "b": 2}, {"b": 2.0, "a": [1.0]}], False),
        ([1e300, 10**18], True),
        ([False, 0], True),
    ],
)
def test_elements_are_unique_as_the_specification_says(values: list[Any], is_unique: bool) -> None:
    assert (fault({"uniqueItems": True}, values) is None) is is_unique
    assert fault({"uniqueItems": False}, values) is None


def test_many_elements_are_unique_in_no_time() -> None:
    began = time.thread_time()
    assert fault({"uniqueItems": True}, [{"n": n} for n in range(20_000)]) is None
    # To compare each with each takes minutes.
    assert time.thread_time() - began < 2


def test_a_schema_that_doubles_at_each_level_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(40)}
    schema = {"$defs": {**twice, "l40": {}}, "$ref": "#/$defs/l0"}
    check_schema(schema, "$.s")
    monkeypatch.setattr(json_schemas, "LONGEST_SECS", 0.05)
    began = time.thread_time()
    assert "within 0.05 s" in str(fault(schema, {}))
    assert time.thread_time() - began < 1
