"""What is wrong with a manifest, found without a cluster. Pure; `lint` calls it.

The same three readings that it will get: the schema, the schema's CEL rules, and the operator's own `parse_spec`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from json import dumps
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from modelrollout.cli import rules
from modelrollout.core.spec import InvalidSpec
from modelrollout.core.spec_json import parse_spec

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to change. `path` is as people write it: `spec.strategy.steps[1].weight`."""

    path: str
    message: str

    def __str__(self) -> str:
        """In one line."""
        return f"{self.path}: {self.message}" if self.path else self.message


def problems(manifest: dict[str, Any], schema: Schema) -> list[Problem]:
    """Everything wrong with a ModelRollout. The operator's reading comes last, when nothing else is wrong."""
    complete = with_defaults(manifest, schema)
    found = [*_unknown(manifest, schema, ""), *_shape(complete, schema), *_repeated(complete, schema, "")]
    found += [Problem(path, text) for path, text in rules.broken(complete, schema) if not _inside(path, found)]
    if found:
        return found
    try:
        parse_spec(complete["spec"], complete["metadata"]["name"])
    except InvalidSpec as error:
        return [Problem("spec", str(error).removeprefix("spec cannot be read: "))]
    return []


def with_defaults(value: Any, schema: Schema) -> Any:
    """A copy with the schema's defaults filled in, as the API server does before it validates."""
    if isinstance(value, dict):
        fields = schema.get("properties", {})
        missing = {key: below["default"] for key, below in fields.items() if "default" in below and key not in value}
        return {key: with_defaults(item, _below(schema, key) or {}) for key, item in {**value, **missing}.items()}
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items", {})) for item in value]
    return value


def _below(schema: Schema, key: str) -> Schema | None:
    """Schema of a field, None when there is no such field."""
    fields, others = schema.get("properties"), schema.get("additionalProperties")
    if fields and key in fields:
        found = fields[key]
        assert isinstance(found, dict)
        return found
    if isinstance(others, dict):
        return others
    return {} if not fields or schema.get("x-kubernetes-preserve-unknown-fields") else None


def _unknown(value: Any, schema: Schema, path: str) -> Iterator[Problem]:
    """Fields that the API server would drop without a word."""
    if isinstance(value, dict):
        for key, item in value.items():
            here, below = f"{path}.{key}".lstrip("."), _below(schema, key)
            if below is None:
                near = get_close_matches(key, schema["properties"], n=1)
                yield Problem(here, "there is no such field" + (f"; did you mean {near[0]}?" if near else ""))
            else:
                yield from _unknown(item, below, here)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(item, schema.get("items", {}), f"{path}[{index}]")


def _shape(manifest: Any, schema: Schema) -> Iterator[Problem]:
    for error in sorted(Draft202012Validator(_json_schema(schema)).iter_errors(manifest), key=lambda e: e.json_path):
        path = error.json_path.removeprefix("$").lstrip(".")
        if error.validator == "required":
            # one error for each field, but only its message says which
            (missing,) = (name for name in error.schema["required"] if error.message.startswith(repr(name)))
            yield Problem(f"{path}.{missing}".lstrip("."), "Required value")
        else:
            yield Problem(path, _words(error))


def _words(error: ValidationError) -> str:
    """In the API server's words, where it has some of its own."""
    limit: Any = error.validator_value
    match error.validator:
        case "enum":
            return f"Unsupported value: {dumps(error.instance)}; there are {', '.join(map(str, limit))}"
        case "pattern":
            return f"should match '{limit}': {_first_sentence(error.schema)}"
        case "type":
            return f"must be of type {limit}"
        case "minLength":
            return f"should be at least {limit} chars long"
        case "minProperties":
            return f"should have at least {limit} properties"
        case "minimum":
            return f"should be greater than or equal to {limit}"
        case "maximum":
            return f"should be less than or equal to {limit}"
        case "minItems":
            return f"should have at least {limit} items"
        case "maxItems":
            return f"must have at most {limit} items"
        case _:
            return str(error.message)


def _first_sentence(schema: Any) -> str:
    described = schema.get("description", "") if isinstance(schema, dict) else ""
    return str(described).split(". ", maxsplit=1)[0].rstrip(".")


def _repeated(value: Any, schema: Schema, path: str) -> Iterator[Problem]:
    """Items of a list that is a map or a set, which have a key or a value twice."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _repeated(item, _below(schema, key) or {}, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        keys: list[str] = schema.get("x-kubernetes-list-map-keys", [])
        seen: list[Any] = []
        for index, item in enumerate(value):
            yield from _repeated(item, schema.get("items", {}), f"{path}[{index}]")
            known = {key: item.get(key) for key in keys} if keys and isinstance(item, dict) else item
            if (keys or schema.get("x-kubernetes-list-type") == "set") and known in seen:
                yield Problem(f"{path}[{index}]", f"Duplicate value: {dumps(known)}")
            seen.append(known)


def _json_schema(schema: Any) -> Any:
    """The same as JSON Schema: what may be a number or a string says so in `type`."""
    if isinstance(schema, list):
        return [_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _json_schema(item) for key, item in schema.items() if key != "default"}
    return {**plain, "type": ["integer", "string"]} if schema.get("x-kubernetes-int-or-string") is True else plain


def _inside(path: str, found: list[Problem]) -> bool:
    """Whether something at or below this path is wrong already: a rule about it would only say so in other words."""
    return any(problem.path == path or problem.path.startswith((f"{path}.", f"{path}[")) for problem in found)
