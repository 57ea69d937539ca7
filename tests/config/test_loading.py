"""Loading: lines, all problems at once, precedence, and files that are no config at all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from qwenkit.config import Config, ConfigError, LoadedConfig, flatten_config, load_config

Write = Callable[[str], Path]
Refusal = Callable[..., str]


def test_all_problems_come_at_once_with_their_lines(refusal: Refusal) -> None:
    text = (
        "\n" * 12 + "training:\n  learnig_rate: 1e-4\n" + "\n" * 4 + "  eval_steps: 100\n  save_steps: 150\n"
    )
    assert refusal(text) == (
        "my.yaml has 2 problems:\n"
        "  line 14  training.learnig_rate   unknown setting; did you mean learning_rate?\n"
        "  line 20  training.save_steps     150 is not a multiple of eval_steps (100), "
        "so the best checkpoint could not be kept"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("traning: {seed: 1}", "unknown section; did you mean training?"),
        ("model: {max_length: 5}", "unknown setting; did you mean tokenization.max_length?"),
        ("learning_rate: 1", "unknown setting; did you mean training.learning_rate?"),
        ("seed: 1", "unknown setting; did you mean training.seed?"),
        ("training: {zzz: 1}", "training.zzz   unknown setting"),
        ("misc: {zzz: 1}", "misc.zzz   unknown setting"),
        ("model: {tiny: {hidden: 1}}", "model.tiny.hidden   unknown setting; did you mean hidden_size?"),
        ("training: 5", "expected a section with settings below it, found '5'"),
        ("training: [1]", "expected a section with settings below it, found a list"),
        ("model: {tiny: small}", "model.tiny   expected a section with settings below it, found 'small'"),
        ("training: {seed: {a: 1}}", "training.seed   expected a whole number, found a mapping"),
    ],
)
def test_unknown_names_and_wrong_sections_are_refused(refusal: Refusal, line: str, expected: str) -> None:
    message = refusal(line)
    assert message.startswith("my.yaml has 1 problem:\n  line 1  ")
    assert message.endswith(expected)


def test_a_wrong_setting_hides_no_other_problem_and_causes_none(refusal: Refusal) -> None:
    message = refusal("training:\n  eval_steps: ten\n  save_steps: 150\nmodel:\n  labels: [one]\n")
    assert "has 2 problems" in message
    assert "line 2  training.eval_steps   expected a whole number, found 'ten'" in message
    assert "line 5  model.labels" in message


def test_what_depends_on_a_wrong_setting_is_not_judged(refusal: Refusal) -> None:
    # The labels fall back to two, so the three weights look wrong only because of the problem in line 1.
    message = refusal(
        "model: {labels: [a, b, 3]}\nclass_weights: {method: manual, manual_weights: [1.0, 1.0, 1.0]}\n"
    )
    assert "has 1 problem" in message
    assert "line 1  model.labels   item 3: expected text" in message


def test_the_place_of_a_problem_is_the_setting_that_was_given(refusal: Refusal) -> None:
    message = refusal("# only the other of the two stands here\npeft:\n  enabled: false\n")
    assert "line 3  quantization.enabled" in message


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "training:\n", "---\n", "training: {}\nmodel: null\n", "\ufeff"]
)
def test_an_empty_file_is_the_defaults(write: Write, text: str) -> None:
    assert flatten_config(load_config(write(text)).config) == flatten_config(Config())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xff\xfe\x00\x01", "byte 0 is not UTF-8"),
        (b"a: \x00", "not text: character 3 is U+0000"),
        (b"- 1\n- 2\n", "expected sections such as `training:`, found a list"),
        (b"just words\n", "expected sections such as `training:`, found 'just words'"),
        (b"training:\n\tseed: 1\n", "line 2  not YAML: found character"),
        (b"a: b: c\n", "line 1  not YAML: mapping values are not allowed here"),
        (b"a: [1\n", "not YAML"),
        (b"a: 1\n---\nb: 2\n", "line 2  more than one document"),
        (b"a: " + b"[" * 5000, "nested deeper than 12 levels"),
        (b"a: " + b"{a: " * 5000, "nested deeper than 12 levels"),
        (b"- " * 5000, "nested deeper than 12 levels"),
        (b"#" * 300_000, "longer than 256 KiB"),
        (b'a: "\\UFFFFFFFF"', "not YAML"),
        (b"%YAML 9.9\n---\na: 1\n", "not YAML"),
    ],
)
def test_a_file_that_is_no_config_is_a_clear_error(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert expected in str(caught.value)


@pytest.mark.parametrize("source", ["nowhere.yaml", "defualt", ".", "a\0b", "x" * 5000])
def test_a_file_that_cannot_be_read_is_a_clear_error(source: str) -> None:
    with pytest.raises(ConfigError):
        load_config(source)


def test_a_missing_file_names_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match="default, demo, fast"):
        load_config("nowhere.yaml")


def test_stronger_sources_win(write: Write) -> None:
    path = write("training:\n  seed: 1\n  num_train_epochs: 1\n  learning_rate: 1e-3\n")
    overrides = ["training.num_train_epochs=2", "training.learning_rate=2e-3", "training.learning_rate=3e-3"]
    config = load_config(path, overrides=overrides, named={"learning_rate": 4e-3, "epochs": None}).config
    assert (config.training.seed, config.training.num_train_epochs) == (1, 2.0)
    assert config.training.learning_rate == 4e-3
    assert config.training.max_steps == -1
    assert load_config(path, overrides=overrides).config.training.learning_rate == 3e-3


def test_without_a_name_config_yaml_is_read_if_there_is_one(tmp_path: Path) -> None:
    assert load_config().path is None
    (tmp_path / "config.yaml").write_text("training: {seed: 5}\n")
    loaded = load_config()
    assert (loaded.config.training.seed, loaded.source) == (5, "config.yaml")


def test_a_broken_link_called_config_yaml_is_not_overlooked(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").symlink_to(tmp_path / "gone.yaml")
    with pytest.raises(ConfigError, match="does not exist"):
        load_config()


def test_a_folder_called_demo_does_not_hide_the_shipped_config(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    assert load_config("demo").config.model.name == "tiny"


def test_lists_changed_in_place_are_found_when_checked_again() -> None:
    loaded = load_config(None)
    loaded.validate_again()
    loaded.config.model.labels.append(3)  # type: ignore[arg-type]
    loaded.config.peft.target_modules.clear()
    with pytest.raises(ConfigError) as caught:
        loaded.validate_again()
    assert "has 2 problems" in str(caught.value)
    assert "model.labels" in str(caught.value)
    assert "peft.target_modules" in str(caught.value)


def test_a_setting_changed_in_code_is_not_blamed_on_the_file(write: Write) -> None:
    loaded = load_config(write("training:\n  eval_steps: 100\n  save_steps: 100\n"))
    loaded.config.training.save_steps = 150
    with pytest.raises(ConfigError, match=r"line 2  training\.save_steps"):
        loaded.validate_again()
    loaded.config.training.eval_steps = 40
    with pytest.raises(ConfigError, match=r"^my.yaml has 1 problem:\n  training\.save_steps"):
        loaded.validate_again()


def test_another_config_can_be_checked_against_the_same_source() -> None:
    other = Config()
    other.training.max_steps = 0
    with pytest.raises(ConfigError, match="0 steps train nothing"):
        LoadedConfig(Config()).validate_again(other)


def test_what_a_file_says_cannot_steer_the_terminal(refusal: Refusal) -> None:
    message = refusal('"\\e[31mred\\u202e\\nline": 1\ntraining: {optim: "\\e[0m"}\n')
    assert all(char.isprintable() or char == "\n" for char in message)
    assert len(message.splitlines()) == 3


def test_problems_stand_in_the_order_of_the_file_and_then_of_the_options(refusal: Refusal) -> None:
    text = "training:\n  eval_steps: 20\n  save_steps: 30\n  zzz: 1\nmodel:\n  aaa: 1\n"
    message = refusal(text, overrides=["dataset.aaa=1"])
    places = [line.split()[1] for line in message.splitlines()[1:]]
    assert places == ["3", "4", "6", "dataset.aaa"]


def test_many_problems_are_cut_to_a_readable_number(refusal: Refusal) -> None:
    message = refusal("training:\n" + "".join(f"  k{number}: 1\n" for number in range(200)))
    assert message.startswith("my.yaml has 200 problems:")
    assert message.endswith("and 150 more")
