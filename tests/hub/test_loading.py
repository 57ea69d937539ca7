"""Real loads through transformers and datasets, from a hub that works, fails in the middle, or is gone."""

import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwenkit.errors import HubError
from qwenkit.hub import check_loaded_revision, hub_errors
from tests.hub.conftest import DATASET, MODEL, Client, Outcome, make_client
from tests.hub.hub_server import Fault, LocalHub, serve_hub
from tests.hub.test_hub import CLOSED_PORT, SOME_COMMIT

MOVING = "somebody/moving"
LOADS = {
    "tokenizer": {"do": "tokenizer", "repo_id": MODEL},
    "model": {"do": "model", "repo_id": MODEL},
    "dataset": {"do": "dataset", "repo_id": DATASET},
}


class Session:
    """What one process got online, and what the next got offline from the cache that the first left."""

    def __init__(self, folder: Path, hub: LocalHub, client: Client) -> None:
        self.client = client
        self.model_commit = hub.find_commit(f"models/{MODEL}")
        self.dataset_commit = hub.find_commit(f"datasets/{DATASET}")
        moving = folder / "datasets" / MOVING
        write = {"do": "write_dataset", "folder": str(moving)}
        load = {"do": "dataset", "repo_id": MOVING}
        online = client(*LOADS.values(), {**write, "word": "first"}, load, {**write, "word": "second"}, load)
        self.online = dict(zip([*LOADS, "", "first", "", "second"], online, strict=True))
        self.moving_commit = hub.find_commit(f"datasets/{MOVING}")
        self.requests = list(hub.requests)
        hub.requests.clear()
        checks = {
            **LOADS,
            "by commit": {"do": "resolve", "repo_id": MODEL, "revision": self.model_commit},
            "by other commit": {"do": "resolve", "repo_id": MODEL, "revision": SOME_COMMIT},
            "by unknown tag": {"do": "resolve", "repo_id": MODEL, "revision": "v9"},
            "load of other commit": {"do": "model", "repo_id": MODEL, "revision": SOME_COMMIT},
            "tokenizer of main": {"do": "tokenizer", "repo_id": MODEL, "revision": "main"},
            "moving": load,
            "moving by commit": {**load, "revision": self.moving_commit},
            "moving by other commit": {**load, "revision": SOME_COMMIT},
        }
        self.offline = dict(zip(checks, client(*checks.values(), HF_HUB_OFFLINE="1"), strict=True))
        self.offline_requests = list(hub.requests)


