"""A training at Weights & Biases: what its page shows has really been sent."""

from pathlib import Path

from qwenkit.artifacts import read_manifest
from tests.conftest import TINY_SETTINGS
from tests.end_to_end.processes import make_environment, run_alone
from tests.wandb_server import serve_wandb

CURVES = ("loss", "grad_norm", "learning_rate", "tokens_per_second", "peak_memory_gib", "eval_loss")
CURVES += ("eval_balanced_accuracy", "eval_auroc")


def test_curves_config_and_fingerprints_reach_the_service(toy_csv: Path, tmp_path: Path) -> None:
    settings = (*TINY_SETTINGS, "wandb.enabled=true", "training.max_steps=8", "training.logging_steps=4")
    options = [part for setting in settings for part in ("--set", setting)]
    sent: dict[str, bytes] = {}
    with serve_wandb("taking", uploads=sent) as address:
        environment = make_environment(tmp_path, WANDB_API_KEY="c0ffee" * 6 + "c0ff", WANDB_BASE_URL=address)
        outcome = run_alone(
            tmp_path, "train", "--dataset", str(toy_csv), "--quiet", *options, environment=environment
        )
    assert (outcome.code, outcome.err) == (0, ""), outcome.told
    (logged,) = (content for path, content in sent.items() if path.endswith("/file_stream"))
    assert [name for name in CURVES if f'\\"{name}\\":' not in logged.decode()] == []
    manifest = read_manifest(tmp_path / "output" / "tiny-toy" / "trained")
    config = sent["/files/config.yaml"].decode()
    for fact in (manifest.fingerprint, *manifest.inputs.values(), "training.learning_rate", "peft.lora_r"):
        assert fact in config, fact
