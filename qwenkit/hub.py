"""The hub before the libraries get to it: one call pins a revision, or says in a line why it cannot be had.

Left alone, the libraries retry for up to minutes where the network is down, name the wrong cause, and offline
take whatever is in their cache. A repo is first resolved here to a commit, which then is all that is loaded.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from qwenkit.errors import HubError, QwenkitError
from qwenkit.hub_causes import Repo, RepoType, explain

PREFLIGHT_SECONDS = 10.0

_REPO_ID = re.compile(r"(?=.{1,96}$)\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
_FULL_COMMIT = re.compile(r"[0-9a-f]{40}")
_FILE_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".txt", ".arrow", ".yaml", ".yml")


def looks_like_repo_id(name: str) -> bool:
    """Tell `owner/name` (or an old bare name) from a path, by its form: an existing folder goes first."""
    return (
        _REPO_ID.fullmatch(name) is not None
        and not name.lower().endswith((*_FILE_SUFFIXES, ".git", ".", "-"))
        and "--" not in name
        and ".." not in name
    )


def resolve_revision(
    repo_id: str, *, repo_type: RepoType, revision: str | None = None, timeout_seconds: float | None = None
) -> str:
    """Find the commit that a repo's revision means now, with one call of at most 10 seconds.

    Offline (HF_HUB_OFFLINE=1) it is the commit that this name meant when it was last asked for online.

    Args:
        revision: Branch, tag or commit; None is the main branch.
        timeout_seconds: Wait less than those 10 seconds.

    Returns:
        40 hexadecimal digits. Loading with them pins the run, and spares calls that have no timeout.

    Raises:
        HubError: It cannot be had; the message says why and what to do.
    """
    if not looks_like_repo_id(repo_id):
        raise HubError(f'"{repo_id}" is no hub id: expected owner/name, like Qwen/Qwen3-0.6B.')
    repo = Repo(repo_id, repo_type, revision)
    if is_offline(repo_type):
        return _resolve_offline(repo)
    with hub_errors(repo_id, repo_type=repo_type, revision=revision):
        commit = _ask_hub(repo, timeout_seconds or PREFLIGHT_SECONDS)
    _remember_commit(repo, commit)
    return commit


@contextmanager
def hub_errors(repo_id: str, *, repo_type: RepoType, revision: str | None = None) -> Iterator[None]:
    """Turn what the libraries raise while they load a repo into one HubError; other errors pass untouched."""
    try:
        yield
    except QwenkitError:
        raise
    except Exception as error:
        repo = Repo(repo_id, repo_type, revision)
        found = explain(error, repo, cached_commit=_find_cached_commit(repo))
        if found is None:
            raise
        # The cause helps under --debug, unless it quotes the header that holds the token.
        raise HubError(found.message) from (None if found.cause_holds_token else error)


def find_account(*, timeout_seconds: float) -> str | None:
    """Ask the hub whose token is used; None where there is no token.

    Raises:
        HubError: The token is refused, or the hub does not answer. The message does not hold the token.
    """
    from huggingface_hub import constants, get_token
    from huggingface_hub.utils._headers import build_hf_headers
    from huggingface_hub.utils._http import get_session, hf_raise_for_status

    if get_token() is None:
        return None
    # Not by HfApi.whoami, which waits for as long as it takes.
    with hub_errors("your account", repo_type="model"):
        response = get_session().get(
            f"{constants.ENDPOINT}/api/whoami-v2", headers=build_hf_headers(), timeout=timeout_seconds
        )
        hf_raise_for_status(response)
        name = response.json().get("name")
    if not name:
        raise HubError("the hub does not say whose token this is: is HF_ENDPOINT right?")
    return str(name)


def check_loaded_revision(repo_id: str, *, revision: str, cache_files: Iterable[str]) -> None:
    """Refuse a data set that was not loaded from the pinned commit.

    When the hub fails or is offline, `datasets.load_dataset` takes its newest cached version, whatever
    revision it was asked for, and only logs that.

    Args:
        cache_files: `filename` of each entry in `cache_files` of the splits.

    Raises:
        HubError: A file comes from another commit.
    """
    for filename in cache_files:
        if revision not in Path(filename).parts:
            raise HubError(
                f"dataset {repo_id}: revision {revision[:12]} could not be loaded, and the copy in the cache "
                f"is another one ({Path(filename).parent.name[:12]}): run the same command again online."
            )


def _ask_hub(repo: Repo, timeout_seconds: float) -> str:
    from huggingface_hub import HfApi

    api = HfApi()
    info = api.repo_info(
        repo.repo_id, repo_type=repo.repo_type, revision=repo.revision, timeout=timeout_seconds
    )
    if getattr(info, "gated", False):
        # The info of a gated repo is public, its files are not.
        api.auth_check(repo.repo_id, repo_type=repo.repo_type)
    if not info.sha:
        raise HubError(f"the hub names no commit for {repo}: is HF_ENDPOINT right?")
    return info.sha


def is_offline(repo_type: RepoType = "model") -> bool:
    """Tell whether the environment forbids to ask the hub."""
    from huggingface_hub import constants

    only_datasets = os.environ.get("HF_DATASETS_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    return constants.HF_HUB_OFFLINE or (repo_type == "dataset" and only_datasets)


def _resolve_offline(repo: Repo) -> str:
    commit = _find_cached_commit(repo)
    if commit is not None:
        return commit
    snapshots = _cache_folder(repo) / "snapshots"
    commits = sorted(path.name for path in snapshots.iterdir()) if snapshots.is_dir() else []
    if not commits:
        raise HubError(
            f"HF_HUB_OFFLINE=1 is set, and {repo} is not in the cache ({snapshots.parent.parent}): "
            "load it once online, or name a local folder."
        )
    raise HubError(
        f"HF_HUB_OFFLINE=1 is set, and revision {repo.revision or 'main'} of {repo} is not in the cache, "
        f"which has {', '.join(commits)}: load it once online, or name one of these as "
        f"{repo.repo_type}.revision."
    )


def _cache_folder(repo: Repo) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / "--".join([f"{repo.repo_type}s", *repo.repo_id.split("/")])


def _find_cached_commit(repo: Repo) -> str | None:
    """Read what the revision meant last, provided that files of that commit are there."""
    folder = _cache_folder(repo)
    name = repo.revision or "main"
    reference = folder / "refs" / name
    if _FULL_COMMIT.fullmatch(name):
        commit = name
    elif reference.is_file():
        commit = reference.read_text().strip()
    else:
        return None
    return commit if commit and (folder / "snapshots" / commit).is_dir() else None


def _remember_commit(repo: Repo, commit: str) -> None:
    """Note in the cache what the revision means, as the libraries do; loading by commit leaves no note."""
    reference = _cache_folder(repo) / "refs" / (repo.revision or "main")
    if repo.revision == commit or (reference.is_file() and reference.read_text() == commit):
        return
    try:
        reference.parent.mkdir(parents=True, exist_ok=True)
        staged = reference.with_name(f"{reference.name}.{os.getpid()}.tmp")
        staged.write_text(commit)
        staged.replace(reference)
    except OSError:
        # A read-only cache still serves what it has; only the offline look-up of this name is lost.
        return
