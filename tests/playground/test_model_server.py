"""What the operator and its users rely on in a model server. Runs against the stand-in or a real one, see conftest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from playground.model_server.states import State
from playground.models import break_version, make_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.playground.model_server_subject import Subject


def _error(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details() or ""


def test_an_answer_tells_its_version(server: Subject, name: str) -> None:
    """Predict over gRPC answers with typed fields and the version that it used."""
    server.reload(server.model(name, 1))
    reply = server.predict(name, 3.0)
    assert (reply.model_spec.name, reply.model_spec.version.value) == (name, 1)
    assert reply.model_spec.signature_name == "serving_default"
    assert list(reply.outputs["y"].float_val) == [2.5]
    assert list(reply.outputs["version"].int64_val) == [1]
    assert reply.outputs["y"].tensor_content == b""


def test_the_highest_available_version_answers(server: Subject, name: str) -> None:
    """Requests without a version go to the highest one, those with a version or label to that one."""
    server.reload(server.model(name, 1, 2, labels={"stable": 1}))
    for version in (1, 2):
        server.wait(name, version, State.AVAILABLE)
    assert server.predict(name, 1.0).model_spec.version.value == 2
    assert server.predict(name, 1.0, version=1).model_spec.version.value == 1
    assert server.predict(name, 1.0, version_label="stable").model_spec.version.value == 1
    assert server.metadata(name, version_label="stable").model_spec.version.value == 1


def test_labels_of_nothing(server: Subject, name: str) -> None:
    """An unknown label is a bad request, a label on a version that is not loaded is not found."""
    server.reload(server.model(name, 1, labels={"canary": 2}))
    unknown = _error(lambda: server.predict(name, 1.0, version_label="none"))
    assert unknown == ("INVALID_ARGUMENT", "Unrecognized servable version label: none")
    dangling = _error(lambda: server.predict(name, 1.0, version_label="canary"))
    assert dangling == ("NOT_FOUND", f"Servable not found for request: Specific({name}, 2)")


def test_a_label_moves_only_to_an_available_version(server: Subject, name: str) -> None:
    """Moving a label to a version that is not loaded fails and applies nothing; the same two-step way succeeds."""
    server.reload(server.model(name, 1, labels={"stable": 1}))
    code, message = _error(lambda: server.reload(server.model(name, 1, 2, labels={"stable": 2})))
    assert code == "FAILED_PRECONDITION"
    assert message == (
        f"Request to assign label to version 2 of model {name}, which is not currently available for inference"
    )
    assert set(server.states(name)) == {1}
    server.reload(server.model(name, 1, 2, labels={"stable": 1}))
    server.wait(name, 2, State.AVAILABLE)
    server.reload(server.model(name, 2, labels={"stable": 2}))
    assert server.metadata(name, version_label="stable").model_spec.version.value == 2


def test_ended_versions_are_remembered(server: Subject, name: str) -> None:
    """An unloaded version stays in the status as END and OK, and so does a removed model."""
    server.reload(server.model(name, 1, 2))
    server.wait(name, 2, State.AVAILABLE)
    server.reload(server.model(name, 1))
    assert server.wait(name, 2, State.END).status.error_code == 0
    server.reload(server.model(name, 1))
    request = server.model(name, 1)
    del request.config.model_config_list.config[:]
    server.reload(request)
    server.wait(name, 1, State.END)
    assert list(server.states(name)) == [2, 1]
    assert _error(lambda: server.predict(name, 1.0))[0] == "NOT_FOUND"


def test_the_status_ignores_labels(server: Subject, name: str) -> None:
    """GetModelStatus with a label that does not exist answers with all versions, over both protocols."""
    server.reload(server.model(name, 1))
    request = GetModelStatusRequest()
    request.model_spec.name = name
    request.model_spec.version_label = "none"
    assert len(server.models.GetModelStatus(request).model_version_status) == 1
    assert server.rest(f"/v1/models/{name}/labels/none")[0] == 200


def test_unknown_models_and_versions(server: Subject, name: str) -> None:
    """Status of what was never there is NOT_FOUND in the server's own words."""
    server.reload(server.model(name, 1))
    assert _error(lambda: server.states("nobody")) == ("NOT_FOUND", "Could not find any versions of model nobody")
    assert server.rest(f"/v1/models/{name}/versions/9") == (
        404,
        {"error": f"Could not find version 9 of model {name}"},
    )


