"""What the exceptions of the hub's libraries mean, each in one line that says what to do.

The same failure comes in many shapes: transformers wraps everything in OSError, datasets drops the cause, and
both change with the HTTP library below. So the whole chain of causes is searched for signs.
"""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

RepoType = Literal["model", "dataset"]

# Longer chains come only from retries that repeat themselves.
MAX_CAUSES = 10

_LOG_IN = "set HF_TOKEN or run `hf auth login`"
_BAD_TOKEN = (
    "the hub refuses your token (asked for {repo}): {log_in} anew, or unset HF_TOKEN for public repos."
)
_BAD_HEADER = "the token for the hub holds characters that no token has (asked for {repo}): {log_in} anew."
_GATED = "{repo} is gated: ask for access at {page}, then {log_in} with that account."
_NO_REPO = (
    "the hub has no {repo} that you may see, nor is there such a folder here: check the name, or {log_in} "
    "if it is private."
)
_NO_REVISION = (
    "{repo} has no revision {revision} on the hub: set {repo_type}.revision to a branch, tag or commit."
)
_NO_FILE = "{repo} lacks {file} on the hub: check the name and the revision."
_NO_WEIGHTS = (
    "{repo} holds no safetensors weights, or the hub failed to send them: check the name, or try again."
)
_NO_DATA = "{repo} holds no data files that can be read (Parquet, CSV, JSON lines): check the name."
_OFFLINE = "HF_HUB_OFFLINE=1 is set, and a file of {repo} is not in the cache: load it once online."
_UNREACHABLE = (
    "the hub at {endpoint} cannot be reached for {repo}: check network, proxy and HF_ENDPOINT.{cached}"
)
_SILENT = "the hub at {endpoint} does not answer for {repo}: check network and proxy, or try again.{cached}"
_BROKE_OFF = "the download of {repo} broke off: run the same command again."
_DAMAGED = "a file of {repo} is damaged ({reason}): run `hf cache rm {repo_type}/{repo_id}`, then try again."
_FORBIDDEN = "the hub forbids access to {repo} (403): {log_in} with an account and a token that may read it."
_SLOW_DOWN = "the hub asks to slow down (429) for {repo}: wait some minutes, or {log_in}.{cached}"
_SERVER_ERROR = "the hub fails with a server error ({status}) for {repo}: try again later.{cached}"
_OTHER_STATUS = "{endpoint} answers {status} for {repo}: is HF_ENDPOINT right?{cached}"

# A sign is a class name (one word) or a phrase. The most telling come first: a gated repo, for one, is also a
# kind of repo not found.
_MEANINGS = (
    ("LocalProtocolError", _BAD_HEADER),
    ("'ascii' codec can't encode", _BAD_HEADER),
    ("Invalid credentials in Authorization header", _BAD_TOKEN),
    ("Invalid username or password", _BAD_TOKEN),
    ("GatedRepoError", _GATED),
    ("is a gated dataset on the Hub", _GATED),
    ("RepositoryNotFoundError", _NO_REPO),
    ("doesn't exist on the Hub or cannot be accessed", _NO_REPO),
    ("RevisionNotFoundError", _NO_REVISION),
    ("RemoteEntryNotFoundError", _NO_FILE),
    ("OfflineModeIsEnabled", _OFFLINE),
    ("on the Hub (OfflineModeIsEnabled)", _OFFLINE),
    ("outgoing traffic has been disabled", _OFFLINE),
    ("HfHubHTTPError", ""),  # by its status
    ("TimeoutException", _SILENT),
    ("ConnectError", _UNREACHABLE),
    ("ProxyError", _UNREACHABLE),
    ("TransportError", _BROKE_OFF),
    ("Consistency check failed", _BROKE_OFF),
    ("Couldn't reach", _UNREACHABLE),
    ("check your connection", _UNREACHABLE),
    ("does not appear to have a file named", _NO_WEIGHTS),
    ("doesn't contain any data files", _NO_DATA),
    ("Parquet magic bytes not found", _DAMAGED),
    ("SafetensorError", _DAMAGED),
    ("JSONDecodeError", _DAMAGED),
    ("is not a valid JSON file", _DAMAGED),
)
_STATUS_MEANINGS = {401: _BAD_TOKEN, 403: _FORBIDDEN, 429: _SLOW_DOWN}


@dataclass(frozen=True)
class Repo:
    """What was asked for, and how messages call it."""

    repo_id: str
    repo_type: RepoType
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repo_type} {self.repo_id}"


@dataclass(frozen=True)
class Explanation:
    """One line for the user. `cause_holds_token`: the exception quotes the header that was sent."""

    message: str
    cause_holds_token: bool


def explain(error: BaseException, repo: Repo, *, cached_commit: str | None) -> Explanation | None:
    """Say what an exception means for a repo; None where it has nothing to do with the hub.

    Args:
        cached_commit: What HF_HUB_OFFLINE=1 would take; offered where the network is at fault.
    """
    causes = _list_causes(error)
    for sign, meaning in _MEANINGS:
        for cause in causes:
            if _shows(cause, sign):
                template = meaning or _explain_status(cause)
                message = _fill(template, repo, cause, cached_commit)
                return Explanation(message, cause_holds_token=meaning is _BAD_HEADER)
    return None


def _list_causes(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in causes and len(causes) < MAX_CAUSES:
        causes.append(link)
        # datasets raises `from None` when its cache has nothing either; the context still knows why.
        link = link.__cause__ or link.__context__
    return causes


def _shows(cause: BaseException, sign: str) -> bool:
    # By name: whose classes the network errors are depends on the version of huggingface_hub.
    return sign in str(cause) if " " in sign else any(base.__name__ == sign for base in type(cause).__mro__)


def _explain_status(cause: BaseException) -> str:
    status = _status_of(cause)
    return _STATUS_MEANINGS.get(status, _SERVER_ERROR if status >= 500 else _OTHER_STATUS)


def _status_of(cause: BaseException) -> int:
    return getattr(getattr(cause, "response", None), "status_code", 0)


def _fill(template: str, repo: Repo, cause: BaseException, cached_commit: str | None) -> str:
    file = re.search(r"/resolve/[^/]+/([^\s?]+)", str(cause))
    offer = f" Revision {cached_commit} is in the cache: HF_HUB_OFFLINE=1 uses it." if cached_commit else ""
    return template.format(
        repo=repo,
        repo_id=repo.repo_id,
        repo_type=repo.repo_type,
        revision=repo.revision or "of that name",
        endpoint=_endpoint(),
        page=f"{_endpoint()}/{'datasets/' if repo.repo_type == 'dataset' else ''}{repo.repo_id}",
        status=_status_of(cause),
        file=file.group(1).rstrip(".") if file else "a file",
        # Later lines quote addresses, which may be signed.
        reason=str(cause).strip().split("\n")[0].rstrip("."),
        log_in=_LOG_IN,
        cached=offer,
    )


def _endpoint() -> str:
    """The hub's address, without a password that may stand in it."""
    from huggingface_hub import constants

    parts = urlsplit(constants.ENDPOINT)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
