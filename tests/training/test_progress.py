"""What is seen of a run: the log lines, the speed, the console."""

import json

import pytest

from qwenkit.console import Console
from qwenkit.training.progress import TokenMeter
from tests.training.tiny_training import make_config, make_rows


class FakeClock:
    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr("time.perf_counter", lambda: self.now)


def test_speed_is_real_tokens_over_training_time_alone(monkeypatch):
    clock = FakeClock(monkeypatch)
    meter = TokenMeter()
    meter.count_step(600)
    clock.now += 2
    with meter.paused():
        clock.now += 50
    meter.count_step(400)
    clock.now += 3
    assert meter.read() == pytest.approx(1000 / 5)
    meter.count_step(10)
    clock.now += 1
    assert meter.read() == pytest.approx(10)


def test_metrics_file_has_the_trainers_own_names(make_trainer):
    trainer = make_trainer(config=make_config(eval_steps=1))
    trainer.train()
    lines = (trainer.run_folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    training = [record for record in records if "loss" in record]
    evaluations = [record for record in records if "eval_loss" in record]
    assert [record["step"] for record in training] == [record["step"] for record in evaluations] == [1, 2, 3]
    names = {"step", "loss", "grad_norm", "learning_rate", "epoch", "tokens_per_second", "peak_memory_gib"}
    assert all(set(record) == names for record in training)
    assert all({"eval_balanced_accuracy", "eval_f1", "epoch"} <= set(record) for record in evaluations)
    assert "train_runtime" in records[-1]


def test_meter_counts_every_token_once_and_no_padding(make_trainer):
    rows = make_rows(80)
    counted = []

    class Counting(TokenMeter):
        def count_step(self, tokens):
            counted.append(tokens)
            super().count_step(tokens)

    trainer = make_trainer(train_dataset=rows)
    trainer.meter = Counting()
    trainer.train()
    assert sum(counted) == sum(rows["length"])


def test_console_shows_each_evaluation_and_nothing_else_of_the_library(make_trainer, capsys):
    trainer = make_trainer(config=make_config(eval_steps=1), console=Console())
    trainer.train()
    captured = capsys.readouterr()
    lines = [line.strip() for line in captured.out.splitlines() if line.strip()]
    assert len(lines) == 3
    assert all("eval_loss" in line and "eval_balanced_accuracy" in line for line in lines)
    assert lines[0].startswith("step 1/3")
    assert "{'" not in captured.out + captured.err


def test_a_quiet_run_prints_nothing(make_trainer, capsys):
    make_trainer().train()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ""
