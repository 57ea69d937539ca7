"""Every check on what is sound, and on something that really is not."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from qwenkit.cli.app import app
from qwenkit.config import load_config
from qwenkit.doctor.accounts import check_wandb_login
from qwenkit.doctor.checks import CHECKS, Check
from qwenkit.doctor.finding import Finding
from qwenkit.doctor.machine import Gpu, find_driver
from qwenkit.doctor.model import look_at_model
from qwenkit.doctor.subject import Subject
from qwenkit.pipeline import QwenTrainingPipeline
from qwenkit.runs import Workspace
from qwenkit.saved import find_model
from tests.conftest import TINY_SETTINGS
from tests.hub.hub_server import GOOD_TOKEN, serve_hub
from tests.modeling.tiny_models import LABELS, load_tiny, make_tokenizer

BY_NAME = {check.name: check for check in CHECKS}


class Sickroom:
    """Makes things that are not sound."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: QwenTrainingPipeline):
        self.tmp_path = tmp_path
        self.monkeypatch = monkeypatch
        self.finished = finished

    @property
    def root(self) -> Path:
        return Path(self.finished.config.paths.root)

    def configure(self, *settings: str, root: Path | None = None) -> Subject:
        """Take the finished run's config, changed."""
        config = load_config(self.finished.run_folder / "config.yaml", overrides=settings).config
        return Subject(root=root or self.root, config=config)

    def machine(self, **changes: Any) -> Subject:
        """Take this machine's facts, changed."""
        subject = Subject(root=self.tmp_path)
        subject.machine = replace(subject.machine, **changes)
        return subject

    def saved(self, folder: Path) -> Subject:
        return Subject(root=self.root, saved=find_model(folder, Workspace(self.root)))

    def copy_model(self, name: str = "trained") -> Path:
        """Copy a model without its manifest, so that only what is wrong is found."""
        folder = self.tmp_path / Path(name).name
        shutil.copytree(self.finished.run_folder / name, folder)
        (folder / "manifest.json").unlink()
        return folder

    def change_bundle(self, **changes: Any) -> Subject:
        """Write something else into the qwenkit.json of the merged export."""
        path = self.copy_model("exported/merged") / "qwenkit.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        return self.saved(path.parent)

    def change_weights(self, change: Callable[[dict[str, torch.Tensor]], None]) -> Subject:
        """Write other tensors into the adapter's file."""
        path = self.copy_model() / "adapter_model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})
        return self.saved(path.parent)


def install_old_torch(room: Sickroom) -> Subject:
    folder = room.tmp_path / "torch-2.0.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.0.0\n")
    room.monkeypatch.syspath_prepend(room.tmp_path)
    return Subject(root=room.tmp_path)


def put_a_file_in_the_way(room: Sickroom) -> Subject:
    (room.tmp_path / "file").touch()
    return Subject(root=room.tmp_path / "file" / "output")


def use_a_bad_token(room: Sickroom) -> Subject:
    from huggingface_hub import constants

    hub = room.hub  # type: ignore[attr-defined]
    room.monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    room.monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    room.monkeypatch.setenv("HF_TOKEN", "hf_notTheOne")
    return Subject(root=room.tmp_path)


def cut_a_wandb_key(room: Sickroom) -> Subject:
    room.monkeypatch.setenv("WANDB_API_KEY", "a" * 12)
    return Subject(root=room.tmp_path)


def flip_a_bit(room: Sickroom) -> Subject:
    folder = room.tmp_path / "run" / "trained"
    shutil.copytree(room.finished.run_folder / "trained", folder)
    weights = folder / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    return room.saved(folder)


def put_nan_into_the_head(tensors: dict[str, torch.Tensor]) -> None:
    tensors[next(name for name in tensors if ".score." in name)][0, 0] = torch.nan


def drop_the_head(tensors: dict[str, torch.Tensor]) -> None:
    del tensors[next(name for name in tensors if ".score." in name)]


def quantize_the_head(room: Sickroom) -> Subject:
    from bitsandbytes.nn import Linear4bit

    model = load_tiny()
    quantized = Linear4bit(model.score.in_features, 2, bias=False)
    quantized.load_state_dict({"weight": model.score.weight.data})
    model.score = quantized.to("cpu")
    subject = Subject(root=room.tmp_path)
    subject.model = look_at_model(model, tokenizer=make_tokenizer(), labels=LABELS)
    return subject


