"""A checker accepts code that uses the class as documented, and sees what is wrong in code that does not."""

import subprocess
import sys
from pathlib import Path

import pytest

RIGHT = """
from pathlib import Path

from qwenkit import Config, Console, Predictor, QwenTrainingPipeline, load_config


class Short(QwenTrainingPipeline):
    def load_datasets(self) -> None:
        super().load_datasets()


pipeline = Short("mine.csv", epochs=1, overrides=["training.seed=1"], console=Console(quiet=True))
config: Config = pipeline.load_config()
config.training.learning_rate = 2e-4
rate: float = config["training"]["learning_rate"]
pipeline.run()
pipeline.export(["merged"], out=Path("exports"))
report: Path | None = pipeline.report_path
labels: list[str] = Predictor.from_folder(Path("model")).predict(["some text"]).labels
notes: tuple[str, ...] = load_config("fast").notes
"""
WRONG = """
from qwenkit import QwenTrainingPipeline

pipeline = QwenTrainingPipeline("mine.csv", epoch=1)
pipeline.load_config().training.learning_rte
pipeline.run_post_evaluation(data=3)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("code", "problems"), [(RIGHT, 0), (WRONG, 3)])
def test_a_checker_reads_the_types_of_the_package(tmp_path: Path, code: str, problems: int) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text(code)
    command = [sys.executable, "-m", "mypy", "--config-file", "", "--follow-imports", "silent", str(sample)]
    root = Path(__file__).parents[2]
    result = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert result.stdout.count("error:") == problems, result.stdout
