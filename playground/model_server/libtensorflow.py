"""TensorFlow's C API through ctypes: only the functions that loading and running a SavedModel needs.

`tf_session` and playground.models build on it. The libraries come out of the tensorflow-cpu wheel; the
environment variable PLAYGROUND_LIBTENSORFLOW names another directory that holds them.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_ubyte, c_void_p
from functools import cache
from pathlib import Path

from playground.model_server.errors import Code, ServingError
from playground.paths import libtensorflow_dir


class Output(ctypes.Structure):
    """TF_Output: one output of an operation."""

    _fields_ = (("oper", c_void_p), ("index", c_int))


class Buffer(ctypes.Structure):
    """TF_Buffer: bytes that TensorFlow owns."""

    _fields_ = (("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p))


_P = c_void_p
_SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "TF_NewStatus": (_P, []),
    "TF_DeleteStatus": (None, [_P]),
    "TF_GetCode": (c_int, [_P]),
    "TF_Message": (c_char_p, [_P]),
    "TF_NewBuffer": (POINTER(Buffer), []),
    "TF_DeleteBuffer": (None, [POINTER(Buffer)]),
    "TF_NewGraph": (_P, []),
    "TF_DeleteGraph": (None, [_P]),
    "TF_NewImportGraphDefOptions": (_P, []),
    "TF_DeleteImportGraphDefOptions": (None, [_P]),
    "TF_GraphImportGraphDef": (None, [_P, POINTER(Buffer), _P, _P]),
    "TF_GraphOperationByName": (_P, [_P, c_char_p]),
    "TF_NewSessionOptions": (_P, []),
    "TF_DeleteSessionOptions": (None, [_P]),
    "TF_SetConfig": (None, [_P, c_char_p, c_size_t, _P]),
    "TF_NewSession": (_P, [_P, _P, _P]),
    "TF_LoadSessionFromSavedModel": (
        _P,
        [_P, _P, c_char_p, POINTER(c_char_p), c_int, _P, POINTER(Buffer), _P],
    ),
    "TF_CloseSession": (None, [_P, _P]),
    "TF_DeleteSession": (None, [_P, _P]),
    "TF_SessionRun": (
        None,
        [_P, _P, POINTER(Output), POINTER(_P), c_int, POINTER(Output), POINTER(_P), c_int, POINTER(_P), c_int, _P, _P],
    ),
    "TF_AllocateTensor": (_P, [c_int, POINTER(c_int64), c_int, c_size_t]),
    "TF_DeleteTensor": (None, [_P]),
    "TF_TensorType": (c_int, [_P]),
    "TF_NumDims": (c_int, [_P]),
    "TF_Dim": (c_int64, [_P, c_int]),
    "TF_TensorByteSize": (c_size_t, [_P]),
    "TF_TensorData": (_P, [_P]),
    "TF_StringInit": (None, [_P]),
    "TF_StringCopy": (None, [_P, c_char_p, c_size_t]),
    "TF_StringGetDataPointer": (POINTER(c_ubyte), [_P]),
    "TF_StringGetSize": (c_size_t, [_P]),
    "TF_StringDealloc": (None, [_P]),
}  # fmt: skip


def directory() -> Path:
    """Where the two libraries lie."""
    return Path(os.environ.get("PLAYGROUND_LIBTENSORFLOW") or libtensorflow_dir())


@cache
def library() -> ctypes.CDLL:
    """The loaded library (0.3 s the first time). OSError when it is not there."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    folder = directory()
    # RTLD_LOCAL: with global symbols, gRPC's extension module would call into TensorFlow's own copy of gRPC and crash.
    ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"), mode=ctypes.RTLD_LOCAL)
    loaded = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"), mode=ctypes.RTLD_LOCAL)
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


class Status:
    """A TF_Status for the length of a `with` block; leaving the block raises ServingError unless it is OK."""

    def __enter__(self) -> int:
        pointer: int = library().TF_NewStatus()
        self._pointer = pointer
        return pointer

    def __exit__(self, kind: object, *_rest: object) -> None:
        code = library().TF_GetCode(self._pointer)
        message: bytes = library().TF_Message(self._pointer)
        library().TF_DeleteStatus(self._pointer)
        if code and kind is None:
            raise ServingError(Code(code), message.decode(errors="replace"))
