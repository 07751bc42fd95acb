"""Exit codes, and which error has which; every error of ours is one sentence for a person."""

from __future__ import annotations

import enum

from perpstrader.domain.errors import PerpsTraderError, StateError, UnsafeError, UsageError, VenueError


class ExitCode(enum.IntEnum):
    """What a program that calls this one can rely on."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    UNSAFE = 4


MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "refused or failed",
    ExitCode.USAGE: "wrong usage or settings; nothing was done",
    ExitCode.UNREACHABLE: "trader or venue cannot be reached, or gives no usable answer",
    ExitCode.UNSAFE: "not safe to go on (state damaged or in use, account in doubt)",
}


class CliError(PerpsTraderError):
    """What a verb cannot do, with the code to exit with."""

    def __init__(self, sentence: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(sentence)
        self.code = code


def code_of(error: PerpsTraderError) -> ExitCode:
    """The exit code of an error."""
    from perpstrader.runtime.transport import TransportError
    from perpstrader.settings.errors import SettingsError

    if isinstance(error, CliError):
        return error.code
    if isinstance(error, SettingsError | UsageError):
        return ExitCode.USAGE
    if isinstance(error, TransportError | VenueError):
        return ExitCode.UNREACHABLE
    if isinstance(error, StateError | UnsafeError):
        return ExitCode.UNSAFE
    return ExitCode.FAILED
