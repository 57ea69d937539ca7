"""Fine-tune Qwen3 into a text classifier with QLoRA: prepare, tokenize, train, evaluate, export.

The public names are imported when they are first used, so that `import qwenkit` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qwenkit.config import Config, load_config
    from qwenkit.console import Console
    from qwenkit.modeling.predictor import Predictor
    from qwenkit.pipeline import QwenTrainingPipeline

__all__ = ["Config", "Console", "Predictor", "QwenTrainingPipeline", "load_config"]
__version__ = "0.1.0"

_HOMES = {
    "Config": "qwenkit.config",
    "load_config": "qwenkit.config",
    "Console": "qwenkit.console",
    "Predictor": "qwenkit.modeling.predictor",
    "QwenTrainingPipeline": "qwenkit.pipeline",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'qwenkit' has no attribute {name!r}")
