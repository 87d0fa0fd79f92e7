"""JSON of the REST interface: tensors out of `instances` or `inputs`, `predictions` or `outputs` out of tensors.

Used by `rest_api`. The rules and messages are those of the real server's json_tensor.cc.
"""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any

from playground.model_server.errors import Code, ServingError
from playground.model_server.tensors import BOOL, FLOATS, STRING, Tensor, numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef


def _bad(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)


def parse(body: bytes) -> dict[str, Any]:
    """The request's object; ServingError for what is none."""
    if not body:
        raise _bad("JSON Parse error: The document is empty. at offset: 0")
    try:
        value = json.loads(body)
    except json.JSONDecodeError as error:
        raise _bad(f"JSON Parse error: Invalid value. at offset: {error.pos}") from error
    except UnicodeDecodeError as error:
        raise _bad(f"JSON Parse error: Invalid encoding in string. at offset: {error.start}") from error
    if not isinstance(value, dict):
        raise _bad(f"JSON Value: {json.dumps(value)} Is not object")
    return value


def inputs(document: Mapping[str, Any], signature: SignatureDef) -> tuple[dict[str, Tensor], bool]:
    """Tensors for a signature's inputs, and whether the format was by rows (`instances`)."""
    if ("instances" in document) == ("inputs" in document):
        raise _bad(
            "Not formatted correctly expecting only 'inputs' or 'instances' keys"
            if "inputs" in document
            else "Missing 'inputs' or 'instances' key"
        )
    if "instances" in document:
        return _from_rows(document["instances"], signature), True
    return _from_columns(document["inputs"], signature), False


def _from_rows(instances: Any, signature: SignatureDef) -> dict[str, Tensor]:
    if not isinstance(instances, list) or not instances:
        raise _bad("'instances' is not a list/array" if not isinstance(instances, list) else "'instances' is empty")
    types = {alias: info.dtype for alias, info in signature.inputs.items()}
    if not _is_named(instances[0]):
        if len(types) != 1:
            raise _bad(f"instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map {sorted(types)}")  # fmt: skip  # noqa: E501
        alias = next(iter(types))
        return {alias: tensor(instances, types[alias])}
    columns: dict[str, list[Any]] = {alias: [] for alias in types}
    for index, instance in enumerate(instances):
        if not _is_named(instance) or set(instance) != set(types):
            raise _bad(f"Failed to process element: {index} of 'instances' list. JSON object: does not have named input: {', '.join(sorted(set(types) - set(instance if _is_named(instance) else [])))}")  # fmt: skip  # noqa: E501
        for alias, value in instance.items():
            columns[alias].append(value)
    return {alias: tensor(values, types[alias]) for alias, values in columns.items()}


def _from_columns(given: Any, signature: SignatureDef) -> dict[str, Tensor]:
    types = {alias: info.dtype for alias, info in signature.inputs.items()}
    if _is_named(given):
        if missing := set(types) - set(given):
            raise _bad(f"Missing named input: {', '.join(sorted(missing))} in 'inputs' object.")
        return {alias: tensor(given[alias], dtype) for alias, dtype in types.items()}
    if len(types) != 1:
        raise _bad("inputs is a plain value/list, but expecting an object as multiple input tensors required")
    alias = next(iter(types))
    return {alias: tensor(given, types[alias])}


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and set(value) != {"b64"}


def tensor(value: Any, dtype: int) -> Tensor:
    """A tensor out of nested lists; all lists of one depth must have the same length."""
    shape: list[int] = []
    flat = [value]
    while flat and isinstance(flat[0], list):
        size = len(flat[0])
        if any(not isinstance(entry, list) or len(entry) != size for entry in flat):
            raise _bad(f"Encountered list at unexpected size or level: {len(shape)}")
        shape.append(size)
        flat = [child for entry in flat for child in entry]
    if dtype == STRING:
        return Tensor(STRING, tuple(shape), [_string(entry) for entry in flat])
    return numbers(dtype, tuple(shape), [_number(entry, dtype) for entry in flat])


def _string(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and set(value) == {"b64"}:
        try:
            return base64.b64decode(value["b64"])
        except (ValueError, TypeError) as error:
            raise _bad(f"Unable to base64 decode value: {error}") from error
    raise _bad(f"JSON Value: {json.dumps(value)} Type: {_kind(value)} is not of expected type: string")


def _number(value: Any, dtype: int) -> Any:
    kinds: tuple[type, ...] = (bool,) if dtype == BOOL else (int, float) if dtype in FLOATS else (int,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and dtype != BOOL):
        names = {1: "float", 2: "double", 3: "int32", 9: "int64", BOOL: "bool"}
        raise _bad(f"JSON Value: {json.dumps(value)} Type: {_kind(value)} is not of expected type: {names.get(dtype, dtype)}")  # fmt: skip  # noqa: E501
    return value


def _kind(value: Any) -> str:
    names = {bool: "Boolean", str: "String", dict: "Object", list: "Array", type(None): "Null"}
    return names.get(type(value), "Number")


def answer(outputs: Mapping[str, Tensor], *, by_rows: bool) -> str:
    """The body of a predict reply. ServingError when outputs by rows have different batch sizes."""
    if not by_rows:
        columns = {alias: _nested(alias, each) for alias, each in outputs.items()}
        return body("outputs", next(iter(columns.values())) if len(columns) == 1 else columns)
    sizes = {each.shape[0] if each.shape else None for each in outputs.values()}
    if len(sizes) != 1 or None in sizes:
        raise _bad("Tensors have inconsistent batch sizes or no batch dimension")
    lists = {alias: _nested(alias, each) for alias, each in outputs.items()}
    if len(lists) == 1:
        return body("predictions", next(iter(lists.values())))
    return body("predictions", [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)])


def _nested(alias: str, value: Tensor) -> Any:
    flat = [_plain(alias, each) for each in value.values()]
    if not value.shape:
        return flat[0]
    for size in reversed(value.shape[1:]):
        flat = [flat[start : start + size] for start in range(0, len(flat), size)] if size else []
    return flat


def _plain(alias: str, value: Any) -> Any:
    if isinstance(value, bytes):
        as_base64 = alias.endswith("_bytes")
        return {"b64": base64.b64encode(value).decode()} if as_base64 else value.decode(errors="replace")
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.9g}")  # enough for any 32-bit float, without the tail of its 64-bit form
    return value


def body(key: str, value: Any) -> str:
    """An object with one key, laid out like the real server's."""
    return f'{{\n    "{key}": {json.dumps(value)}\n}}'


def pretty(value: Any) -> str:
    """A whole document, one line per entry."""
    return json.dumps(value, indent=1)


def examples(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The feature maps of a classify or regress request, the context merged into each."""
    given, context = document.get("examples"), document.get("context", {})
    if not isinstance(given, list) or not given or not all(isinstance(entry, dict) for entry in given):
        raise _bad("When method is classify, regress key 'examples' is expected and was not found")
    return [{**context, **entry} for entry in given]
