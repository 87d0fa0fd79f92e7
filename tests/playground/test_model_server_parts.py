"""Parts of the stand-in that need no process: policy, flags, tensors, metrics. playground/model_server."""

from __future__ import annotations

import pytest
from tensorflow.core.framework.tensor_pb2 import TensorProto

from playground.model_server import flags
from playground.model_server.errors import ServingError
from playground.model_server.metrics import Metrics
from playground.model_server.policy import Managed, Stage, Verb, next_action
from playground.model_server.rest_json import tensor
from playground.model_server.settings_files import metrics_path
from playground.model_server.tensors import from_proto, numbers, to_proto

_READY, _NEW, _FAILED, _LOADING = Stage.READY, Stage.NEW, Stage.FAILED, Stage.LOADING


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([], None),
        ([Managed(1, True, _NEW), Managed(2, True, _NEW)], (Verb.LOAD, 2)),
        ([Managed(1, False, _READY), Managed(2, True, _NEW)], (Verb.LOAD, 2)),
        ([Managed(1, False, _READY), Managed(2, True, _LOADING)], None),
        ([Managed(1, False, _READY), Managed(2, True, _FAILED)], None),
        ([Managed(1, False, _READY), Managed(2, True, _READY)], (Verb.UNLOAD, 1)),
        ([Managed(1, False, _READY), Managed(2, False, _READY), Managed(3, True, _NEW)], (Verb.UNLOAD, 1)),
        ([Managed(1, False, _READY)], (Verb.UNLOAD, 1)),
    ],
)
def test_policy(versions: list[Managed], expected: tuple[Verb, int] | None) -> None:
    """What serves is unloaded only when something wanted serves, nothing is wanted, or two unwanted ones serve."""
    assert next_action(versions) == expected


def test_flags_have_the_real_defaults_and_forms() -> None:
    """`--flag=value` and bare booleans count; a value after a space does not, and is called unknown."""
    parsed, unknown = flags.parse(["--port=1", "--allow_version_labels_for_unavailable_models", "--rest_api_port", "2"])
    assert (parsed.port, parsed.rest_api_port, parsed.max_num_load_retries) == (1, 0, 5)
    assert parsed.allow_version_labels_for_unavailable_models
    assert unknown == ["--rest_api_port", "2"]
    with pytest.raises(flags.FlagError):
        flags.parse(["--port=x"])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [1, 2, 3, 4, 5, 6, 9, 17, 22, 23])
def test_numbers_survive_both_forms(dtype: int, *, packed: bool) -> None:
    """Every number type reads back from typed fields and from packed content."""
    given = numbers(dtype, (2, 2), [1, 2, 3, 4])
    proto = TensorProto()
    to_proto(given, proto, packed=packed)
    assert from_proto(proto) == given


def test_one_value_stands_for_all() -> None:
    """A TensorProto with fewer values than its shape repeats the last one; one with more is refused."""
    proto = TensorProto(dtype=1, float_val=[7.0])
    proto.tensor_shape.dim.add(size=3)
    assert from_proto(proto).values() == [7.0, 7.0, 7.0]
    proto.float_val.extend([7.0] * 3)
    with pytest.raises(ServingError):
        from_proto(proto)


@pytest.mark.parametrize("value", [[1, [2]], [[1], [2, 3]], ["a"], [True], [None], {"a": 1}])
def test_json_that_is_no_tensor_of_floats(value: object) -> None:
    """Ragged lists and other types are refused."""
    with pytest.raises(ServingError):
        tensor(value, 1)


def test_metrics_page() -> None:
    """Families without samples have their TYPE line only; numbers have six digits; le counts up."""
    metrics = Metrics()
    assert metrics.page().count("\n") == metrics.page().count("# TYPE")
    metrics.answered("m", "OK", "Predict", "GRPC", 0.1234567891)
    page = metrics.page()
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 1\n' in page
    assert ':tensorflow:serving:request_latency_sum{model_name="m",API="Predict",entrypoint="GRPC"} 123457\n' in page
    assert page.count("request_latency_bucket") == 34


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ("prometheus_config: { enable: true, path: '/m' } # x", "/m"),
        ("prometheus_config { enable: false }", None),
        ("# prometheus_config { enable: true }", None),
    ],
)
def test_monitoring_files(tmp_path_factory: pytest.TempPathFactory, text: str, path: str | None) -> None:
    """The monitoring file switches the page on and says where it is."""
    file = tmp_path_factory.mktemp("monitoring") / "monitoring.txt"
    file.write_text(text)
    assert metrics_path(str(file)) == path
