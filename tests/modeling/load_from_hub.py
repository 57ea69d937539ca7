"""Load a base from the hub; a process of its own, since the hub's address is read at import."""

import json
import sys

from qwenkit.config.schema_model import Model, Quantization
from qwenkit.errors import QwenkitError
from qwenkit.modeling.base import load_base_model
from qwenkit.modeling.identity import identify_base


def load(repo_id: str) -> dict[str, object]:
    """Identify and load a base; tell what came, or the error."""
    try:
        identity = identify_base(Model(name=repo_id))
        model = load_base_model(
            identity,
            quantization=Quantization(),
            labels=["A", "B"],
            pad_token_id=1,
            vocab_size=320,
            device="cpu",
            dtype="float32",
            seed=3,
        )
    except QwenkitError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"identity": identity.model_dump(), "class": type(model).__name__, "labels": model.config.id2label}


print(json.dumps([load(repo_id) for repo_id in sys.argv[1:]]))
