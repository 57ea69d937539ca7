"""Hub ids as a user types them: pinned, recorded, remade when the hub moves on, offline from the cache."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from qwenkit.data.sources import ALIASES
from qwenkit.files import read_json
from tests.end_to_end.hub_repos import DATASET, MODEL
from tests.end_to_end.processes import CommandProcess, Outcome, make_environment, run_alone
from tests.hub.hub_server import Fault, LocalHub, serve_hub

SHORT = "--set training.max_steps=2 --set training.dataloader_num_workers=0 --no-wandb"
RUN = f"run --dataset 10k {SHORT}"
STREAMED_DATASET = ALIASES["1M"]
STREAMED = "prepare --dataset 1M --set dataset.streaming=true --set dataset.max_rows=100"
STAGES = ("prepare", "tokenize", "evaluate before training", "train", "evaluate", "export")


class Story:
    """What a user met: a first run, the same again, offline, and after the data set and the model moved."""

    def __init__(self, hub: LocalHub, home: Path) -> None:
        self.hub = hub
        self.output = home / "work" / "output"
        self.commits = {name: hub.find_commit(name) for name in (f"models/{MODEL}", f"datasets/{DATASET}")}
        self.online = CommandProcess(home / "work", make_environment(home, endpoint=hub.endpoint))
        self.first = self.online.call(RUN)
        self.manifests = {path.parent.name: read_json(path) for path in self.output.glob("**/manifest.json")}
        self.bundle = read_json(self.output / "qwen3-0.6b-10k/trained/qwenkit.json")
        hub.requests.clear()
        self.again = self.online.call(RUN)
        self.requests_of_again = list(hub.requests)
        self.streamed = self.online.call(f"{STREAMED} --root streamed")
        self.streamed_tokenized = self.online.call("tokenize --root streamed")
        hub.requests.clear()
        offline = CommandProcess(
            home / "work", make_environment(home, endpoint=hub.endpoint, HF_HUB_OFFLINE="1")
        )
        self.offline = offline.call(RUN)
        self.offline_anew = offline.call(f"{RUN} --root elsewhere")
        self.offline_other = offline.call("prepare --dataset 100k")
        self.offline_streamed = offline.call(f"{STREAMED} --root streamed-offline")
        offline.close()
        self.offline_requests = list(hub.requests)
        shorten_test_split(hub.folder / "datasets" / DATASET)
        self.after_data_moved = self.online.call("prepare --dataset 10k")
        (hub.folder / "models" / MODEL / "README.md").write_text("# A new commit\n")
        self.after_model_moved = self.online.call(RUN)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def story(repos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    shutil.copytree(repos, folder / "hub")
    (folder / "home").mkdir()
    add_broken_repos(folder / "hub")
    with serve_hub(folder / "hub") as hub:
        story = Story(hub, folder / "home")
        yield story
        story.online.close()


def add_broken_repos(folder: Path) -> None:
    for name in ("gated", "failing"):
        shutil.copytree(folder / "datasets" / DATASET, folder / "datasets/broken" / name)
        shutil.copytree(folder / "models" / MODEL, folder / "models/broken" / name)
    no_tokenizer = folder / "models/broken/no-tokenizer"
    shutil.copytree(folder / "models" / MODEL, no_tokenizer, ignore=shutil.ignore_patterns("token*"))


def shorten_test_split(folder: Path) -> None:
    path = folder / "data" / "test-00000-of-00001.parquet"
    pl.read_parquet(path).head(30).write_parquet(path)


def test_a_run_on_hub_ids_records_the_commits_that_it_used(story: Story) -> None:
    assert story.first.code == 0, story.first.told
    data_commit, model_commit = story.commits[f"datasets/{DATASET}"], story.commits[f"models/{MODEL}"]
    assert story.manifests["prepared"]["identity"]["revision"] == data_commit
    assert story.manifests["prepared"]["counts"]["origin"] == DATASET
    assert story.manifests["trained"]["identity"]["base"]["revision"] == model_commit
    assert story.bundle["base_model"]["name"] == MODEL
    assert story.bundle["base_model"]["revision"] == model_commit


def test_the_same_command_again_finds_everything_up_to_date(story: Story) -> None:
    assert story.again.code == 0, story.again.told
    assert story.again.out.count("up to date, skipped") == len(STAGES), story.again.told
    assert "wrote" not in story.again.out
    # What the names mean now is asked for; no data and no weights are.
    assert not [
        request for request in story.requests_of_again if request.endswith((".parquet", ".safetensors"))
    ]
    assert f"GET /api/datasets/{DATASET}" in story.requests_of_again


def test_offline_what_is_there_is_up_to_date_and_asks_nobody(story: Story) -> None:
    assert story.offline.code == 0, story.offline.told
    assert story.offline.out.count("up to date, skipped") == len(STAGES), story.offline.told
    assert story.offline_requests == []


def test_offline_the_cache_gives_a_new_run_from_the_recorded_commits(story: Story) -> None:
    assert story.offline_anew.code == 0, story.offline_anew.told
    elsewhere = story.output.parent / "elsewhere"
    prepared = read_json(elsewhere / "datasets/10k/prepared/manifest.json")
    assert prepared["fingerprint"] == story.manifests["prepared"]["fingerprint"]
    bundle = read_json(elsewhere / "qwen3-0.6b-10k/trained/qwenkit.json")
    assert bundle["base_model"] == story.bundle["base_model"]


def test_offline_a_data_set_that_was_never_loaded_is_one_line(story: Story) -> None:
    assert story.offline_other.code == 3
    assert is_one_error(story.offline_other), story.offline_other.told
    assert "HF_HUB_OFFLINE=1 is set, and dataset codefactory4791/raid_aligned_100k" in story.offline_other.err


def test_a_streamed_set_is_prepared_and_is_what_the_next_stage_takes(story: Story) -> None:
    assert story.streamed.code == 0, story.streamed.told
    manifest = read_json(story.output.parent / "streamed/datasets/1M/prepared/manifest.json")
    assert manifest["identity"]["revision"] == story.hub.find_commit(f"datasets/{STREAMED_DATASET}")
    counts = manifest["counts"]["splits"]
    assert {
        split: account["in"] - account["dropped"]["not_sampled"] for split, account in counts.items()
    } == {
        "train": 80,
        "validation": 10,
        "test": 10,
    }
    assert "streamed, not downloaded" in story.streamed.out
    assert story.streamed_tokenized.code == 0, story.streamed_tokenized.told
    assert "the one prepared last, max_rows 100" in story.streamed_tokenized.out
    assert "up to date, skipped" in story.streamed_tokenized.out
    # Nothing of it came into the cache, so offline there is nothing to read.
    assert story.offline_streamed.code == 3
    assert is_one_error(story.offline_streamed), story.offline_streamed.told


def test_a_data_set_that_moved_on_is_prepared_anew_and_the_reason_is_said(story: Story) -> None:
    assert story.after_data_moved.code == 0, story.after_data_moved.told
    old, new = story.commits[f"datasets/{DATASET}"], story.hub.find_commit(f"datasets/{DATASET}")
    assert f"redone: revision: {old} -> {new}" in story.after_data_moved.out
    prepared = read_json(story.output / "datasets/10k/prepared/manifest.json")
    assert prepared["identity"]["revision"] == new
    assert prepared["counts"]["written"]["test"] == 30


def test_a_model_that_moved_on_is_trained_under_a_new_name(story: Story) -> None:
    outcome = story.after_model_moved
    assert outcome.code == 0, outcome.told
    assert "this one goes to output/qwen3-0.6b-10k-2" in outcome.out
    bundle = read_json(story.output / "qwen3-0.6b-10k-2/trained/qwenkit.json")
    assert bundle["base_model"]["revision"] == story.hub.find_commit(f"models/{MODEL}")
    assert read_json(story.output / "qwen3-0.6b-10k/trained/qwenkit.json") == story.bundle


PREPARE, TOKENIZE = "prepare --dataset", "tokenize --dataset 10k --set model.name="
BROKEN = {
    f"{PREPARE} broken/gated": "dataset broken/gated is gated: ask for access at",
    f"{PREPARE} broken/failing": "the hub fails with a server error (500) for dataset broken/failing",
    f"{PREPARE} nobody/nothing": "the hub has no dataset nobody/nothing that you may see",
    f"{PREPARE} 100k --set dataset.revision=v9": "has no revision v9 on the hub: set dataset.revision",
    f"{TOKENIZE}broken/gated": "model broken/gated is gated",
    f"{TOKENIZE}broken/failing": "the hub fails with a server error (500) for model broken/failing",
    f"{TOKENIZE}nobody/nothing": "the hub has no model nobody/nothing that you may see",
    f"{TOKENIZE}broken/no-tokenizer": "model broken/no-tokenizer holds no tokenizer",
    f"{RUN} --set tokenization.tokenizer=train --set model.name=no/model": "the hub has no model no/model",
}


@pytest.mark.parametrize("command", BROKEN)
def test_a_repo_that_cannot_be_had_is_one_line_at_once(story: Story, command: str) -> None:
    story.hub.faults[:] = [Fault("gated", "broken/gated"), Fault("500", "broken/failing")]
    outcome = story.online.call(command)
    assert outcome.code == 3, outcome.told
    assert is_one_error(outcome), outcome.told
    assert BROKEN[command] in outcome.err
    # The libraries' retries alone take 23 seconds.
    assert outcome.seconds < 15


def is_one_error(outcome: Outcome) -> bool:
    """Tell whether stderr is one line that starts with `error:`."""
    return outcome.err.startswith("error: ") and outcome.err.count("\n") == 1 and not outcome.trace


def test_when_the_hub_is_gone_what_was_made_serves_on_and_the_rest_is_one_line(story: Story) -> None:
    home = story.output.parents[1]
    process = CommandProcess(home / "work", make_environment(home))
    prepared = process.call("prepare --dataset 10k")
    never = process.call("prepare --dataset 100k")
    predicted = process.call('predict output/qwen3-0.6b-10k "some text"')
    process.close()
    assert prepared.code == 0, prepared.told
    assert "Taking what was prepared from revision" in prepared.err
    assert "up to date, skipped" in prepared.out
    assert never.code == 3
    assert is_one_error(never), never.told
    assert "cannot be reached for dataset codefactory4791/raid_aligned_100k" in never.err
    assert predicted.code == 0, predicted.told
    assert predicted.err == ""


def test_a_bad_token_is_one_line_that_does_not_quote_it(story: Story) -> None:
    home = story.output.parents[1]
    environment = make_environment(home, endpoint=story.hub.endpoint, HF_TOKEN="hf_badTokenOfSomebody")
    outcome = run_alone(home / "work", "prepare", "--dataset", "100k", environment=environment)
    assert outcome.code == 3
    assert is_one_error(outcome), outcome.told
    assert "the hub refuses your token" in outcome.err
    assert "hf_bad" not in outcome.told
