"""What accelerate's launcher may ask for: nothing, or FSDP2 without its extras."""

import pytest

from qwenkit.config import Config
from qwenkit.errors import ConfigError
from qwenkit.steps.settings import check_launcher
from qwenkit.training.launcher import FOREIGN_ENGINES, FOREIGN_OPTIONS, wants_sharding
from tests.sharding_on_cpu import LAUNCH


@pytest.fixture
def fsdp(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in LAUNCH.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_nothing_is_sharded_unless_the_launcher_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    assert not wants_sharding()
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    assert not wants_sharding()
    assert check_launcher(Config(), has_own_base=False) == []


def test_fsdp2_is_taken_with_what_the_launcher_sets_beside(fsdp: pytest.MonkeyPatch) -> None:
    for name, value in (("OFFLOAD_PARAMS", "false"), ("ACTIVATION_CHECKPOINTING", "False")):
        fsdp.setenv(f"FSDP_{name}", value)
    assert wants_sharding()


@pytest.mark.parametrize("version", ["1", None])
def test_the_first_fsdp_is_refused_with_the_setting_that_mends_it(
    fsdp: pytest.MonkeyPatch, version: str | None
) -> None:
    """Version 1 is what accelerate takes where its file names none."""
    if version is None:
        fsdp.delenv("FSDP_VERSION")
    else:
        fsdp.setenv("FSDP_VERSION", version)
    with pytest.raises(ConfigError, match="set fsdp_version: 2 in the fsdp_config"):
        wants_sharding()


@pytest.mark.parametrize("name", FOREIGN_ENGINES)
def test_another_engine_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    with pytest.raises(ConfigError, match=f"the launcher asks for {name}, with which qwenkit does not train"):
        wants_sharding()


@pytest.mark.parametrize("name", FOREIGN_OPTIONS)
def test_an_option_of_fsdp_that_is_not_tried_is_refused(fsdp: pytest.MonkeyPatch, name: str) -> None:
    fsdp.setenv(f"FSDP_{name}", "True")
    with pytest.raises(ConfigError, match=f"asks for fsdp_{name.lower()}"):
        wants_sharding()


def test_settings_that_cannot_be_sharded_are_found_at_once(fsdp: pytest.MonkeyPatch) -> None:
    config = Config()
    config.training.optim = "adamw_8bit"
    problems = {problem.name: problem.message for problem in check_launcher(config, has_own_base=False)}
    assert problems.keys() == {"quantization.enabled", "training.optim"}
    assert "--quantization none" in problems["quantization.enabled"]
    assert "take adamw_torch_fused" in problems["training.optim"]
    # A model that the user put in is held as they did it, whatever the section says.
    assert [each.name for each in check_launcher(config, has_own_base=True)] == ["training.optim"]
    fsdp.delenv("ACCELERATE_USE_FSDP")
    assert check_launcher(config, has_own_base=False) == []
