"""A process that uses the hub as qwenkit does: checks come as JSON on stdin, outcomes go as JSON to stdout.

Its own process, because the hub's libraries read HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE once, on import.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from qwenkit import hub
from qwenkit.hub import hub_errors, looks_like_repo_id, resolve_revision


def resolve(repo_id: str, repo_type: str = "model", revision: str | None = None, **options: Any) -> str:
    hub.PREFLIGHT_SECONDS = options.get("seconds", hub.PREFLIGHT_SECONDS)
    return resolve_revision(repo_id, repo_type=repo_type, revision=revision)  # type: ignore[arg-type]


def load_tokenizer(repo_id: str, revision: str | None = None, **options: Any) -> list[int]:
    from qwenkit.tokens.encoding import encode_texts
    from qwenkit.tokens.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(repo_id, revision=revision)
    return encode_texts(["hello <|endoftext|> world"], tokenizer=tokenizer, max_length=100)[0]


def load_model(repo_id: str, revision: str | None = None, **options: Any) -> dict[str, Any]:
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()
    revision = revision or resolve_revision(repo_id, repo_type="model")
    with hub_errors(repo_id, repo_type="model"):
        model = AutoModelForSequenceClassification.from_pretrained(repo_id, revision=revision, num_labels=2)
    return {"class": type(model).__name__, "embedding": model.model.embed_tokens.weight.sum().item()}


def load_dataset(repo_id: str, revision: str | None = None, **options: Any) -> dict[str, Any]:
    from qwenkit.data.hub_splits import load_hub_splits

    revision = revision or resolve_revision(repo_id, repo_type="dataset")
    splits = load_hub_splits(repo_id, revision)
    return {name: frame.to_dict(as_series=False) for name, frame in splits.items()}


def stream_dataset(
    repo_id: str, max_rows: int, revision: str | None = None, **options: Any
) -> dict[str, Any]:
    from qwenkit.config.schema_model import Dataset
    from qwenkit.data.streaming import stream_hub_splits

    revision = revision or resolve_revision(repo_id, repo_type="dataset")
    settings = Dataset(max_rows=max_rows, streaming=True, **options)
    raw = stream_hub_splits(repo_id, revision, None, settings=settings)
    return {name: frame.to_dict(as_series=False) for name, frame in raw.splits.items()}


def write_dataset(folder: str, word: str, **options: Any) -> None:
    """Change what the hub serves between two loads."""
    from tests.hub.conftest import write_dataset

    write_dataset(Path(folder), word=word)


def give_up_at_once() -> None:
    """Switch off the libraries' retries, which take 23 seconds and change nothing about the error."""
    from huggingface_hub.utils import _http

    _http.http_backoff.__kwdefaults__["max_retries"] = 0


def count_heavy_imports(**options: Any) -> list[str]:
    looks_like_repo_id("Qwen/Qwen3-0.6B")
    heavy = ("huggingface_hub", "transformers", "torch", "datasets", "httpx", "httpx2")
    return [name for name in heavy if name in sys.modules]


CHECKS = {
    "resolve": resolve,
    "tokenizer": load_tokenizer,
    "model": load_model,
    "dataset": load_dataset,
    "stream": stream_dataset,
    "write_dataset": write_dataset,
    "heavy_imports": count_heavy_imports,
}


def run_check(check: dict[str, Any]) -> dict[str, Any]:
    started = time.monotonic()
    try:
        outcome: dict[str, Any] = {"value": CHECKS[check.pop("do")](**check)}
    except Exception as error:
        causes = []
        link: BaseException | None = error
        while link is not None and len(causes) < 10:
            causes.append(str(link))
            link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
        outcome = {"error": str(error), "kind": type(error).__name__, "shown_under_debug": "\n".join(causes)}
    return {**outcome, "seconds": time.monotonic() - started}


if __name__ == "__main__":
    request = json.load(sys.stdin)
    outcomes = []
    for check in request["checks"]:
        if check["do"] not in ("resolve", "heavy_imports"):
            give_up_at_once()
        outcomes.append(run_check(check))
    print("\n" + json.dumps(outcomes))
