"""The language between the command line and the supervisor: one JSON object per line over a unix socket."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

from playground.state import socket_path

if TYPE_CHECKING:
    from playground.state import State

_TIMEOUT_SECONDS = 120.0  # a component's start may take a minute


class NotUpError(Exception):
    """No playground answers in this state directory."""


def ask(state: State, command: str, **arguments: Any) -> dict[str, Any]:
    """Send one command (status, stop, start, kill, shutdown); returns the answer.

    Raises:
        NotUpError: nobody answers.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_TIMEOUT_SECONDS)
        try:
            connection.connect(socket_path(state.control))
            connection.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            line = connection.makefile("rb").readline()
        except OSError as error:
            raise NotUpError(f"no playground is up in {state.dir}") from error
    if not line:
        raise NotUpError(f"the playground in {state.dir} ended while it was asked")
    answer: dict[str, Any] = json.loads(line)
    return answer