def cut_nearly_everything(room: Sickroom) -> Subject:
    settings = [*TINY_SETTINGS, "tokenization.max_length=8"]
    source = str(room.finished.config.dataset.name)
    pipeline = QwenTrainingPipeline(dataset=source, root=room.tmp_path, overrides=settings)
    pipeline.tokenize_datasets()
    return room.configure("tokenization.max_length=8", root=room.tmp_path)


def put_a_training_text_into_test(room: Sickroom) -> Subject:
    folder = room.tmp_path / "datasets" / "toy"
    shutil.copytree(room.root / "datasets" / "toy", folder)
    train, test = (pl.read_parquet(folder / f"prepared/{split}.parquet") for split in ("train", "test"))
    pl.concat([test, train.head(1)]).write_parquet(folder / "prepared/test.parquet")
    return room.configure(root=room.tmp_path)


SCENARIOS: dict[str, tuple[str, Callable[[Sickroom], Subject], str]] = {
    "python": ("fail", lambda room: room.machine(python=(3, 9)), "Python 3.9"),
    "packages": ("fail", install_old_torch, "torch 2.0.0, needs 2.10"),
    "driver": ("warn", lambda room: room.machine(gpu=Gpu(None, None)), "no NVIDIA driver"),
    "cuda": ("fail", lambda room: room.machine(gpu=Gpu("570.1", None)), "built for CPUs only"),
    "gpu": ("warn", lambda room: room.machine(gpu=Gpu("570.1", "13.0")), "no GPU"),
    "bf16": ("warn", lambda room: room.machine(gpu=Gpu("570.1", "12.8", "Tesla T4", 1)), "no bfloat16"),
    "memory": ("fail", lambda room: room.machine(memory_bytes=2**30), "1.0 GiB"),
    # Has no room for anything.
    "disk": ("fail", lambda room: Subject(root=Path("/proc/qwenkit")), "0.0 GiB free"),
    "root": ("fail", put_a_file_in_the_way, "cannot be written"),
    "hub": ("fail", lambda room: room.configure("model.name=nobody/nothing"), "not in the cache"),
    "hub login": ("fail", use_a_bad_token, "refuses your token"),
    "wandb login": ("fail", cut_a_wandb_key, "12 characters"),
    "model": ("fail", flip_a_bit, "is corrupt"),
    "pad id": ("fail", lambda room: room.change_bundle(pad_token_id=5), "qwenkit.json 5"),
    "weights": ("fail", lambda room: room.change_weights(put_nan_into_the_head), "not finite, e.g."),
    "head": ("fail", lambda room: room.change_weights(drop_the_head), "score head is missing"),
    "head storage": ("fail", quantize_the_head, "quantized"),
    "labels": ("fail", lambda room: room.change_bundle(labels=LABELS[::-1]), "label maps differ"),
    "training memory": (
        "fail",
        lambda room: room.configure("training.per_device_train_batch_size=1000000000"),
        "a step peaks at",
    ),
    "data": ("warn", lambda room: room.configure(root=room.tmp_path), "nothing is prepared"),
    "truncation": ("fail", cut_nearly_everything, "100.0%"),
    "duplicates": ("fail", put_a_training_text_into_test, "1 texts stand in more than one split"),
}


@pytest.fixture
def room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: QwenTrainingPipeline
) -> Iterator[Sickroom]:
    made = Sickroom(tmp_path, monkeypatch, finished)
    (tmp_path / "hub").mkdir()
    with serve_hub(tmp_path / "hub") as hub:
        made.hub = hub  # type: ignore[attr-defined]
        yield made


