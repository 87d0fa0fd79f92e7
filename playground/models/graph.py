"""The graph of a version, built node by node: TensorFlow's Python is not installed. Used by `publish`."""

from __future__ import annotations

import struct

from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, SignatureDef, TensorInfo
from tensorflow.core.protobuf.saver_pb2 import SaverDef

FLOAT, INT32, STRING, INT64, RESOURCE = 1, 3, 7, 9, 20
VARIABLES = ("scale", "bias")
_PRODUCER = 1882  # a GraphDef version that every TensorFlow 2 accepts
_SCALAR = TensorShapeProto()
_BATCH = TensorShapeProto(dim=[TensorShapeProto.Dim(size=-1)])


class _Builder:
    def __init__(self) -> None:
        self.graph = GraphDef()
        self.graph.versions.producer = _PRODUCER

    def node(self, name: str, op: str, *inputs: str, **attributes: AttrValue) -> str:
        node = self.graph.node.add(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            node.attr[key].CopyFrom(value)
        return name

    def constant(self, name: str, dtype: int, value: TensorProto) -> str:
        value.dtype = dtype
        return self.node(name, "Const", dtype=_type(dtype), value=AttrValue(tensor=value))


def _type(dtype: int) -> AttrValue:
    return AttrValue(type=dtype)


def _types(*dtypes: int) -> AttrValue:
    return AttrValue(list=AttrValue.ListValue(type=dtypes))


def _strings(*texts: str) -> TensorProto:
    proto = TensorProto(string_val=[text.encode() for text in texts])
    proto.tensor_shape.dim.add(size=len(texts))
    return proto


def build(version: int, *, scale: float, bias: float) -> MetaGraphDef:
    """The whole MetaGraphDef: variables, the three signatures, save and restore operations."""
    builder = _Builder()
    _variables(builder, scale, bias)
    _predict(builder, version)
    _examples(builder)
    _saving(builder)
    meta = MetaGraphDef(graph_def=builder.graph)
    meta.meta_info_def.tags.append("serve")
    meta.meta_info_def.tensorflow_version = "2.21.0"
    meta.saver_def.CopyFrom(
        SaverDef(
            filename_tensor_name="save/prefix:0",
            save_tensor_name="save/done:0",
            restore_op_name="save/restore_all",
            max_to_keep=1,
            version=SaverDef.V2,
        )
    )
    for name, signature in signatures().items():
        meta.signature_def[name].CopyFrom(signature)
    return meta


def _variables(builder: _Builder, scale: float, bias: float) -> None:
    for name, value in zip(VARIABLES, (scale, bias), strict=True):
        shared = AttrValue(s=name.encode())
        builder.node(name, "VarHandleOp", dtype=_type(FLOAT), shape=AttrValue(shape=_SCALAR), shared_name=shared)
        builder.constant(f"{name}/initial", FLOAT, TensorProto(float_val=[value]))
        builder.node(f"{name}/assign", "AssignVariableOp", name, f"{name}/initial", dtype=_type(FLOAT))
        builder.node(f"{name}/read", "ReadVariableOp", name, dtype=_type(FLOAT))
    builder.node("init", "NoOp", *(f"^{name}/assign" for name in VARIABLES))


def _line(builder: _Builder, prefix: str, x: str) -> str:
    product = builder.node(f"{prefix}/product", "Mul", x, "scale/read", T=_type(FLOAT))
    return builder.node(f"{prefix}/y", "AddV2", product, "bias/read", T=_type(FLOAT))


def _predict(builder: _Builder, version: int) -> None:
    builder.node("x", "Placeholder", dtype=_type(FLOAT), shape=AttrValue(shape=_BATCH))
    _line(builder, "predict", "x")
    builder.node("predict/shape", "Shape", "x", T=_type(FLOAT), out_type=_type(INT32))
    builder.constant("predict/number", INT64, TensorProto(int64_val=[version]))
    builder.node("predict/version", "Fill", "predict/shape", "predict/number", T=_type(INT64), index_type=_type(INT32))


def _examples(builder: _Builder) -> None:
    """Classify and regress take serialised tf.Example with a float feature `x` (0 when it is missing)."""
    builder.node("examples", "Placeholder", dtype=_type(STRING), shape=AttrValue(shape=_BATCH))
    empty = TensorProto()
    empty.tensor_shape.dim.add(size=0)
    builder.constant("parse/names", STRING, empty)
    builder.constant("parse/key", STRING, TensorProto(string_val=[b"x"]))
    builder.constant("parse/default", FLOAT, TensorProto(float_val=[0.0]))
    builder.node(
        "parse", "ParseExample", "examples", "parse/names", "parse/key", "parse/default",
        Nsparse=AttrValue(i=0), Ndense=AttrValue(i=1), sparse_types=_types(), Tdense=_types(FLOAT),
        dense_shapes=AttrValue(list=AttrValue.ListValue(shape=[_SCALAR])),
    )  # fmt: skip
    y = _line(builder, "examples_line", "parse")
    axis = builder.constant("examples_line/axis", INT32, TensorProto(int_val=[1]))
    builder.node("regress/outputs", "ExpandDims", y, axis, T=_type(FLOAT), Tdim=_type(INT32))
    score = builder.node("classify/sigmoid", "Sigmoid", "regress/outputs", T=_type(FLOAT))
    one = builder.constant("classify/one", FLOAT, TensorProto(float_val=[1.0]))
    other = builder.node("classify/rest", "Sub", one, score, T=_type(FLOAT))
    builder.node("classify/scores", "ConcatV2", other, score, axis, N=AttrValue(i=2), T=_type(FLOAT), Tidx=_type(INT32))
    labels = _strings("low", "high")
    labels.tensor_shape.dim.insert(0, TensorShapeProto.Dim(size=1))
    builder.constant("classify/labels", STRING, labels)
    builder.node("classify/batch", "Shape", "examples", T=_type(STRING), out_type=_type(INT32))
    width = TensorProto(int_val=[1])
    width.tensor_shape.dim.add(size=1)
    builder.constant("classify/width", INT32, width)
    zero = builder.constant("classify/zero", INT32, TensorProto(int_val=[0]))
    times = builder.node(
        "classify/times", "ConcatV2", "classify/batch", "classify/width", zero,
        N=AttrValue(i=2), T=_type(INT32), Tidx=_type(INT32),
    )  # fmt: skip
    builder.node("classify/classes", "Tile", "classify/labels", times, T=_type(STRING), Tmultiples=_type(INT32))


def _saving(builder: _Builder) -> None:
    builder.constant("save/prefix", STRING, TensorProto(string_val=[b"model"]))
    names = builder.constant("save/names", STRING, _strings(*VARIABLES))
    slices = builder.constant("save/slices", STRING, _strings(*("" for _ in VARIABLES)))
    reads = [f"{name}/read" for name in VARIABLES]
    builder.node(
        "save/save", "SaveV2", "save/prefix", names, slices, *reads, dtypes=_types(*(FLOAT for _ in VARIABLES))
    )
    builder.node("save/done", "Identity", "save/prefix", "^save/save", T=_type(STRING))
    builder.node("save/restore", "RestoreV2", "save/prefix", names, slices, dtypes=_types(*(FLOAT for _ in VARIABLES)))
    for index, name in enumerate(VARIABLES):
        source = "save/restore" if index == 0 else f"save/restore:{index}"
        builder.node(f"save/assign_{name}", "AssignVariableOp", name, source, dtype=_type(FLOAT))
    builder.node("save/restore_all", "NoOp", *(f"^save/assign_{name}" for name in VARIABLES))


def signatures() -> dict[str, SignatureDef]:
    """`serving_default` (predict), `classify` and `regress`."""
    return {
        "serving_default": _signature(
            "predict", {"x": ("x", FLOAT)}, {"y": ("predict/y", FLOAT), "version": ("predict/version", INT64)}
        ),
        "classify": _signature(
            "classify",
            {"inputs": ("examples", STRING)},
            {"classes": ("classify/classes", STRING), "scores": ("classify/scores", FLOAT)},
        ),
        "regress": _signature("regress", {"inputs": ("examples", STRING)}, {"outputs": ("regress/outputs", FLOAT)}),
    }


def _signature(method: str, inputs: dict[str, tuple[str, int]], outputs: dict[str, tuple[str, int]]) -> SignatureDef:
    def info(tensor: str, dtype: int) -> TensorInfo:
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=-1)])
        if tensor.startswith(("classify/", "regress/")):
            shape.dim.add(size=2 if tensor.startswith("classify/") else 1)
        return TensorInfo(name=f"{tensor}:0", dtype=dtype, tensor_shape=shape)

    return SignatureDef(
        method_name=f"tensorflow/serving/{method}",
        inputs={key: info(*value) for key, value in inputs.items()},
        outputs={key: info(*value) for key, value in outputs.items()},
    )


def float32(value: float) -> float:
    """`value` as a 32-bit float holds it: what a model's weights become."""
    result: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return result
