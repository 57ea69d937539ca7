"""Config files of the original scripts: they load, and what they ask for in vain is said."""

from collections.abc import Callable
from pathlib import Path

import pytest

from qwenkit.changes import explain_changes
from qwenkit.config import Config, ConfigError, flatten_config, load_config

ORIGINAL = Path(__file__).with_name("original.yaml")

Write = Callable[[str], Path]
Refusal = Callable[..., str]


def test_the_original_config_loads_and_is_our_default_recipe() -> None:
    config = load_config(ORIGINAL).config
    assert explain_changes(flatten_config(Config()), flatten_config(config)) == [
        "dataset.name: null -> codefactory4791/raid_aligned_10k",
        "num_labels: null -> 2",
        "root: output -> ./output",
        "eval_steps: null -> 100",
        "logging_steps: null -> 10",
        "save_steps: null -> 100",
        "log_model: false -> end",
        "project: qwenkit -> qwen3-raid",
        'tags: [] -> ["qwen3", "qlora"]',
    ]


def test_each_key_that_is_ours_no_longer_gets_one_line() -> None:
    notes = load_config(ORIGINAL).notes
    assert "dataset.dataset_name (line 10) is now dataset.name" in notes
    assert "training.fp16 (line 74) is dropped: training computes in bf16 or float32" in notes
    named = [note.split()[0] for note in notes]
    assert len(named) == len(set(named))
    # In the order of the file, so that it can be read beside it.
    lines = [int(note.partition("(line ")[2].partition(")")[0]) for note in notes]
    assert lines == sorted(lines)


def test_the_original_as_it_was_shipped_is_refused_for_exactly_three_lines(tmp_path: Path) -> None:
    text = ORIGINAL.read_text()
    for key, value in [("add_prefix_space", "true"), ("trust_remote_code", "true")]:
        text = text.replace(f"{key}: false", f"{key}: {value}")
    text = text.replace("hub_token: null", "hub_token: hf_abcdef")
    (tmp_path / "my.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config("my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml has 3 problems:\n")
    assert (
        "line 24   tokenization.add_prefix_space   refused: it puts a space before every piece of text"
        in message
    )
    assert "line 87   training.hub_token              refused: a config is no place for a secret" in message
    assert (
        "line 136  misc.trust_remote_code          refused: code from a repository is never run here"
        in message
    )
    assert "hf_abcdef" not in message


@pytest.mark.parametrize("section", ["model", "dataset", "tokenization", "training", "misc"])
@pytest.mark.parametrize("line", ["trust_remote_code: true", "hub_token: x", "add_prefix_space: true"])
def test_what_is_never_done_is_refused_wherever_it_stands(refusal: Refusal, section: str, line: str) -> None:
    assert f"{section}.{line.partition(':')[0]}   refused: " in refusal(f"{section}: {{{line}}}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sample_weighting: {enabled: true}", "true is not offered, the loss is weighted by class only"),
        ("training: {fp16: true}", "true is not offered, training computes in bf16 or float32"),
        ("training: {fp16: yes}", "true is not offered"),
        ("training: {fp16: 0}", "0 is not offered"),
        ("training: {hub_token: false}", "training.hub_token   refused"),
        ("training: {push_to_hub: true}", "nothing is uploaded; export, then run `hf upload`"),
        ("training: {eval_strategy: epoch}", "'epoch' is not offered, it always goes by steps"),
        ("training: {save_strategy: no}", "is not offered, it always goes by steps"),
        ("training: {report_to: [wandb, tensorboard]}", "there is wandb, and metrics.jsonl always"),
        ("training: {dataloader_drop_last: true}", "every row is used"),
        ("dataset: {streaming: true}", "dataset.streaming   wants dataset.max_rows"),
        ("peft: {task_type: CAUSAL_LM}", "'CAUSAL_LM' is not offered"),
        ("hardware: {device_map: balanced}", "CUDA_VISIBLE_DEVICES"),
        ("hardware: {max_memory: {0: 10GB}}", "the model stands on one GPU whole"),
        ("wandb: {watch: all}", "gradients are not sent"),
        ("evaluation: {use_quick_eval: true}", "set training.eval_samples"),
        ("evaluation: {use_quick_eval: maybe}", "expected true or false"),
        (
            "evaluation: {use_quick_eval: true, quick_eval_total_samples: 9, full_eval_at_epoch_end: true}",
            "evaluation.full_eval_at_epoch_end   is not offered together with use_quick_eval",
        ),
        (
            "dataset: {dataset_name: a, name: b}",
            "dataset.dataset_name   is dataset.name now, which is given too; keep one of them",
        ),
    ],
)
def test_a_dropped_key_that_asks_for_something_is_a_problem(
    refusal: Refusal, text: str, expected: str
) -> None:
    message = refusal(text)
    assert "has 1 problem" in message
    assert expected in message


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("dataset: {dataset_name: 1M}", "dataset.name", "1M"),
        ("dataset: {max_train_samples: 500}", "dataset.max_train_samples", 500),
        ("dataset: {max_eval_samples: 500}", "dataset.max_validation_samples", 500),
        ("dataset: {streaming: true, max_rows: 9}", "dataset.streaming", True),
        ("data_collator: {pad_to_multiple_of: 16}", "tokenization.pad_to_multiple_of", 16),
        ("data_collator: {pad_to_multiple_of: null}", "tokenization.pad_to_multiple_of", None),
        ("training: {output_dir: runs}", "paths.root", "runs"),
        ("misc: {resume_from_checkpoint: a/b}", "training.resume_from_checkpoint", "a/b"),
        ("evaluation: {use_quick_eval: true, quick_eval_total_samples: 900}", "training.eval_samples", 900),
        ("evaluation: {use_quick_eval: false, quick_eval_total_samples: 900}", "training.eval_samples", None),
        ("training: {report_to: none}", "wandb.enabled", False),
        ("training: {report_to: []}", "wandb.enabled", False),
        ("training: {report_to: none}\nwandb: {enabled: true}", "wandb.enabled", True),
        ("training: {report_to: wandb}", "wandb.enabled", True),
        ("peft: {modules_to_save: null}", "peft.modules_to_save", []),
        ("hardware: {device_map: {'': 0}}", "training.seed", 42),
    ],
)
def test_a_renamed_key_reaches_its_setting(write: Write, text: str, name: str, value: object) -> None:
    section, _, key = name.partition(".")
    assert load_config(write(text)).config[section][key] == value
