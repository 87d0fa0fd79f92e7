"""The text files that flags name: the models, and monitoring. Read by `__main__`."""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from playground.model_server.errors import Code, ServingError
from playground.model_server.metrics import DEFAULT_PATH

_COMMENT = re.compile(r"#[^\n]*")
_ENABLED = re.compile(r"prometheus_config\s*:?\s*\{[^}]*\benable\s*:\s*(?:true|1)\b")
_PATH = re.compile(r"\bpath\s*:\s*[\"']([^\"']*)[\"']")


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise ServingError(Code.NOT_FOUND, f"{path}; No such file or directory") from error


def models(path: str) -> ModelServerConfig:
    """A --model_config_file. ServingError when it is missing or does not parse."""
    try:
        return text_format.Parse(_read(path), ModelServerConfig())
    except text_format.ParseError as error:
        raise ServingError(Code.INVALID_ARGUMENT, f"Invalid protobuf file: '{path}'") from error


def single_model(name: str, base_path: str) -> ModelServerConfig:
    """What --model_name and --model_base_path stand for."""
    config = ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform="tensorflow")
    return config


def metrics_path(path: str) -> str | None:
    """Where a --monitoring_config_file puts the Prometheus page; None when it is off, the default.

    The message type of that file is in no published package, so it is read as text.
    """
    if not path:
        return None
    text = _COMMENT.sub("", _read(path))
    if not _ENABLED.search(text):
        return None
    found = _PATH.search(text)
    return found[1] if found and found[1] else DEFAULT_PATH
