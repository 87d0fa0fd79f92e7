"""Traces: what a pass and a round of measurements consist of. Off by default; then they cost nothing.

A port, so that nobody but `adapters.otlp` knows the library behind it; `process` installs that one when it is asked to.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

Attributes = Mapping[str, str | int]


class Tracer(Protocol):
    """Where spans go. Nothing here ever raises or waits."""

    def span(self, name: str, attributes: Attributes, root: bool) -> AbstractContextManager[None]:
        """Time what is inside; an exception marks it as failed. Outside of a trace only a root is anything at all."""
        ...

    def annotate(self, attributes: Attributes) -> None:
        """Say more about the span that we are in."""
        ...

    def trace_id(self) -> str:
        """The trace that we are in, as 32 hexadecimal digits; empty outside of one."""
        ...


@dataclass(slots=True)
class _Installed:
    tracer: Tracer | None = None


_INSTALLED = _Installed()
_NOTHING = nullcontext()


def install(tracer: Tracer | None) -> None:
    """Send spans there from now on; None for nowhere."""
    _INSTALLED.tracer = tracer


def trace(name: str, /, **attributes: str | int) -> AbstractContextManager[None]:
    """A trace of its own for what is inside, whatever else is under way."""
    tracer = _INSTALLED.tracer
    return _NOTHING if tracer is None else tracer.span(name, _qualified(attributes), root=True)


def span(name: str, /, **attributes: str | int) -> AbstractContextManager[None]:
    """A part of the trace that we are in."""
    tracer = _INSTALLED.tracer
    return _NOTHING if tracer is None else tracer.span(name, _qualified(attributes), root=False)


def annotate(**attributes: str | int) -> None:
    """Say more about the span that we are in."""
    if _INSTALLED.tracer is not None:
        _INSTALLED.tracer.annotate(_qualified(attributes))


def trace_id() -> str:
    """The trace that we are in, as 32 hexadecimal digits; empty outside of one, and without a tracer."""
    return "" if _INSTALLED.tracer is None else _INSTALLED.tracer.trace_id()


def _qualified(attributes: Attributes) -> Attributes:
    return {f"modelrollout.{name}": value for name, value in attributes.items()}
