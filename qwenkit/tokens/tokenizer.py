"""The tokenizer: taken from the hub or a folder and checked, or trained on the user's own text."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer

from qwenkit.errors import ArtifactError, ConfigError, HubError, QwenkitError
from qwenkit.hub import hub_errors, looks_like_repo_id, resolve_revision

PAD_TOKEN = "<|endoftext|>"
EOS_TOKEN = "<|im_end|>"
# Qwen3's, in its order; there too they come after the ids that text can make.
SPECIAL_TOKENS = (
    PAD_TOKEN,
    "<|im_start|>",
    EOS_TOKEN,
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
BYTE_COUNT = 256
# A pair of tokens seen only once says nothing about the language.
MIN_PAIR_FREQUENCY = 2

# Kept in tokenizer_config.json, so that transformers' own pipeline reads text as we do. Splitting special
# tokens keeps a document that holds the text <|endoftext|> from being pooled in the middle.
_FIXED_SETTINGS = {"split_special_tokens": True, "padding_side": "right", "truncation_side": "right"}


def load_tokenizer(name_or_folder: str | Path, *, revision: str | None = None) -> PreTrainedTokenizerFast:
    """Load a tokenizer from a folder, or else from the hub, and make sure that it can be trained with.

    Args:
        revision: Branch, tag or commit on the hub; None is the main branch. A folder has none.

    Raises:
        ConfigError: It is neither a folder nor a hub id, or a tokenizer that cannot be used here.
        ArtifactError: The folder holds no tokenizer.
        HubError: The repo cannot be had or holds no tokenizer.
    """
    name = str(name_or_folder)
    if Path(name).is_dir():
        tokenizer = _load_from_folder(Path(name))
    elif looks_like_repo_id(name):
        tokenizer = _load_from_hub(name, resolve_revision(name, repo_type="model", revision=revision))
    else:
        raise ConfigError(f'tokenizer "{name}" is neither a folder that exists nor a hub id (owner/name).')
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    _check_usable(tokenizer, name)
    return tokenizer


def train_tokenizer(texts: Iterable[str], *, vocab_size: int, max_length: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE that splits and normalizes as Qwen's does; equal texts give an equal tokenizer.

    Args:
        vocab_size: Ids in all, special tokens included; fewer where the texts hold too few pairs.
        max_length: Recorded as the tokenizer's model_max_length.

    Raises:
        ConfigError: The vocabulary has no room for all bytes and special tokens.
    """
    n_learned = vocab_size - len(SPECIAL_TOKENS)
    if n_learned < BYTE_COUNT:
        least = BYTE_COUNT + len(SPECIAL_TOKENS)
        raise ConfigError(f"tokenization.vocab_size is {vocab_size}; the bytes alone need {least}.")
    pattern = Qwen2Tokenizer().backend_tokenizer
    learner = Tokenizer(models.BPE())
    learner.normalizer = pattern.normalizer
    learner.pre_tokenizer = pattern.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=n_learned,
        min_frequency=MIN_PAIR_FREQUENCY,
        # All bytes, seen or not: then no text is out of vocabulary.
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    learned = json.loads(learner.to_str())["model"]
    special_ids = {token: len(learned["vocab"]) + index for index, token in enumerate(SPECIAL_TOKENS)}
    return Qwen2Tokenizer(
        vocab={**learned["vocab"], **special_ids},
        merges=[tuple(pair) for pair in learned["merges"]],
        unk_token=None,
        pad_token=PAD_TOKEN,
        eos_token=EOS_TOKEN,
        extra_special_tokens=[token for token in SPECIAL_TOKENS if token not in (PAD_TOKEN, EOS_TOKEN)],
        model_max_length=max_length,
        **_FIXED_SETTINGS,
    )


def tokenizer_identity(tokenizer: PreTrainedTokenizerFast) -> str:
    """Hash what decides the ids, wherever the tokenizer came from; part of fingerprints.

    Returns:
        64 hexadecimal digits.
    """
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    # Left behind by the last call, and set anew in each.
    content.pop("truncation", None)
    content.pop("padding", None)
    content["pad_token_id"] = tokenizer.pad_token_id
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _load_from_hub(repo_id: str, revision: str) -> PreTrainedTokenizerFast:
    with hub_errors(repo_id, repo_type="model", revision=revision):
        tokenizer = AutoTokenizer.from_pretrained(
            repo_id, revision=revision, trust_remote_code=False, **_FIXED_SETTINGS
        )
    if not _reads_text(tokenizer):
        raise HubError(
            f"model {repo_id} holds no tokenizer, or the hub failed to send it: set tokenization.tokenizer "
            'to a repo or folder that does, or to "train".'
        )
    return tokenizer


def _load_from_folder(folder: Path) -> PreTrainedTokenizerFast:
    missing = f"{folder} holds no tokenizer"
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json", "tokenizer.model")):
        raise ArtifactError(
            f"{missing} (no tokenizer.json): set tokenization.tokenizer to a folder or hub id that does."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **_FIXED_SETTINGS
        )
    except QwenkitError:
        raise
    except Exception as error:  # the Rust side raises bare Exception for a tokenizer.json that is cut short
        reason = str(error).strip().split("\n")[0]
        raise ArtifactError(f"{missing} that can be read ({reason}): copy or download it again.") from error
    if not _reads_text(tokenizer):
        raise ArtifactError(f"{missing} that knows any words: copy or download it again.")
    return tokenizer


def _reads_text(tokenizer: PreTrainedTokenizerFast) -> bool:
    # transformers makes an empty tokenizer, without a word, where the files are missing.
    n_special = len(tokenizer.all_special_tokens)
    return len(tokenizer) > n_special + 1 and bool(tokenizer("hello world")["input_ids"])


def _check_usable(tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    """Refuse what would go wrong without a word: pooling looks for the last token that is not padding."""
    hint = "set tokenization.tokenizer to another one, e.g. Qwen/Qwen3-0.6B."
    if not tokenizer.is_fast:
        raise ConfigError(f"tokenizer {name} has no fast version (tokenizer.json): {hint}")
    if tokenizer.pad_token_id is None:
        raise ConfigError(f"tokenizer {name} has neither a padding nor an end token: {hint}")
    if tokenizer.pad_token_id in tokenizer(f"hello {tokenizer.pad_token} world")["input_ids"]:
        raise ConfigError(f"tokenizer {name} puts its padding token {tokenizer.pad_token} into texts: {hint}")
