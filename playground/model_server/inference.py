"""One request to a model, whatever protocol it came by. `grpc_api` and `rest_api` call it.

Tells which version a request means, keeps that version loaded meanwhile, applies its faults, and runs TensorFlow.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from array import array
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from playground.model_server.errors import Code, ServingError
from playground.model_server.tensors import FLOATS, STRING, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
    from tensorflow_serving.apis.model_pb2 import ModelSpec

    from playground.model_server.core import ServerCore
    from playground.model_server.manager import Servable
    from playground.model_server.metrics import Metrics
    from playground.model_server.tf_session import SavedModel

DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Answer:
    """What a version said."""

    version: int
    signature: str
    outputs: dict[str, Tensor]


class Inference:
    """Runs requests on worker threads; the event loop goes on meanwhile."""

    def __init__(self, core: ServerCore, metrics: Metrics) -> None:
        self._core = core
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="run")
        self._random = random.Random()  # noqa: S311 - shares of requests, no secrets

    def signatures(self, spec: ModelSpec) -> tuple[int, dict[str, SignatureDef]]:
        """Version and signatures that a request for `spec` would get. ServingError when it would get none."""
        with self._core.manager.borrow(spec.name, self._core.labels.version_of(spec)) as servable:
            return servable.version, _model(servable).signatures

    async def predict(self, spec: ModelSpec, inputs: dict[str, Tensor], wanted: Sequence[str] = ()) -> Answer:
        """Run a signature with named inputs; `wanted` restricts the outputs."""
        with self._core.manager.borrow(spec.name, self._core.labels.version_of(spec)) as servable:
            name, signature = _signature(servable, spec)
            _check_inputs(signature, inputs)
            for alias in wanted:
                if alias not in signature.outputs:
                    raise ServingError(
                        Code.INVALID_ARGUMENT,
                        f"output tensor alias not found in signature: {alias} "
                        f"Outputs expected to be in the set {_set(set(signature.outputs))}.",
                    )
            outputs = await self._run(servable, "Predict", signature, inputs, wanted or list(signature.outputs))
            return Answer(servable.version, name, outputs)

    async def examples(self, spec: ModelSpec, method: str, examples: list[bytes]) -> Answer:
        """Run a signature for serialised tf.Examples; `method` is Classify or Regress."""
        with self._core.manager.borrow(spec.name, self._core.labels.version_of(spec)) as servable:
            name, signature = _signature(servable, spec)
            if "inputs" not in signature.inputs or len(signature.inputs) != 1:
                what = {"Classify": "classification", "Regress": "regression"}[method]
                raise ServingError(
                    Code.FAILED_PRECONDITION, f"No {what} inputs found in SignatureDef: {str(signature).strip()}"
                )
            self._metrics.examples(spec.name, len(examples))
            inputs = {"inputs": Tensor(STRING, (len(examples),), examples)}
            outputs = await self._run(servable, method, signature, inputs, list(signature.outputs))
            return Answer(servable.version, name, outputs)

    async def _run(
        self, servable: Servable, api: str, signature: SignatureDef, inputs: dict[str, Tensor], wanted: Iterable[str]
    ) -> dict[str, Tensor]:
        faults = self._core.faults.of(servable.name, servable.version)
        count = self._core.faults.count_request(servable.name, servable.version)
        if faults.gpu_memory:
            self._metrics.takes(servable.name, faults.gpu_memory + count * faults.gpu_memory_per_request)
        if faults.latency and self._random.random() < faults.latency_rate:
            await asyncio.sleep(faults.latency)
        if self._random.random() < faults.error_rate:
            raise ServingError(faults.error_code, f"playground fault of version {servable.version}")
        aliases = list(wanted)
        feeds = {signature.inputs[alias].name: tensor for alias, tensor in inputs.items()}
        fetches = [signature.outputs[alias].name for alias in aliases]
        session = _model(servable).session
        started = time.perf_counter()
        running = asyncio.get_running_loop().run_in_executor(self._threads, session.run, feeds, fetches)
        try:
            results = await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])  # the version may not be unloaded under a run, whoever has given up
            raise
        self._metrics.ran(servable.name, api, time.perf_counter() - started)
        if faults.classes:
            chosen = self._random.choices(list(faults.classes), list(faults.classes.values()))
            self._metrics.predicted(servable.name, chosen[0])
        if self._random.random() < faults.wrong_rate:
            results = [_wrong(result) for result in results]
        return dict(zip(aliases, results, strict=True))


def _model(servable: Servable) -> SavedModel:
    if servable.model is None:
        raise ServingError(Code.INTERNAL, f"version {servable.version} is ready without a model")
    return servable.model


def _signature(servable: Servable, spec: ModelSpec) -> tuple[str, SignatureDef]:
    name = spec.signature_name or DEFAULT_SIGNATURE
    signature = _model(servable).signatures.get(name)
    if signature is None:
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    return name, signature


def _check_inputs(signature: SignatureDef, inputs: dict[str, Tensor]) -> None:
    given, expected = set(inputs), set(signature.inputs)
    if given != expected:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"input size does not match signature: {len(given)}!={len(expected)} "
            f"len({_set(given)}) != len({_set(expected)}). Sent extra: {_set(given - expected)}. "
            f"Missing but required: {_set(expected - given)}.",
        )
    for alias, tensor in inputs.items():
        if tensor.dtype != signature.inputs[alias].dtype:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Expects arg[0] to be {_type_name(signature.inputs[alias].dtype)} "
                f"but {_type_name(tensor.dtype)} is provided",
            )


def _set(names: set[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _type_name(dtype: int) -> str:
    names = {1: "float", 2: "double", 3: "int32", 4: "uint8", 7: "string", 9: "int64", 10: "bool"}
    return names.get(dtype, f"type {dtype}")


def _wrong(tensor: Tensor) -> Tensor:
    """The same shape with floats far from the right ones; whole numbers (the version) stay."""
    if tensor.dtype not in FLOATS or isinstance(tensor.data, list):
        return tensor
    code = "f" if tensor.dtype == FLOATS[0] else "d"
    values = [-2.0 * value - 1.0 if math.isfinite(value) else 0.0 for value in tensor.values()]
    return replace(tensor, data=array(code, values).tobytes())