def assert_is_complete(finding: Finding) -> None:
    assert finding.found and "\n" not in finding.found
    assert (finding.status == "ok") == (finding.cure == "")
    assert (finding.status == "fail") == (finding.exit_code != 0)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_passes_what_is_sound(check: Check, finished: QwenTrainingPipeline) -> None:
    root = Path(finished.config.paths.root)
    config = load_config(finished.run_folder / "config.yaml").config
    for subject in (
        Subject(root=root),
        Subject(root=root, config=config),
        Subject(root=root, saved=find_model(finished.run_folder, Workspace(root))),
        Subject(root=root, saved=find_model(finished.run_folder / "exported/merged", Workspace(root))),
    ):
        finding = check.look(subject)
        if finding is None:
            assert check.group != "machine"
            continue
        assert_is_complete(finding)
        # What the machine lacks is its own affair; what the run left is sound.
        assert finding.status != "fail"
        assert finding.status == "ok" or check.group == "machine", finding


@pytest.mark.parametrize("name", BY_NAME)
def test_every_check_finds_what_is_wrong(name: str, room: Sickroom) -> None:
    status, make, found = SCENARIOS[name]
    finding = BY_NAME[name].look(make(room))
    assert finding is not None
    assert_is_complete(finding)
    assert finding.status == status, finding
    assert found in finding.found


def test_check_names_are_unique() -> None:
    assert len(BY_NAME) == len(CHECKS)


def test_a_frozen_head_and_labels_of_another_number_are_found(room: Sickroom) -> None:
    model = load_tiny()
    model.score.requires_grad_(False)
    subject = Subject(root=room.tmp_path)
    subject.model = look_at_model(model, tokenizer=make_tokenizer(), labels=LABELS)
    finding = BY_NAME["head"].look(subject)
    assert finding is not None and "frozen" in finding.found
    subject.model = replace(subject.model, labels={"config": ["a", "b", "c"]})
    finding = BY_NAME["labels"].look(subject)
    assert finding is not None and "scores 2 classes" in finding.found


def test_a_pad_id_that_is_not_set_is_found(room: Sickroom) -> None:
    model = load_tiny()
    model.config.pad_token_id = None
    subject = Subject(root=room.tmp_path)
    subject.model = look_at_model(model, tokenizer=make_tokenizer(), labels=LABELS)
    finding = BY_NAME["pad id"].look(subject)
    assert finding is not None and finding.status == "fail" and "model None" in finding.found


def test_a_model_that_cannot_be_read_is_told_once(room: Sickroom) -> None:
    subject = flip_a_bit(room)
    findings = {check.name: check.look(subject) for check in CHECKS if check.group == "model"}
    assert [name for name, finding in findings.items() if finding is not None] == ["model"]


def test_driver_is_read_from_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_driver() is None
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 570.86.15\n")
    program.chmod(0o755)
    assert find_driver() == "570.86.15"
    program.write_text("#!/bin/sh\nexit 9\n")
    assert find_driver() is None


def test_a_good_token_is_named_and_the_key_of_wandb_is_found_in_netrc(
    room: Sickroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = use_a_bad_token(room)
    monkeypatch.setenv("HF_TOKEN", GOOD_TOKEN)
    finding = BY_NAME["hub login"].look(subject)
    assert finding is not None and finding.found == "logged in as tester"
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    netrc = room.tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(netrc))
    assert check_wandb_login().status == "warn"
    netrc.write_text(f"machine api.wandb.ai\n  login user\n  password {'b' * 40}\n")
    netrc.chmod(0o600)
    assert check_wandb_login().status == "ok"


def test_a_token_cannot_be_judged_where_the_hub_does_not_answer(room: Sickroom) -> None:
    from huggingface_hub import constants

    subject = use_a_bad_token(room)
    room.monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    finding = BY_NAME["hub login"].look(subject)
    assert finding is not None and finding.status == "warn"
    assert "cannot be reached" in finding.found


def test_doctor_leaves_with_the_code_of_the_first_failure_and_one_object(room: Sickroom) -> None:
    from typer.testing import CliRunner

    folder = room.change_weights(put_nan_into_the_head).saved.folder  # type: ignore[union-attr]
    result = CliRunner().invoke(app, ["doctor", str(folder), "--json", "--root", str(room.root)])
    told = json.loads(result.stdout)
    assert result.exit_code == told["exit_code"] == 3
    wrong = {check["name"]: check for check in told["checks"] if check["status"] == "fail"}
    assert list(wrong) == ["weights"]
    assert wrong["weights"]["cure"]
    assert told["counts"]["fail"] == 1