@pytest.fixture(scope="module")
def session(hub_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with serve_hub(hub_folder) as hub:
        yield Session(hub_folder, hub, make_client(hub, tmp_path_factory.mktemp("cache")))


def test_model_tokenizer_and_dataset_load_from_the_hub(session: Session) -> None:
    assert len(session.online["tokenizer"]["value"]) > 5
    assert session.online["model"]["value"]["class"] == "Qwen3ForSequenceClassification"
    splits = session.online["dataset"]["value"]
    assert {name: len(rows["text"]) for name, rows in splits.items()} == {
        "train": 40,
        "validation": 8,
        "test": 6,
    }
    assert splits["test"]["label"][:2] == ["Human_Written", "AI_Generated"]


def test_after_the_preflight_only_the_pinned_commit_is_asked_for(session: Session) -> None:
    pinned = {f"/{MODEL}": session.model_commit, f"/{DATASET}": session.dataset_commit}
    for repo_id, commit in pinned.items():
        asked = [request for request in session.requests if repo_id in request]
        assert asked[0].startswith("GET /api/")
        unpinned = [request for request in asked if commit not in request]
        # Tokenizer and model are resolved each on their own; no other request goes without the commit.
        assert set(unpinned) == {asked[0]}


def test_offline_the_cache_gives_the_same_without_a_request(session: Session) -> None:
    for name in LOADS:
        assert session.offline[name]["value"] == session.online[name]["value"]
    assert session.offline["by commit"]["value"] == session.model_commit
    assert session.offline["tokenizer of main"]["value"] == session.online["tokenizer"]["value"]
    assert session.offline_requests == []


def test_offline_a_revision_that_is_not_cached_is_an_error_that_lists_what_is(session: Session) -> None:
    for name, revision in (("by other commit", SOME_COMMIT), ("by unknown tag", "v9")):
        message = session.offline[name]["error"]
        assert f"revision {revision} of model {MODEL} is not in the cache" in message
        assert f"which has {session.model_commit}: load it once online" in message
    assert session.offline["load of other commit"]["error"] == (
        f"HF_HUB_OFFLINE=1 is set, and a file of model {MODEL} is not in the cache: load it once online."
    )


def test_offline_the_commit_seen_last_counts(session: Session) -> None:
    assert session.online["first"]["value"]["test"]["text"][0] == "test first 0"
    assert session.online["second"]["value"]["test"]["text"][0] == "test second 0"
    assert session.offline["moving"]["value"]["test"]["text"][0] == "test second 0"


def test_dataset_that_the_library_takes_from_another_revision_is_refused(session: Session) -> None:
    assert session.offline["moving by commit"]["value"]["test"]["text"][0] == "test second 0"
    wrong = session.offline["moving by other commit"]
    assert wrong["kind"] == "HubError"
    assert f"revision {SOME_COMMIT[:12]} could not be loaded" in wrong["error"]
    assert f"another one ({session.moving_commit[:12]})" in wrong["error"]


def test_hub_that_is_gone_offers_what_is_in_the_cache(session: Session) -> None:
    outcomes = session.client({"do": "resolve", "repo_id": MODEL}, HF_ENDPOINT=CLOSED_PORT)
    assert outcomes[0]["error"].endswith(
        f"Revision {session.model_commit} is in the cache: HF_HUB_OFFLINE=1 uses it."
    )


DAMAGED = "is damaged ("
BROKE_OFF = "broke off: run the same command again."
EXPECTED_IN_MESSAGES = {
    ("tokenizer", "faults/short"): BROKE_OFF,
    ("tokenizer", "faults/garbage"): DAMAGED,
    ("tokenizer", "faults/fails"): "holds no tokenizer, or the hub failed to send it",
    ("tokenizer", "faults/gated"): "is gated",
    ("tokenizer", "nobody/no-tokenizer"): "holds no tokenizer",
    ("model", "faults/short"): BROKE_OFF,
    ("model", "faults/garbage"): DAMAGED,
    ("model", "faults/fails"): "holds no safetensors weights, or the hub failed to send them",
    ("model", "faults/gated"): "is gated",
    ("model", "nobody/no-tokenizer"): "holds no safetensors weights",
    ("dataset", "faults/short"): BROKE_OFF,
    ("dataset", "faults/garbage"): DAMAGED,
    ("dataset", "faults/fails"): "the hub fails with a server error (500)",
    ("dataset", "faults/gated"): "is gated",
    ("dataset", "faults/lost"): "the hub fails with a server error (500)",
    ("dataset", "nobody/no-data"): "holds no data files",
}


def add_faults(hub: LocalHub) -> None:
    """Let only files fail: the preflight passes, and the load breaks in the middle."""
    for suffix in ("tokenizer.json", "model.safetensors", ".parquet"):
        hub.faults += [Fault(kind, f"faults/{kind}", suffix) for kind in ("short", "garbage", "truncated")]
        hub.faults += [Fault("500", "faults/fails", suffix)]
    hub.faults += [Fault("gated", "faults/gated/resolve"), Fault("500", "faults/lost/resolve")]


def is_one_line(outcome: Outcome) -> bool:
    return outcome.get("kind") == "HubError" and "\n" not in outcome["error"]


def test_tokenizer_of_a_branch_or_commit_of_a_hub_that_is_gone_is_told_at_once(client: Client) -> None:
    checks = [{"do": "tokenizer", "repo_id": MODEL, "revision": name} for name in ("main", SOME_COMMIT)]
    for outcome in client(*checks, HF_ENDPOINT=CLOSED_PORT):
        assert "cannot be reached" in outcome["error"]


def test_load_that_breaks_in_the_middle_is_one_line(hub: LocalHub, client: Client) -> None:
    add_faults(hub)
    outcomes = client(*({"do": kind, "repo_id": repo_id} for kind, repo_id in EXPECTED_IN_MESSAGES))
    for (kind, repo_id), outcome in zip(EXPECTED_IN_MESSAGES, outcomes, strict=True):
        assert is_one_line(outcome), (kind, repo_id, outcome)
        assert EXPECTED_IN_MESSAGES[kind, repo_id] in outcome["error"]
        assert repo_id in outcome["error"]


@pytest.mark.slow
def test_connection_that_closes_early_is_one_line(hub: LocalHub, client: Client) -> None:
    add_faults(hub)
    for outcome in client(*({"do": kind, "repo_id": "faults/truncated"} for kind in LOADS)):
        assert is_one_line(outcome)
        assert BROKE_OFF in outcome["error"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        PermissionError(13, "Permission denied"),
        KeyError("text"),
        ValueError("BuilderConfig 'x' not found"),
        HubError("our own"),
        KeyboardInterrupt(),
    ],
)
def test_errors_that_have_nothing_to_do_with_the_hub_pass_untouched(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, hub_errors(DATASET, repo_type="dataset"):
        raise error
    assert caught.value is error


def test_error_that_quotes_the_header_with_the_token_is_not_kept_as_cause() -> None:
    from huggingface_hub.utils import httpx

    with pytest.raises(HubError) as caught, hub_errors(MODEL, repo_type="model"):
        raise httpx.LocalProtocolError("Illegal header value b'Bearer hf_secret'")
    assert "characters that no token has" in str(caught.value)
    assert "hf_secret" not in "".join(traceback.format_exception(caught.value))


def test_files_of_the_pinned_commit_are_accepted() -> None:
    check_loaded_revision(
        DATASET, revision=SOME_COMMIT, cache_files=[f"/cache/default/0.0.0/{SOME_COMMIT}/x-train.arrow"]
    )
