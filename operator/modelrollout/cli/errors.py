"""What goes wrong for people, told with what to do about it; and the exit codes that scripts branch on."""

from enum import IntEnum

import click


class Exit(IntEnum):
    """Exit codes. A rollout that was reverted is told apart from one that nothing could be found out about."""

    OK = 0
    REVERTED = 1
    TIMEOUT = 2
    FAILED = 3
    USAGE = 64


class Failure(click.ClickException):
    """Something could not be done. The hint says what to do about it."""

    exit_code = Exit.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        """`hint` goes on a line of its own."""
        super().__init__(f"{message}\n{hint}" if hint else message)


class NotFound(Failure):
    """There is no such object."""


class Declined(Failure):
    """The operator has said no."""

    exit_code = Exit.REVERTED


class NoAnswer(Failure):
    """It has not come about in the time that was given."""

    exit_code = Exit.TIMEOUT


click.UsageError.exit_code = Exit.USAGE
