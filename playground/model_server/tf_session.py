"""Sessions of TensorFlow: a loaded SavedModel, and a bare graph. `loader` and playground.models use them.

Every function here may block and is called on worker threads; ctypes releases the interpreter lock meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
from ctypes import byref, c_char_p, c_void_p
from typing import TYPE_CHECKING

from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

from playground.model_server.errors import Code, ServingError
from playground.model_server.libtensorflow import Buffer, Output, Status, library
from playground.model_server.tensors import Tensor, free_native, from_native, to_native

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tensorflow.core.framework.graph_pb2 import GraphDef
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

# Many of these servers run beside each other: no thread pools, operations run in the calling thread.
_CONFIG = ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=-1).SerializeToString()


@contextlib.contextmanager
def _options() -> Iterator[int]:
    lib = library()
    options: int = lib.TF_NewSessionOptions()
    try:
        with Status() as status:
            lib.TF_SetConfig(options, _CONFIG, len(_CONFIG), status)
        yield options
    finally:
        lib.TF_DeleteSessionOptions(options)


class Session:
    """A TF_Session with its graph; `close` frees both. Runs may overlap, close may not overlap with a run."""

    def __init__(self, session: int, graph: int) -> None:
        self._session = session
        self._graph = graph
        self._outputs: dict[str, Output] = {}

    def run(self, feeds: dict[str, Tensor], fetches: Sequence[str], targets: Sequence[str] = ()) -> list[Tensor]:
        """Values of the tensors named in `fetches` (`op:0`), after running the operations in `targets`."""
        lib = library()
        inputs = (Output * len(feeds))(*map(self._output, feeds))
        outputs = (Output * len(fetches))(*map(self._output, fetches))
        operations = (c_void_p * len(targets))(*(self._output(name).oper for name in targets))
        results = (c_void_p * len(fetches))()
        native = [to_native(tensor) for tensor in feeds.values()]
        try:
            with Status() as status:
                lib.TF_SessionRun(
                    self._session, None, inputs, (c_void_p * len(native))(*native), len(native),
                    outputs, results, len(fetches), operations, len(targets), None, status,
                )  # fmt: skip
            return [from_native(pointer) for pointer in results if pointer]
        finally:
            for pointer in filter(None, results):
                lib.TF_DeleteTensor(pointer)
            for pointer, tensor in zip(native, feeds.values(), strict=True):
                free_native(pointer, tensor)

    def close(self) -> None:
        """Free the session and its graph."""
        with Status() as status:
            library().TF_CloseSession(self._session, status)
        with Status() as status:
            library().TF_DeleteSession(self._session, status)
        library().TF_DeleteGraph(self._graph)

    def _output(self, name: str) -> Output:
        known = self._outputs.get(name)
        if known is None:
            operation, _, index = name.partition(":")
            pointer = library().TF_GraphOperationByName(self._graph, operation.encode())
            if not pointer:
                raise ServingError(Code.INVALID_ARGUMENT, f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph")  # fmt: skip  # noqa: E501
            known = self._outputs[name] = Output(pointer, int(index or 0))
        return known


def from_graph(definition: GraphDef) -> Session:
    """A session over a graph without variables restored."""
    lib = library()
    graph: int = lib.TF_NewGraph()
    data = definition.SerializeToString()
    text = ctypes.create_string_buffer(data, len(data))
    buffer = Buffer(ctypes.addressof(text), len(data), None)
    importing = lib.TF_NewImportGraphDefOptions()
    with Status() as status:
        lib.TF_GraphImportGraphDef(graph, byref(buffer), importing, status)
    lib.TF_DeleteImportGraphDefOptions(importing)
    with _options() as options, Status() as status:
        session = lib.TF_NewSession(graph, options, status)
    return Session(session, graph)


class SavedModel:
    """One loaded version: its signatures and its session."""

    def __init__(self, session: Session, signatures: dict[str, SignatureDef]) -> None:
        self.session = session
        self.signatures = signatures

    @classmethod
    def load(cls, path: Path, tags: Sequence[str] = ("serve",)) -> SavedModel:
        """Load a version directory; ServingError has the loader's own code and message."""
        lib = library()
        graph: int = lib.TF_NewGraph()
        buffer = lib.TF_NewBuffer()
        names = (c_char_p * len(tags))(*(tag.encode() for tag in tags))
        try:
            with _options() as options, Status() as status:
                session = lib.TF_LoadSessionFromSavedModel(
                    options, None, str(path).encode(), names, len(tags), graph, buffer, status
                )
            meta = MetaGraphDef.FromString(ctypes.string_at(buffer.contents.data, buffer.contents.length))
        except ServingError:
            lib.TF_DeleteGraph(graph)
            raise
        finally:
            lib.TF_DeleteBuffer(buffer)
        return cls(Session(session, graph), dict(meta.signature_def))

    def close(self) -> None:
        """Free what TensorFlow holds for this version."""
        self.session.close()
