"""The stock classifier of transformers: what it must be, what its config must say, and quiet loading."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qwenkit.errors import ArtifactError

# Decoders whose forward also takes a mask for each kind of layer, as generate() passes them.
_TAKES_MASKS_BY_KIND = ("qwen2", "qwen3")


def load_classifier_class(source: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Load a sequence classifier from safetensors only, and tell which weights were missing.

    Returns:
        The model and transformers' loading report with missing_keys, unexpected_keys and mismatched_keys.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    # A missing head is drawn from the global random state, which belongs to the caller.
    with torch.random.fork_rng(devices=[]):
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            source,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            # Up to 5.17 it looked for an adapter on the newest revision, whatever was pinned.
            adapter_kwargs={"revision": options["revision"]} if "revision" in options else None,
            **options,
        )
    return model, loading


def describe_classes(config: Any, labels: Sequence[str], pad_token_id: int) -> None:
    """Write into a model's config what every server reads from it: label names, kind of problem, pad id."""
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    config.problem_type = "single_label_classification"
    config.pad_token_id = pad_token_id
    # A cache would keep every key and value of a forward, and lets packed documents see each other.
    config.use_cache = False


def is_causal_classifier(config: Any) -> bool:
    """Tell whether right padding without a mask is exact for this model, and its head is called score.

    True for the decoders of transformers' generic classifier (Qwen2, Qwen3, Llama, ...), not for encoders.
    """
    from transformers import AutoModelForSequenceClassification
    from transformers.modeling_layers import GenericForSequenceClassification

    model_class = AutoModelForSequenceClassification._model_mapping.get(type(config), None)
    return (
        isinstance(model_class, type)
        and issubclass(model_class, GenericForSequenceClassification)
        and config.get_text_config() is config
        and not sees_later_tokens(config)
    )


def sees_later_tokens(config: Any) -> bool:
    """Tell whether a decoder's config opens its attention to both sides, as embedding models do.

    The mask of transformers and its kernels then let every token see the padding, when none is passed.
    """
    is_open = getattr(config, "use_bidirectional_attention", False) or not getattr(config, "is_causal", True)
    return bool(is_open)


def no_mask_arguments(model: Any) -> dict[str, Any]:
    """Give what a forward takes so that it builds no attention mask, and looks for no need of one.

    Without it transformers searches the positions for packed documents, and the host waits for the device to
    know, at each forward. Only where every layer sees all tokens before it: a window needs its mask. And only
    for torch's own attention: the eager one of transformers sees later tokens too, unless a mask forbids it.
    """
    config = model.config
    is_known = getattr(config, "model_type", None) in _TAKES_MASKS_BY_KIND
    is_causal_by_itself = getattr(config, "_attn_implementation", None) == "sdpa"
    if not (is_known and is_causal_by_itself) or set(config.layer_types) != {"full_attention"}:
        return {}
    return {"attention_mask": {"full_attention": None}}


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide the loading bars and the report of a missing head, which is checked here and said by us."""
    from transformers.utils import logging as library_logging

    level, had_bars = library_logging.get_verbosity(), library_logging.is_progress_bar_enabled()
    library_logging.set_verbosity(logging.ERROR)
    library_logging.disable_progress_bar()
    try:
        yield
    finally:
        library_logging.set_verbosity(level)
        if had_bars:
            library_logging.enable_progress_bar()


@contextmanager
def folder_errors(folder: Path) -> Iterator[None]:
    """Turn what the libraries raise over a broken model folder into one clear line."""
    import torch
    from safetensors import SafetensorError

    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except SafetensorError as error:
        raise ArtifactError(
            f"a .safetensors file in {folder} is truncated or corrupt ({error}): copy or download it again."
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ArtifactError(f"{folder} cannot be loaded as a model: {reason}") from error
