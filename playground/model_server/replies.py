"""Status and metadata messages, the same for both APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

from playground.model_server.errors import Code, ServingError

if TYPE_CHECKING:
    from tensorflow_serving.apis.model_pb2 import ModelSpec

    from playground.model_server.inference import Inference
    from playground.model_server.states import StateMonitor


def status(monitor: StateMonitor, spec: ModelSpec) -> GetModelStatusResponse:
    """States of one or all versions. A label in `spec` is ignored, as the real server ignores it."""
    versions = monitor.versions(spec.name)
    if not versions:
        raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {spec.name}")
    if spec.WhichOneof("version_choice") == "version":
        wanted = spec.version.value
        if wanted not in versions:
            raise ServingError(Code.NOT_FOUND, f"Could not find version {wanted} of model {spec.name}")
        versions = {wanted: versions[wanted]}
    reply = GetModelStatusResponse()
    for version, known in versions.items():
        entry = reply.model_version_status.add(version=version, state=known.state)
        entry.status.error_code = known.code
        entry.status.error_message = known.message
    return reply


def metadata(inference: Inference, spec: ModelSpec) -> GetModelMetadataResponse:
    """Signatures of the version that `spec` means; ServingError unless that version serves."""
    version, signatures = inference.signatures(spec)
    reply = GetModelMetadataResponse()
    reply.model_spec.name = spec.name
    reply.model_spec.version.value = version
    mapping = SignatureDefMap()
    for name, signature in signatures.items():
        mapping.signature_def[name].CopyFrom(signature)
    reply.metadata["signature_def"].Pack(mapping)
    return reply
