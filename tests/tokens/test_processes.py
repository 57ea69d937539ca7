"""Tokenizing in processes: the library's ids whatever their number, clear errors, and none left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import polars as pl
import psutil
import pytest
from transformers import PreTrainedTokenizerFast

from qwenkit.config.schema_model import Tokenization
from qwenkit.console import Console
from qwenkit.errors import DataError, ResourceError
from qwenkit.tokens import encoding
from qwenkit.tokens.encoding import encode_dataset, encode_texts, open_encoder
from qwenkit.tokens.tokenized import read_tokenized, write_tokenized
from tests.tokens.conftest import AWKWARD_TEXTS, TRAIN_TEXTS

TEXTS = [*AWKWARD_TEXTS.values(), *TRAIN_TEXTS] * 20


@pytest.fixture(autouse=True)
def _no_set_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "LEAST_FAST_BYTES", 0)


def make_rows(texts: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"row_id": range(len(texts)), "text": texts, "label_id": [0] * len(texts)})


def encode(rows: pl.DataFrame, tokenizer: PreTrainedTokenizerFast, **options: object) -> datasets.Dataset:
    given = {"max_length": 16, "num_workers": 2, **options}
    return encode_dataset(rows, tokenizer=tokenizer, console=Console(quiet=True), **given)  # type: ignore[arg-type]


def list_workers(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children() if "qwenkit.tokens.worker" in child.cmdline()]


def test_processes_give_the_ids_of_the_library_whatever_their_number(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    rules = ["strip_zero_width"]
    expected = encode_texts(TEXTS, tokenizer=tokenizer, max_length=16, normalisation=rules)
    found = [
        encode(make_rows(TEXTS), tokenizer, num_workers=workers, normalisation=rules) for workers in (1, 3)
    ]
    assert found[0]["input_ids"][:] == expected
    assert found[0].to_dict() == found[1].to_dict()
    assert found[0]._fingerprint == found[1]._fingerprint
    assert not list_workers(psutil.Process())


def test_manifest_and_terminal_say_what_encoded_and_why(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Tokenization(max_length=16, num_workers=2)
    splits = {"train": make_rows(TEXTS)}
    counts = write_tokenized(tmp_path, splits, tokenizer=tokenizer, settings=settings, console=Console())
    assert counts["encoder"]["name"] == "tiktoken"
    assert "with tiktoken: equal ids on" in capsys.readouterr().out
    written = read_tokenized(tmp_path)["train"]
    assert written.to_dict() == encode(make_rows(TEXTS), tokenizer).to_dict()


def test_row_without_text_is_refused_by_name_and_the_rest_goes_on(tokenizer: PreTrainedTokenizerFast) -> None:
    for text, message in (("", "row 3 has no text to read"), (None, "row 3 holds NoneType")):
        rows = make_rows(["a", "b", "c", text, "d"])  # type: ignore[list-item]
        options = {"tokenizer": tokenizer, "limit": 16, "num_workers": 1}
        with open_encoder([make_rows(TEXTS)], **options) as encoder:  # type: ignore[arg-type]
            assert encoder.choice.is_fast
            with pytest.raises(DataError, match=message):
                list(encoder.encode(rows, console=Console(quiet=True), description=""))
            (batch,) = encoder.encode(make_rows(["a"]), console=Console(quiet=True), description="")
            assert batch.num_rows == 1
    assert not list_workers(psutil.Process())


def test_process_that_is_killed_gives_an_error_that_says_what_to_set(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    options = {"tokenizer": tokenizer, "limit": 16, "num_workers": 2}
    with open_encoder([make_rows(TEXTS)], **options) as encoder:  # type: ignore[arg-type]
        for worker in list_workers(psutil.Process()):
            worker.kill()
        with pytest.raises(ResourceError, match=r"killed \(signal 9\).*tokenization.num_workers"):
            list(encoder.encode(make_rows(TEXTS), console=Console(quiet=True), description=""))
    assert not list_workers(psutil.Process())


def test_process_that_cannot_start_shows_what_it_said(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "no number")
    with pytest.raises(RuntimeError, match=r"(?s)ended with status 1.*PYTHONHASHSEED"):
        encode(make_rows(TEXTS), tokenizer)
    assert not list_workers(psutil.Process())


def test_process_imports_nothing_that_happens_to_lie_in_the_working_folder(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError('a file of the user')")
    monkeypatch.chdir(tmp_path)
    assert encode(make_rows(TEXTS), tokenizer)["input_ids"][:] == encode_texts(
        TEXTS, tokenizer=tokenizer, max_length=16
    )


def test_process_looks_for_modules_where_the_program_does(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiktoken.py").write_text("raise ImportError('found beside the program')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="found beside the program"):
        encode(make_rows(TEXTS), tokenizer)


SCRIPT = """
import polars as pl
from qwenkit.console import Console
from qwenkit.tokens import encoding
from qwenkit.tokens.tokenizer import train_tokenizer

encoding.LEAST_FAST_BYTES = 0
texts = ["the river ran through the old town"] * 1_000
tokenizer = train_tokenizer(texts, vocab_size=300, max_length=16)
rows = pl.DataFrame({"row_id": range(1_000), "text": texts, "label_id": [0] * 1_000})
with encoding.open_encoder([rows], tokenizer=tokenizer, limit=16, num_workers=2) as encoder:
    print("started", flush=True)
    while True:
        for _ in encoder.encode(rows, console=Console(quiet=True), description=""):
            pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_one_that_started_it(signal_number: int) -> None:
    # No guard around the script's work: multiprocessing's processes would run all of it again.
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    workers = list_workers(psutil.Process(process.pid))
    assert len(workers) == 2
    # Ctrl-C reaches the whole group, SIGTERM and SIGKILL the one process.
    send = os.killpg if signal_number == signal.SIGINT else os.kill
    send(process.pid, signal_number)
    _, complaints = process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while any(worker.is_running() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(worker.is_running() for worker in workers)
    assert "qwenkit.tokens.worker" not in complaints
