"""The preflight: one call pins a revision, and each failure is one clear line at once."""

import pytest

from qwenkit.hub import PREFLIGHT_SECONDS, looks_like_repo_id
from tests.hub.conftest import DATASET, MODEL, Client
from tests.hub.hub_server import GOOD_TOKEN, Fault, LocalHub

CLOSED_PORT = "http://127.0.0.1:9"
SOME_COMMIT = "e" * 40


@pytest.mark.parametrize("name", ["Qwen/Qwen3-0.6B", "gpt2", "codefactory4791/raid_aligned_10k", "a/b.c_d-e"])
def test_hub_ids_look_like_hub_ids(name: str) -> None:
    assert looks_like_repo_id(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "./folder",
        "../folder",
        "/abs/folder",
        "~/folder",
        "a/b/c",
        "a//b",
        "folder/",
        "data.csv",
        "folder/data.PARQUET",
        "a b/c",
        "C:\\folder",
        "a--b",
        "a/b..c",
        "https://huggingface.co/a/b",
        "a/b.git",
        "a/b\n",
        "x" * 97,
        "имя/модель",
    ],
)
def test_paths_do_not_look_like_hub_ids(name: str) -> None:
    assert not looks_like_repo_id(name)


def test_one_call_pins_the_present_commit(hub: LocalHub, client: Client) -> None:
    commit = hub.find_commit(f"models/{MODEL}")
    heavy, main, by_commit, dataset, bad_name = client(
        {"do": "heavy_imports"},
        {"do": "resolve", "repo_id": MODEL},
        {"do": "resolve", "repo_id": MODEL, "revision": commit},
        {"do": "resolve", "repo_id": DATASET, "repo_type": "dataset", "revision": "main"},
        {"do": "resolve", "repo_id": "not/a/repo"},
    )
    assert heavy["value"] == []
    assert main["value"] == by_commit["value"] == commit
    assert dataset["value"] == hub.find_commit(f"datasets/{DATASET}")
    assert bad_name["error"] == '"not/a/repo" is no hub id: expected owner/name, like Qwen/Qwen3-0.6B.'
    assert hub.requests == [
        f"GET /api/models/{MODEL}",
        f"GET /api/models/{MODEL}/revision/{commit}",
        f"GET /api/datasets/{DATASET}/revision/main",
    ]


LOG_IN = "set HF_TOKEN or run `hf auth login`"
EXPECTED_MESSAGES = {
    "missing": "the hub has no <repo> that you may see, nor is there such a folder here: check the name, "
    f"or {LOG_IN} if it is private.",
    "gated": f"<repo> is gated: ask for access at <hub>/faults/gated, then {LOG_IN} with that account.",
    "hang": "the hub at <hub> does not answer for <repo>: check network and proxy, or try again.",
    "401": f"the hub refuses your token (asked for <repo>): {LOG_IN} anew, "
    "or unset HF_TOKEN for public repos.",
    "403": f"the hub forbids access to <repo> (403): {LOG_IN} with an account and a token that may read it.",
    "404": "<hub> answers 404 for <repo>: is HF_ENDPOINT right?",
    "429": f"the hub asks to slow down (429) for <repo>: wait some minutes, or {LOG_IN}.",
    "500": "the hub fails with a server error (500) for <repo>: try again later.",
}


def test_each_failure_is_one_line_at_once(hub: LocalHub, client: Client) -> None:
    hub.faults += [Fault(kind, f"faults/{kind}") for kind in EXPECTED_MESSAGES if kind != "missing"]
    # The real limit would make this test ten seconds long; that it is what limits is what counts.
    checks = [{"do": "resolve", "repo_id": f"faults/{kind}", "seconds": 1.0} for kind in EXPECTED_MESSAGES]
    outcomes = dict(zip(EXPECTED_MESSAGES, client(*checks), strict=True))
    for kind, message in EXPECTED_MESSAGES.items():
        expected = message.replace("<hub>", hub.endpoint).replace("<repo>", f"model faults/{kind}")
        assert outcomes[kind]["error"] == expected
        assert outcomes[kind]["kind"] == "HubError"
        # Far below the 23 seconds of the libraries' retries, on a busy machine too.
        assert outcomes[kind]["seconds"] < 5
    assert PREFLIGHT_SECONDS == 10


def test_missing_revision_is_named(client: Client) -> None:
    (outcome,) = client({"do": "resolve", "repo_id": DATASET, "repo_type": "dataset", "revision": "v9"})
    assert outcome["error"] == (
        f"dataset {DATASET} has no revision v9 on the hub: set dataset.revision to a branch, tag or commit."
    )


def test_good_token_opens_what_is_gated_and_a_bad_one_is_refused_unquoted(
    hub: LocalHub, client: Client
) -> None:
    hub.faults += [Fault("gated", "faults/gated")]
    (good,) = client({"do": "resolve", "repo_id": "faults/gated"}, HF_TOKEN=GOOD_TOKEN)
    assert good["value"] == hub.find_commit("models/faults/gated")
    for token in ("hf_badTokenOfSomebody", "hf_bad\x01Token", "hf_bädToken"):
        (bad,) = client({"do": "resolve", "repo_id": MODEL}, HF_TOKEN=token)
        assert bad["kind"] == "HubError"
        assert "token" in bad["error"]
        assert "run `hf auth login` anew" in bad["error"]
        assert "hf_b" not in bad["shown_under_debug"]


def test_closed_port_is_told_at_once_and_without_the_password_of_the_endpoint(client: Client) -> None:
    (outcome,) = client(
        {"do": "resolve", "repo_id": MODEL}, HF_ENDPOINT=CLOSED_PORT.replace("127", "me:secret@127")
    )
    assert outcome["error"] == (
        f"the hub at {CLOSED_PORT} cannot be reached for model {MODEL}: check network, proxy and HF_ENDPOINT."
    )
    assert outcome["seconds"] < 5


def test_offline_without_a_cache_says_what_to_do(client: Client) -> None:
    model, dataset = client(
        {"do": "resolve", "repo_id": MODEL},
        {"do": "resolve", "repo_id": DATASET, "repo_type": "dataset"},
        HF_HUB_OFFLINE="1",
    )
    assert model["error"].startswith(f"HF_HUB_OFFLINE=1 is set, and model {MODEL} is not in the cache (")
    assert model["error"].endswith("load it once online, or name a local folder.")
    assert dataset["kind"] == "HubError"
