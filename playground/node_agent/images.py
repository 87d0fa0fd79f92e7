"""Which program stands for which container image. Called before a container starts; pure but for the
interpreter's path.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SERVER_PROGRAM = (sys.executable, "-m", "playground.model_server")
"""What runs in place of ``tensorflow_model_server``."""

_SERVER_BINARY = "tensorflow_model_server"
_SERVER_ENTRYPOINT = "tf_serving_entrypoint.sh"
_IMAGES = ("tensorflow/serving", "playground/exec", "playground/sleep")


def repository(image: str) -> str:
    """`image` without its digest and tag: ``mirror:5000/tensorflow/serving:2.20.0`` ->
    ``mirror:5000/tensorflow/serving``.
    """
    name = image.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(":")[0]


def known(image: str) -> str | None:
    """The name under which the playground has `image`, from any registry and with any tag; None if it has
    not.
    """
    name = repository(image)
    return next((ours for ours in _IMAGES if name == ours or name.endswith(f"/{ours}")), None)


def program(image: str, command: Sequence[str], args: Sequence[str], env: Mapping[str, str]) -> tuple[list[str], bool]:
    """The words to execute for a container, and whether it acts as a process 1 that ignores SIGTERM.

    Args:
        image: one that is :func:`known`.
        command: the container's ``command``; empty means the image's entry point.
        args: the container's ``args``.
        env: its environment; the server's entry point takes the model's name and path from there.
    """
    match known(image):
        case "tensorflow/serving":
            return _server(list(command), list(args), env)
        case "playground/sleep" if not command:
            return ["sleep", *(args or ["infinity"])], False
        case _:
            return [*command, *args] or ["true"], False


def _server(command: list[str], args: list[str], env: Mapping[str, str]) -> tuple[list[str], bool]:
    name = command[0].rpartition("/")[2] if command else _SERVER_ENTRYPOINT
    if name == _SERVER_BINARY:
        return [*SERVER_PROGRAM, *command[1:], *args], True
    if name == _SERVER_ENTRYPOINT:
        model, base = env.get("MODEL_NAME", "model"), env.get("MODEL_BASE_PATH", "/models")
        own = [
            "--port=8500",
            "--rest_api_port=8501",
            f"--model_name={model}",
            f"--model_base_path={base}/{model}",
        ]
        return [*SERVER_PROGRAM, *own, *command[1:], *args], True
    return [*command, *args], False