def test_a_failed_version_stays_failed(server: Subject, name: str) -> None:
    """A version that cannot be loaded is END in the loader's words, the old one serves, asking again is no help."""
    server.reload(server.model(name, 1))
    break_version(server.here / name, 3, "no-pb")
    server.reload(server.model(name, 1, 3))
    entry = server.wait(name, 3, State.END)
    assert entry.status.error_code == 5
    assert "Could not find SavedModel .pb or .pbtxt" in entry.status.error_message
    assert server.predict(name, 1.0).model_spec.version.value == 1
    server.reload(server.model(name, 1, 3))
    assert server.states(name)[3].state == State.END


def test_a_bad_version_alone_does_not_displace_the_good_one(server: Subject, name: str) -> None:
    """The version that serves is unloaded only once a wanted one serves."""
    server.reload(server.model(name, 1))
    break_version(server.here / name, 3, "garbage-pb")
    server.reload(server.model(name, 3))
    server.wait(name, 3, State.END)
    assert server.states(name)[1].state == State.AVAILABLE
    assert server.predict(name, 1.0).model_spec.version.value == 1


def test_a_new_model_that_fails_fails_its_reload(server: Subject, name: str) -> None:
    """The reload that adds a bad model fails with UNKNOWN and names it; the same one again answers OK at once."""
    bad = f"{name}-bad"
    break_version(server.here / bad, 1, "no-shard")
    code, message = _error(lambda: server.reload(server.model(bad, 1)))
    assert code == "UNKNOWN"
    assert message.startswith(
        f"1 model(s) did not become available: {{{{name: {bad} version: 1}} due to error: NOT_FOUND: "
    )
    server.reload(server.model(bad, 1))
    assert server.states(bad)[1].state == State.END


def test_a_missing_base_path_blocks_reloads_until_it_appears(server: Subject, name: str) -> None:
    """A reload waits for its new model for ever, others wait behind it, requests do not; a version ends it.

    The reload that waited is applied in its turn, although its caller has long gone: it removes the late model.
    """
    server.reload(server.model(name, 1))
    late = server.model(f"{name}-late", 1)
    late.config.model_config_list.config.append(server.model(name, 1).config.model_config_list.config[0])
    assert _error(lambda: server.reload(late, 0.5))[0] == "DEADLINE_EXCEEDED"
    assert _error(lambda: server.reload(server.model(name, 1), 0.5))[0] == "DEADLINE_EXCEEDED"
    assert server.predict(name, 1.0).model_spec.version.value == 1
    make_version(server.here / f"{name}-late", 1)
    server.wait(f"{name}-late", 1, State.END)
    server.reload(server.model(name, 1))


def test_half_a_model_loads_and_then_fails_every_request(server: Subject, name: str) -> None:
    """Without the variables' index a version becomes AVAILABLE and answers FAILED_PRECONDITION."""
    break_version(server.here / name, 3, "no-variables-index")
    server.reload(server.model(name, 3))
    server.wait(name, 3, State.AVAILABLE)
    code, message = _error(lambda: server.predict(name, 1.0))
    assert code == "FAILED_PRECONDITION"
    assert "Could not find variable" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_path": "relative"}, "Expected model {} to have an absolute path or URI; got base_path()=relative"),
        ({"model_platform": "other"}, "Illegal to change a model's platform. For model {} platform was tensorflow and new platform requested is other"),  # noqa: E501
    ],
)  # fmt: skip
def test_bad_configurations_change_nothing(server: Subject, name: str, changes: dict[str, str], message: str) -> None:
    """A configuration that cannot be is refused as a whole."""
    server.reload(server.model(name, 1))
    answer = _error(lambda: server.reload(server.model(name, 1, 2, labels=None, **changes)))
    assert answer == ("INVALID_ARGUMENT", message.format(name))
    server.reload(server.model(name, 1))


def test_a_model_listed_twice(server: Subject, name: str) -> None:
    """The same name twice in one list is refused."""
    twice = server.model(name, 1)
    twice.config.model_config_list.config.append(twice.config.model_config_list.config[0])
    expected = f"Illegal to list model {name} multiple times in config list"
    assert _error(lambda: server.reload(twice)) == ("INVALID_ARGUMENT", expected)


def test_wrong_requests(server: Subject, name: str) -> None:
    """Wrong inputs are INVALID_ARGUMENT with both sides' names, wrong signatures FAILED_PRECONDITION."""
    server.reload(server.model(name, 1))
    code, message = _error(lambda: server.predict(name, 1.0, key="z"))
    assert code == "INVALID_ARGUMENT"
    assert message == (
        "input size does not match signature: 1!=1 len({z}) != len({x}). Sent extra: {z}. Missing but required: {x}."
    )
    wrong = _error(lambda: server.predict(name, 1.0, signature_name="none"))
    assert wrong == ("FAILED_PRECONDITION", 'Serving signature key "none" not found.')


