"""The tokenizer that is trained or loaded: equal every time, Qwen's in kind, and refused where it is none."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from qwenkit.errors import ArtifactError, ConfigError
from qwenkit.tokens.encoding import encode_texts
from qwenkit.tokens.tokenizer import (
    SPECIAL_TOKENS,
    load_tokenizer,
    tokenizer_identity,
    train_tokenizer,
)

TRAIN_IN_A_NEW_PROCESS = """
import json, sys
from qwenkit.tokens.tokenizer import tokenizer_identity, train_tokenizer
print(tokenizer_identity(train_tokenizer(json.load(sys.stdin), vocab_size=400, max_length=32)))
"""


@pytest.fixture
def saved(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def test_special_tokens_are_qwens_and_come_after_the_learned_ids(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.pad_token == "<|endoftext|>"
    assert tokenizer.eos_token == "<|im_end|>"
    first = len(tokenizer) - len(SPECIAL_TOKENS)
    assert [tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS] == list(
        range(first, len(tokenizer))
    )
    assert set(SPECIAL_TOKENS) == set(tokenizer.all_special_tokens)


def test_vocabulary_has_the_size_asked_for_or_what_the_texts_give(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    assert len(tokenizer) == 400
    # "ab" is the only pair that comes twice.
    assert len(train_tokenizer(["ab", "ab"], vocab_size=400, max_length=32)) == 256 + 1 + len(SPECIAL_TOKENS)


def test_pieces_are_split_as_qwen_splits_them(tokenizer: PreTrainedTokenizerFast) -> None:
    pieces = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("It's 12 bytes\n\n  wide")
    assert [piece for piece, _ in pieces] == ["It", "'s", "Ġ", "1", "2", "Ġbytes", "ĊĊ", "Ġ", "Ġwide"]


def test_same_texts_give_the_same_tokenizer_in_another_process_with_another_hash_seed(
    tokenizer: PreTrainedTokenizerFast, train_texts: list[str]
) -> None:
    elsewhere = subprocess.run(
        [sys.executable, "-c", TRAIN_IN_A_NEW_PROCESS],
        input=json.dumps(train_texts),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "3"},
    )
    assert elsewhere.stdout.strip() == tokenizer_identity(tokenizer)


def test_other_texts_give_another_tokenizer(tokenizer: PreTrainedTokenizerFast) -> None:
    other = train_tokenizer(["an altogether different corpus"] * 3, vocab_size=400, max_length=32)
    assert tokenizer_identity(other) != tokenizer_identity(tokenizer)


def test_composed_and_decomposed_texts_give_the_same_tokenizer() -> None:
    composed, decomposed = (
        train_tokenizer([word] * 3, vocab_size=400, max_length=32) for word in ("caf\u00e9", "cafe\u0301")
    )
    assert tokenizer_identity(composed) == tokenizer_identity(decomposed)


def test_vocabulary_without_room_for_all_bytes_is_refused() -> None:
    with pytest.raises(ConfigError, match="vocab_size is 200; the bytes alone need 270"):
        train_tokenizer(["text"], vocab_size=200, max_length=32)


def test_saved_tokenizer_is_the_same_when_read_by_us_and_by_transformers(
    tokenizer: PreTrainedTokenizerFast, saved: Path, awkward_text: str
) -> None:
    ids = encode_texts([awkward_text], tokenizer=tokenizer, max_length=10_000)[0]
    ours, theirs = load_tokenizer(saved), AutoTokenizer.from_pretrained(saved)
    assert encode_texts([awkward_text], tokenizer=ours, max_length=10_000)[0] == ids
    assert theirs(awkward_text)["input_ids"] == ids
    assert tokenizer_identity(ours) == tokenizer_identity(theirs) == tokenizer_identity(tokenizer)
    assert (ours.pad_token_id, ours.eos_token_id) == (tokenizer.pad_token_id, tokenizer.eos_token_id)
    assert ours.model_max_length == 32
    assert ours.padding_side == "right"


def test_folder_that_says_otherwise_is_loaded_with_right_padding_and_split_special_tokens(
    saved: Path,
) -> None:
    config_path = saved / "tokenizer_config.json"
    config = json.loads(config_path.read_text())
    config_path.write_text(json.dumps({**config, "split_special_tokens": False, "padding_side": "left"}))
    tokenizer = load_tokenizer(saved)
    assert tokenizer.padding_side == "right"
    assert tokenizer.pad_token_id not in tokenizer("a <|endoftext|> b")["input_ids"]


def test_identity_does_not_depend_on_what_was_encoded_before(tokenizer: PreTrainedTokenizerFast) -> None:
    before = tokenizer_identity(tokenizer)
    tokenizer(["the river", "the"], truncation=True, max_length=1, padding="max_length")
    assert tokenizer_identity(tokenizer) == before


def test_identity_depends_on_the_pad_token(saved: Path) -> None:
    tokenizer = load_tokenizer(saved)
    before = tokenizer_identity(tokenizer)
    tokenizer.pad_token = "<|im_end|>"
    assert tokenizer_identity(tokenizer) != before


def test_folder_without_tokenizer_is_an_error_and_not_an_empty_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    with pytest.raises(ArtifactError, match=r"holds no tokenizer \(no tokenizer.json\)"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "{}", '{"version": "1.0"}'])
def test_damaged_tokenizer_file_is_an_error(saved: Path, content: str) -> None:
    (saved / "tokenizer.json").write_text(content)
    with pytest.raises(ArtifactError, match="copy or download it again"):
        load_tokenizer(saved)


def test_tokenizer_cut_short_on_disk_is_an_error(saved: Path) -> None:
    file = saved / "tokenizer.json"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match="copy or download it again"):
        load_tokenizer(saved)


def test_tokenizer_that_puts_its_pad_token_into_texts_is_refused(saved: Path) -> None:
    content = json.loads((saved / "tokenizer.json").read_text())
    pad_id = next(token["id"] for token in content["added_tokens"] if token["content"] == "<|endoftext|>")
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {
            "<|endoftext|>": {"id": "<|endoftext|>", "ids": [pad_id], "tokens": ["<|endoftext|>"]}
        },
    }
    (saved / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="puts its padding token"):
        load_tokenizer(saved)


def test_name_that_is_neither_folder_nor_hub_id_is_refused() -> None:
    with pytest.raises(ConfigError, match="neither a folder that exists nor a hub id"):
        load_tokenizer("./no/such/folder")


def test_missing_pad_token_is_replaced_by_the_end_token(saved: Path) -> None:
    config_path = saved / "tokenizer_config.json"
    config = json.loads(config_path.read_text())
    config_path.write_text(json.dumps({**config, "pad_token": None}))
    assert load_tokenizer(saved).pad_token == "<|im_end|>"


def test_folder_of_the_name_of_a_hub_repo_goes_first(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved, "Qwen/Qwen3-0.6B")
    assert len(load_tokenizer("Qwen/Qwen3-0.6B")) == 400
