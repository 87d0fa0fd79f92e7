"""Tensors between their four forms: ours, TensorProto, JSON values, and TensorFlow's memory.

Ours is a plain value without numpy: numbers as little-endian bytes, strings as a list. Used by `tf_session`,
`inference` and `rest_json`.
"""

from __future__ import annotations

import ctypes
import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from playground.model_server.errors import Code, ServingError
from playground.model_server.libtensorflow import library

if TYPE_CHECKING:
    from tensorflow.core.framework.tensor_pb2 import TensorProto

STRING = 7
BOOL = 10
_TSTRING = 24  # sizeof(TF_TString)

_NUMERIC = {  # DataType -> (array type code, field of TensorProto)
    1: ("f", "float_val"),
    2: ("d", "double_val"),
    3: ("i", "int_val"),
    4: ("B", "int_val"),
    5: ("h", "int_val"),
    6: ("b", "int_val"),
    9: ("q", "int64_val"),
    BOOL: ("B", "bool_val"),
    17: ("H", "int_val"),
    22: ("I", "uint32_val"),
    23: ("Q", "uint64_val"),
}
FLOATS = (1, 2)


@dataclass(frozen=True)
class Tensor:
    """`data` is bytes for numbers, a list of bytes for strings, both in row-major order."""

    dtype: int
    shape: tuple[int, ...]
    data: bytes | list[bytes]

    def values(self) -> list[Any]:
        """The elements, flat."""
        if isinstance(self.data, list):
            return self.data
        numbers = array(_code(self.dtype), self.data).tolist()
        return [bool(number) for number in numbers] if self.dtype == BOOL else numbers


def _code(dtype: int) -> str:
    if dtype not in _NUMERIC:
        raise ServingError(Code.UNIMPLEMENTED, f"tensors of data type {dtype} are not supported")
    return _NUMERIC[dtype][0]


def numbers(dtype: int, shape: tuple[int, ...], values: list[Any]) -> Tensor:
    """A tensor of numbers, truncated to what the type holds by ServingError, never silently."""
    try:
        return Tensor(dtype, shape, array(_code(dtype), values).tobytes())
    except (OverflowError, TypeError) as error:
        raise ServingError(Code.INVALID_ARGUMENT, f"value does not fit data type {dtype}: {error}") from error


def from_proto(proto: TensorProto) -> Tensor:
    """Read both forms of a TensorProto: packed content and typed fields (a single value stands for all)."""
    shape = tuple(dimension.size for dimension in proto.tensor_shape.dim)
    count = math.prod(shape)
    if min(shape, default=0) < 0:
        raise _misfit(shape, 0)
    if proto.dtype == STRING:
        strings = _spread(list(proto.string_val), count, shape, b"")
        return Tensor(STRING, shape, strings)
    if proto.tensor_content:
        if len(proto.tensor_content) != count * array(_code(proto.dtype)).itemsize:
            raise _misfit(shape, len(proto.tensor_content))
        return Tensor(proto.dtype, shape, proto.tensor_content)
    code = _code(proto.dtype)
    values = list(getattr(proto, _NUMERIC[proto.dtype][1]))
    return Tensor(proto.dtype, shape, array(code, _spread(values, count, shape, 0)).tobytes())


def _spread(values: list[Any], count: int, shape: tuple[int, ...], empty: Any) -> list[Any]:
    if len(values) > count:
        raise _misfit(shape, len(values))
    return values + [values[-1] if values else empty] * (count - len(values))


def _misfit(shape: tuple[int, ...], size: int) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, f"tensor parsing error: shape {list(shape)} with {size} values")


def to_proto(tensor: Tensor, proto: TensorProto, *, packed: bool) -> None:
    """Fill `proto` with typed fields, or with tensor_content where `packed` (numbers only)."""
    proto.dtype = tensor.dtype
    for size in tensor.shape:
        proto.tensor_shape.dim.add(size=size)
    if isinstance(tensor.data, list):
        proto.string_val.extend(tensor.data)
    elif packed:
        proto.tensor_content = tensor.data
    else:
        getattr(proto, _NUMERIC[tensor.dtype][1]).extend(tensor.values())


def to_native(tensor: Tensor) -> int:
    """A TF_Tensor with a copy of the data; the caller deletes it with `free_native`."""
    lib = library()
    shape = (ctypes.c_int64 * len(tensor.shape))(*tensor.shape)
    size = len(tensor.data) * (_TSTRING if isinstance(tensor.data, list) else 1)
    pointer: int = lib.TF_AllocateTensor(tensor.dtype, shape, len(tensor.shape), size)
    memory = lib.TF_TensorData(pointer)
    if isinstance(tensor.data, list):
        for index, text in enumerate(tensor.data):
            lib.TF_StringInit(memory + index * _TSTRING)
            lib.TF_StringCopy(memory + index * _TSTRING, text, len(text))
    elif size:
        ctypes.memmove(memory, tensor.data, size)
    return pointer


def from_native(pointer: int) -> Tensor:
    """Copy a TF_Tensor; it stays the caller's."""
    lib = library()
    dtype: int = lib.TF_TensorType(pointer)
    shape = tuple(lib.TF_Dim(pointer, axis) for axis in range(lib.TF_NumDims(pointer)))
    memory = lib.TF_TensorData(pointer)
    if dtype != STRING:
        return Tensor(dtype, shape, ctypes.string_at(memory, lib.TF_TensorByteSize(pointer)))
    cells = [memory + index * _TSTRING for index in range(math.prod(shape))]
    return Tensor(
        STRING,
        shape,
        [ctypes.string_at(lib.TF_StringGetDataPointer(cell), lib.TF_StringGetSize(cell)) for cell in cells],
    )


def free_native(pointer: int, tensor: Tensor) -> None:
    """Delete what `to_native` made, its strings included (deleting a tensor leaves the heap parts of strings)."""
    lib = library()
    if isinstance(tensor.data, list):
        memory = lib.TF_TensorData(pointer)
        for index in range(len(tensor.data)):
            lib.TF_StringDealloc(memory + index * _TSTRING)
    lib.TF_DeleteTensor(pointer)
