"""TensorFlow Serving's generated messages and stubs: the only module that imports them.

They import `tensorflow.core...` modules. Where a full TensorFlow is installed, its package would run for over a second
and take half a gigabyte just for that; then a bare package with the same search path is put in its place first.
"""

import importlib.util
import sys
from types import ModuleType


def _keep_tensorflow_bare() -> None:
    if "tensorflow" in sys.modules:
        return
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.origin is None:
        # Not installed, or messages only: a namespace package has no code that could run.
        return
    bare = ModuleType("tensorflow")
    bare.__path__ = list(spec.submodule_search_locations or ())
    bare.__spec__ = spec
    sys.modules["tensorflow"] = bare


_keep_tensorflow_bare()

# These must come after the line above.
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, GetModelMetadataResponse  # noqa: E402
from tensorflow_serving.apis.get_model_status_pb2 import (  # noqa: E402
    GetModelStatusRequest,
    GetModelStatusResponse,
    ModelVersionStatus,
)
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest, ReloadConfigResponse  # noqa: E402
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub  # noqa: E402
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub  # noqa: E402
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig  # noqa: E402

__all__ = [
    "GetModelMetadataRequest",
    "GetModelMetadataResponse",
    "GetModelStatusRequest",
    "GetModelStatusResponse",
    "ModelServerConfig",
    "ModelServiceStub",
    "ModelVersionStatus",
    "PredictionServiceStub",
    "ReloadConfigRequest",
    "ReloadConfigResponse",
]