def test_metadata_has_the_signatures(server: Subject, name: str) -> None:
    """GetModelMetadata answers with the signatures of a version that serves."""
    server.reload(server.model(name, 1))
    mapping = SignatureDefMap()
    server.metadata(name).metadata["signature_def"].Unpack(mapping)
    assert set(mapping.signature_def) == {"serving_default", "classify", "regress"}
    assert mapping.signature_def["serving_default"].inputs["x"].dtype == 1


def test_classify_and_regress(server: Subject, name: str) -> None:
    """tf.Examples are answered over both protocols alike."""
    server.reload(server.model(name, 1))
    classify, regress = ClassificationRequest(), RegressionRequest()
    for request, signature in ((classify, "classify"), (regress, "regress")):
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(3.0)
    classes = server.predictions.Classify(classify).result.classifications[0].classes
    value = server.predictions.Regress(regress).result.regressions[0].value
    assert [item.label for item in classes] == ["low", "high"]
    assert value == 2.5
    body = {"signature_name": "regress", "examples": [{"x": 3.0}]}
    assert server.rest(f"/v1/models/{name}:regress", body) == (200, {"results": [2.5]})
    body["signature_name"] = "classify"
    status, answer = server.rest(f"/v1/models/{name}:classify", body)
    assert (status, [label for label, _ in answer["results"][0]]) == (200, ["low", "high"])


def test_predictions_by_rows_and_by_columns(server: Subject, name: str) -> None:
    """REST answers `instances` with a row each, `inputs` with a column per output."""
    server.reload(server.model(name, 1))
    rows = server.rest(f"/v1/models/{name}:predict", {"instances": [1.0, 2.0]})
    assert rows == (200, {"predictions": [{"y": 1.5, "version": 1}, {"y": 2.0, "version": 1}]})
    columns = server.rest(f"/v1/models/{name}/versions/1:predict", {"inputs": {"x": [1.0]}})
    assert columns == (200, {"outputs": {"y": [1.5], "version": [1]}})


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/models/{}:predict", {"signature_name": "s", "instances": [1]}, 400, 'Serving signature name: "s" not found in signature def'),  # noqa: E501
        ("/v1/models/{}:predict", {"nothing": 1}, 400, "Missing 'inputs' or 'instances' key"),
        ("/v1/models/nobody:predict", {"instances": [1]}, 404, "Servable not found for request: Latest(nobody)"),
        ("/v1/models/{}/labels/none:predict", {"instances": [1]}, 400, "Unrecognized servable version label: none"),
        ("/v1/models/{}:predict", None, 400, "Malformed request: GET /v1/models/{}:predict"),
        ("/v1/models", None, 400, "Missing model name in request."),
        ("/v1/models/{}/versions/9/metadata", None, 404, "Servable not found for request: Specific({}, 9)"),
    ],
)  # fmt: skip
def test_rest_errors(server: Subject, name: str, path: str, body: Any, status: int, message: str) -> None:
    """REST failures have the status of their code and an `error` of the server's own words."""
    server.reload(server.model(name, 1))
    assert server.rest(path.format(name), body) == (status, {"error": message.format(name)})


def test_rest_status_and_metadata(server: Subject, name: str) -> None:
    """Status and metadata in the JSON shapes of the real server."""
    server.reload(server.model(name, 1))
    entry = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert server.rest(f"/v1/models/{name}") == (200, {"model_version_status": [entry]})
    status, metadata = server.rest(f"/v1/models/{name}/metadata")
    assert (status, metadata["model_spec"]) == (200, {"name": name, "signature_name": "", "version": "1"})
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert server.http("/elsewhere")[0] == 404


def test_prometheus_counts_by_model_and_status(server: Subject, name: str) -> None:
    """Answers of any status raise request_count, only good ones have a latency, and REST GETs count with no API."""
    server.reload(server.model(name, 1))
    server.predict(name, 1.0)
    _error(lambda: server.predict(name, 1.0, key="z"))
    server.rest(f"/v1/models/{name}:predict", {"instances": [1.0]})
    server.rest(f"/v1/models/{name}")
    page = server.http("/monitoring/prometheus/metrics")[1]
    count, latency = ":tensorflow:serving:request_count", ":tensorflow:serving:request_latency"
    assert f'{count}{{model_name="{name}",status="OK"}} 3' in page
    assert f'{count}{{model_name="{name}",status="INVALID_ARGUMENT"}} 1' in page
    for api, entrypoint in (("Predict", "GRPC"), ("predict", "REST"), ("", "REST")):
        labels = f'model_name="{name}",API="{api}",entrypoint="{entrypoint}"'
        assert f"{latency}_count{{{labels}}} 1" in page
        assert f'{latency}_bucket{{{labels},le="1.27482e+06"}} 1' in page
