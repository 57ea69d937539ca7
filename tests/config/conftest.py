"""What the config tests share: a file with a given text, and the error that loading it gives."""

from collections.abc import Callable
from pathlib import Path

import pytest

from qwenkit.config import ConfigError, load_config


@pytest.fixture(autouse=True)
def empty_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep a config.yaml of whoever runs the tests out of them."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write my.yaml; the name that messages then show is the short one."""

    def write_text(text: str) -> Path:
        (tmp_path / "my.yaml").write_text(text, encoding="utf-8")
        return Path("my.yaml")

    return write_text


@pytest.fixture
def refusal(write: Callable[[str], Path]) -> Callable[..., str]:
    """Load a text that cannot be used and give the message."""

    def load(text: str, **options: object) -> str:
        with pytest.raises(ConfigError) as caught:
            load_config(write(text), **options)  # type: ignore[arg-type]
        return str(caught.value)

    return load
