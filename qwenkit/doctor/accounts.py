"""The services outside: does the hub answer, whose login is used, is there one for Weights & Biases."""

import netrc
import os
import time
from pathlib import Path
from urllib.parse import urlsplit

from qwenkit.doctor.finding import Finding, fail, fail_with, ok, warn
from qwenkit.errors import ConfigError, HubError

# The base model of default.yaml: what nearly everyone asks the hub for.
ASKED_FOR = "Qwen/Qwen3-0.6B"
HUB_SECONDS = 5.0
WANDB_URL = "https://api.wandb.ai"
WANDB_KEY_LENGTH = 40


def check_hub(repo_id: str | None = None) -> Finding:
    """Ask the hub for a model's revision, within seconds.

    Args:
        repo_id: The model to ask for; None is the default base.
    """
    from qwenkit.hub import is_offline, resolve_revision

    name = repo_id or ASKED_FOR
    started = time.monotonic()
    try:
        revision = resolve_revision(name, repo_type="model", timeout_seconds=HUB_SECONDS)
    except HubError as error:
        told = fail_with(error)
        # Without a model of ours in question the cache, a folder or a tiny model may be all that is wanted.
        return told if repo_id else warn(told.found, told.cure)
    if is_offline():
        return warn(
            f"HF_HUB_OFFLINE is set: {name} comes from the cache, revision {revision[:12]}",
            "unset it to load what is new",
        )
    return ok(f"the hub answers in {time.monotonic() - started:.1f} s")


def check_hub_login() -> Finding:
    """Ask the hub whose token is used."""
    from qwenkit.hub import find_account, is_offline

    if is_offline():
        return ok("not asked: HF_HUB_OFFLINE is set")
    try:
        account = find_account(timeout_seconds=HUB_SECONDS)
    except HubError as error:
        told = fail_with(error)
        # A hub that does not answer is found by the check of the hub; this one is about the token.
        return told if "token" in told.found else warn(told.found, told.cure)
    if account is None:
        return ok("no token, which is enough for public models and data sets")
    return ok(f"logged in as {account}")


def check_wandb_login(*, is_wanted: bool = True) -> Finding:
    """Look for a key of Weights & Biases where it looks itself; the service is not asked.

    Args:
        is_wanted: The config has wandb enabled.
    """
    if not is_wanted:
        return ok("not needed: wandb.enabled is false")
    key = os.environ.get("WANDB_API_KEY") or _find_key_in_netrc()
    if not key:
        return warn("no key: runs are recorded offline", "wandb login, or --no-wandb")
    if len(key) < WANDB_KEY_LENGTH:
        cure = "wandb login, or set WANDB_API_KEY to a whole key"
        return fail(f"the key has {len(key)} characters, fewer than any key has", cure, ConfigError)
    return ok("a key is there")


def _find_key_in_netrc() -> str | None:
    """Read the key that `wandb login` keeps in the file of all logins."""
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or WANDB_URL).hostname or ""
    try:
        entry = netrc.netrc(path).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return None
    return entry[2] if entry else None
