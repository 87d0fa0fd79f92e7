"""The CEL rules of a schema, evaluated without an API server. Pure; called by `checks`."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import cel

_FUNCTIONS: dict[str, Callable[..., Any]] = {"split": str.split, "isSorted": lambda items: list(items) == sorted(items)}
"""Kubernetes' own additions to CEL, as far as our rules use them."""


def broken(value: Any, schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Path and message of each rule that does not hold, from the outside in.

    Rules about a change (`oldSelf`) have nothing to compare with and are left to the API server.
    """
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" not in rule["rule"] and not _holds(rule["rule"], value):
            yield f"{path}{rule.get('fieldPath', '')}".lstrip("."), _message(rule, value)
    if isinstance(value, dict):
        fields, others = schema.get("properties", {}), schema.get("additionalProperties")
        for key, item in value.items():
            below = fields.get(key, others)
            if isinstance(below, dict):
                yield from broken(item, below, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from broken(item, schema.get("items", {}), f"{path}[{index}]")


def _holds(rule: str, value: Any) -> bool:
    """Whether a rule holds. One that cannot be evaluated does: the shape is wrong then, which is told elsewhere."""
    try:
        return bool(_evaluate(rule, value))
    except (LookupError, RuntimeError, TypeError, ValueError):
        return True


def _message(rule: Mapping[str, str], value: Any) -> str:
    if "messageExpression" in rule:
        return str(_evaluate(rule["messageExpression"], value))
    return rule.get("message", f"failed rule: {rule['rule']}")


def _evaluate(expression: str, value: Any) -> Any:
    return cel.evaluate(expression, cel.Context(variables={"self": value}, functions=_FUNCTIONS))
