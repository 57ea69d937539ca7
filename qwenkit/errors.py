"""The error family: every failure that a user can mend, each with its exit code.

A message is complete in itself: what was expected, what was found, where, and the one command that mends it.
Anything else that escapes is a bug of ours and keeps its traceback.
"""


class QwenkitError(Exception):
    """Root of the family; the command line prints the message and leaves with `exit_code`."""

    exit_code = 1


class ConfigError(QwenkitError):
    """A setting, an option or a combination of them cannot be used."""

    exit_code = 2


class DataError(QwenkitError):
    """The rows or columns that the user named cannot be used."""

    exit_code = 2


class HubError(QwenkitError):
    """A repository on the hub cannot be had: no network, no such name, no permission."""

    exit_code = 3


class ArtifactError(QwenkitError):
    """An input artifact is missing, stale, foreign or corrupt."""

    exit_code = 3


class BusyError(QwenkitError):
    """The output is being written by another process, or would be overwritten."""

    exit_code = 4


class ResourceError(QwenkitError):
    """Disk or memory ran out."""

    exit_code = 5


class DivergedError(QwenkitError):
    """Training produced a loss that is not finite."""

    exit_code = 6


class Interrupted(QwenkitError):
    """Ctrl-C or SIGTERM arrived; what is on disk can be resumed."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
