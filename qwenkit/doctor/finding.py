"""What a check says: how it stands, what was found, what mends it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from qwenkit.errors import ArtifactError, QwenkitError

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """The answer to one check.

    Attributes:
        cure: What to do; empty where all is well.
        exit_code: What the command leaves with if this fails; see errors.py.
    """

    status: Status
    found: str
    cure: str = ""
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        return asdict(self)


def ok(found: str) -> Finding:
    """All is well."""
    return Finding("ok", found)


def warn(found: str, cure: str) -> Finding:
    """Work goes on, but slower, or with something missing."""
    return Finding("warn", found, cure)


def fail(found: str, cure: str, error: type[QwenkitError] = ArtifactError) -> Finding:
    """Work would break off, or its results would be wrong."""
    return Finding("fail", found, cure, error.exit_code)


def fail_with(error: QwenkitError) -> Finding:
    """Report an error of the house, whose message ends with its cure after the last colon."""
    found, colon, cure = str(error).rpartition(": ")
    message = found if colon else str(error)
    return Finding("fail", message, cure if colon else "see above", error.exit_code)
