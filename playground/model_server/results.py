"""Classify and Regress: examples out of requests, results out of outputs. Both APIs use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorflow.core.example.example_pb2 import Example
from tensorflow_serving.apis.classification_pb2 import ClassificationResult
from tensorflow_serving.apis.regression_pb2 import RegressionResult

from playground.model_server.errors import Code, ServingError

if TYPE_CHECKING:
    from tensorflow_serving.apis.input_pb2 import Input

    from playground.model_server.tensors import Tensor


def serialised(given: Input) -> list[bytes]:
    """The examples of an Input, each merged with the context if there is one."""
    match given.WhichOneof("kind"):
        case "example_list":
            examples = list(given.example_list.examples)
        case "example_list_with_context":
            context = given.example_list_with_context.context
            examples = [_merged(context, example) for example in given.example_list_with_context.examples]
        case _:
            raise ServingError(Code.INVALID_ARGUMENT, "Input is empty.")
    if not examples:
        raise ServingError(Code.INVALID_ARGUMENT, "Input is empty.")
    return [example.SerializeToString() for example in examples]


def _merged(context: Example, example: Example) -> Example:
    merged = Example()
    merged.CopyFrom(context)
    merged.MergeFrom(example)
    return merged


def _rows(tensor: Tensor, alias: str, count: int) -> list[list[Any]]:
    values = tensor.values()
    if not tensor.shape or tensor.shape[0] != count:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"Expected {alias} output batch size of {count}, got {list(tensor.shape)}"
        )
    width = len(values) // count
    return [values[row * width : (row + 1) * width] for row in range(count)]


def classifications(outputs: dict[str, Tensor], count: int) -> ClassificationResult:
    """Labels with scores for each of `count` examples."""
    if not {"classes", "scores"} & set(outputs):
        raise ServingError(Code.FAILED_PRECONDITION, "Expected classification signature outputs to contain classes or scores")  # fmt: skip  # noqa: E501
    result = ClassificationResult()
    classes = _rows(outputs["classes"], "classes", count) if "classes" in outputs else None
    scores = _rows(outputs["scores"], "scores", count) if "scores" in outputs else None
    for row in range(count):
        entry = result.classifications.add()
        for column in range(len((classes or scores or [])[row])):
            item = entry.classes.add()
            if classes is not None:
                item.label = classes[row][column].decode(errors="replace")
            if scores is not None:
                item.score = scores[row][column]
    return result


def regressions(outputs: dict[str, Tensor], count: int) -> RegressionResult:
    """One value for each of `count` examples."""
    if "outputs" not in outputs:
        raise ServingError(Code.FAILED_PRECONDITION, "No regression outputs found in SignatureDef")
    result = RegressionResult()
    for row in _rows(outputs["outputs"], "outputs", count):
        result.regressions.add(value=row[0])
    return result
