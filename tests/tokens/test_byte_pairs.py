"""tiktoken in place of the library: the same ids for every text, or not used at all."""

import json
import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from qwenkit.data.demo import make_demo_rows
from qwenkit.tokens import byte_pairs, gate
from qwenkit.tokens.backend import encode_with_backend, prepare_backend
from qwenkit.tokens.byte_pairs import LONGEST_TEXT, BytePairEncoder, UnsupportedTokenizer
from qwenkit.tokens.gate import ADVERSARIAL_TEXTS, choose_encoder
from qwenkit.tokens.tokenizer import train_tokenizer
from tests.tokens.conftest import TRAIN_TEXTS

SAMPLE = ["the river ran", "and the people there"]


def copy_backend(tokenizer: PreTrainedTokenizerFast) -> Tokenizer:
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    prepare_backend(backend)
    return backend


def change(backend: Tokenizer, **changes: object) -> Tokenizer:
    """Change entries of tokenizer.json; `model__merges=...` changes the model's."""
    content = json.loads(backend.to_str())
    for name, value in changes.items():
        *above, last = name.split("__")
        place = content
        for key in above:
            place = place[key]
        place[last] = value
    changed = Tokenizer.from_str(json.dumps(content))
    prepare_backend(changed)
    return changed


def require_same_ids(encoder: BytePairEncoder, backend: Tokenizer, texts: list[str]) -> None:
    for limit in (None, 5):
        expected, full_lengths = encode_with_backend(texts, backend, limit, range(len(texts)))
        found, lengths = encoder.encode(texts, limit)
        assert [ids.tolist() for ids in found] == expected
        assert lengths == full_lengths


_BACKEND = copy_backend(
    train_tokenizer(make_demo_rows()["train"]["text"].to_list()[:300], vocab_size=3_000, max_length=64)
)
_ENCODER = BytePairEncoder(_BACKEND)
_WORDS = [
    "the",
    " the",
    "ing",
    "'s",
    "'S",
    "\u0301",
    "é",
    "  ",
    "\n",
    "\r\n",
    "12",
    "中",
    "👩‍👧",
    "<|endoftext|>",
    "\ufeff",
]


def test_awkward_texts_have_the_librarys_ids(awkward_text: str) -> None:
    require_same_ids(_ENCODER, _BACKEND, [awkward_text, f"x{awkward_text}x", awkward_text * 50])


def test_every_token_of_the_vocabulary_has_the_librarys_ids_beside_every_other() -> None:
    tokens = [_BACKEND.decode([token_id]) for token_id in range(3_000)]
    dice = random.Random(0)
    texts = ["".join(dice.choices(tokens, k=200)) for _ in range(200)]
    require_same_ids(_ENCODER, _BACKEND, [text for text in texts if text.strip()])


@given(
    st.lists(st.text(min_size=1, max_size=30) | st.sampled_from(_WORDS), min_size=1, max_size=12).map("".join)
)
@settings(max_examples=500, deadline=None)
def test_any_text_has_the_librarys_ids(text: str) -> None:
    if text.strip():
        require_same_ids(_ENCODER, _BACKEND, [text])


def test_text_too_long_for_tiktokens_stack_goes_to_the_library(capfd: pytest.CaptureFixture[str]) -> None:
    text = " " * 1_000_000 + "x"
    assert len(text) > LONGEST_TEXT
    require_same_ids(_ENCODER, _BACKEND, [text])
    assert capfd.readouterr().err == "", "tiktoken's panic is printed"


def test_longest_run_of_spaces_that_tiktoken_gets_is_well_within_its_stack() -> None:
    require_same_ids(
        _ENCODER, _BACKEND, [" " * (LONGEST_TEXT - 1) + "x", " \t" * (LONGEST_TEXT // 2 - 1) + "x"]
    )


def test_added_token_that_is_not_special_is_found_in_text_as_by_the_library(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    backend = copy_backend(tokenizer)
    backend.add_tokens([AddedToken("<think>", normalized=False, special=False)])
    encoder = BytePairEncoder(backend)
    texts = ["a <think> b", "<think>\u0338x", "<thin", "think>"]
    require_same_ids(encoder, backend, texts)
    assert backend.token_to_id("<think>") in encoder.encode(texts, None)[0][0]


def test_tokens_around_a_text_are_put_there(tokenizer: PreTrainedTokenizerFast) -> None:
    backend = copy_backend(tokenizer)
    start, end = (backend.token_to_id(token) for token in ("<|im_start|>", "<|im_end|>"))
    backend.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A <|im_end|>", special_tokens=[("<|im_start|>", start), ("<|im_end|>", end)]
    )
    require_same_ids(BytePairEncoder(backend), backend, ["the river ran through the old town", "a"])
    assert choose_encoder(backend, SAMPLE).is_fast


@pytest.mark.parametrize("normalizer", [None, normalizers.NFKC(), normalizers.Lowercase()])
def test_any_normaliser_is_the_librarys_own(
    tokenizer: PreTrainedTokenizerFast, normalizer: normalizers.Normalizer | None
) -> None:
    backend = copy_backend(tokenizer)
    backend.normalizer = normalizer
    prepare_backend(backend)
    require_same_ids(BytePairEncoder(backend), backend, ["The ﬁrst Cafe\u0301 ½", "ABC"])
    assert choose_encoder(backend, SAMPLE).is_fast


def test_gpt2s_way_to_split_is_known() -> None:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(TRAIN_TEXTS, trainer)
    prepare_backend(backend)
    require_same_ids(BytePairEncoder(backend), backend, [*TRAIN_TEXTS, *ADVERSARIAL_TEXTS])
    assert choose_encoder(backend, SAMPLE).is_fast


def test_pattern_that_leaves_characters_out_loses_none(tokenizer: PreTrainedTokenizerFast) -> None:
    pattern = {"type": "Split", "pattern": {"Regex": r"\p{L}+"}, "behavior": "Isolated", "invert": False}
    bytes_step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    steps = {"type": "Sequence", "pretokenizers": [pattern, bytes_step]}
    backend = change(copy_backend(tokenizer), pre_tokenizer=steps)
    require_same_ids(BytePairEncoder(backend), backend, ["the river, 1987!", "..."])


# ---- What tiktoken must not touch ----


def _reverse_merges(backend: Tokenizer) -> Tokenizer:
    return change(backend, model__merges=json.loads(backend.to_str())["model"]["merges"][::-1])


def _drop_byte(backend: Tokenizer) -> Tokenizer:
    content = json.loads(backend.to_str())["model"]
    merged = {part for pair in content["merges"] for part in pair}
    byte = next(token for token in content["vocab"] if len(token) == 1 and token not in merged)
    return change(backend, model__vocab={token: i for token, i in content["vocab"].items() if token != byte})


def _split_twice(backend: Tokenizer) -> Tokenizer:
    steps = json.loads(backend.to_str())["pre_tokenizer"]["pretokenizers"]
    return change(backend, pre_tokenizer={"type": "Sequence", "pretokenizers": [steps[0], *steps]})


def _add_normalized_token(backend: Tokenizer) -> Tokenizer:
    backend.add_tokens([AddedToken("river", normalized=True, special=False)])
    return backend


UNSUPPORTED = {
    "merges out of order": (_reverse_merges, "order of its ids"),
    "a byte that no token has": (_drop_byte, "lacks single bytes"),
    "a second step of splitting": (_split_twice, "way to split text is not known"),
    "dropout": (lambda backend: change(backend, model__dropout=0.1), "no plain byte-level BPE"),
    "a space put first": (
        lambda backend: change(
            backend,
            pre_tokenizer={
                "type": "ByteLevel",
                "add_prefix_space": True,
                "use_regex": True,
                "trim_offsets": True,
            },
        ),
        "way to split text is not known",
    ),
    "an added token found after normalising": (_add_normalized_token, "added tokens in normalised text"),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_tokenizer_that_tiktoken_cannot_stand_for_is_left_to_the_library(
    kind: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    make, reason = UNSUPPORTED[kind]
    backend = make(copy_backend(tokenizer))
    prepare_backend(backend)
    with pytest.raises(UnsupportedTokenizer, match=reason):
        BytePairEncoder(backend)
    choice = choose_encoder(backend, SAMPLE)
    assert choice.name == "tokenizers"
    assert reason in choice.reason


def test_word_pieces_are_left_to_the_library() -> None:
    backend = Tokenizer(models.WordPiece({"[UNK]": 0, "the": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    assert not choose_encoder(backend, ["the"]).is_fast


def test_token_that_no_merge_gives_is_never_made() -> None:
    content = json.loads(_BACKEND.to_str())["model"]
    # As GPT-2 style files that were edited by hand have it: in the vocabulary, but in no merge.
    backend = change(_BACKEND, model__vocab={**content["vocab"], "qzxj": 3_500})
    require_same_ids(BytePairEncoder(backend), backend, ["qzxj qzxjs", "the qzxj"])
    assert not choose_encoder(change(backend, model__ignore_merges=True), SAMPLE).is_fast


# ---- The gate itself ----


def test_gate_lets_the_tokenizer_of_the_demo_through_and_says_on_what() -> None:
    choice = choose_encoder(_BACKEND, SAMPLE)
    assert choice.is_fast
    assert choice.reason.startswith("equal ids on 2 of the rows")


@pytest.mark.parametrize(
    ("flaw", "shown"),
    [
        (lambda text: text.replace("\u0301", ""), "cafe"),
        (lambda text: text.replace("\u3000", " "), "u3000"),
        (lambda text: text.replace("\x00", ""), "x00"),
        (lambda text: text.replace("\U0001f3fd", ""), "1f44d"),
    ],
)
def test_gate_sees_a_stand_in_that_reads_one_kind_of_character_otherwise(
    flaw: object, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Flawed(BytePairEncoder):
        def encode(self, texts, limit):  # type: ignore[no-untyped-def]
            return super().encode([flaw(text) or "x" for text in texts], limit)  # type: ignore[operator]

    monkeypatch.setattr(gate, "BytePairEncoder", Flawed)
    choice = choose_encoder(_BACKEND, SAMPLE)
    assert choice.name == "tokenizers"
    assert "other ids for" in choice.reason
    assert shown in choice.reason


def test_gate_sees_a_difference_in_the_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Flawed(BytePairEncoder):
        def encode(self, texts, limit):  # type: ignore[no-untyped-def]
            return super().encode([text.replace("river", "rider") for text in texts], limit)

    monkeypatch.setattr(gate, "BytePairEncoder", Flawed)
    assert "other ids for 'the river ran'" in choose_encoder(_BACKEND, SAMPLE).reason


def test_split_that_differs_by_unicode_version_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    # As if tiktoken did not know a script of Unicode 12 yet: its letters would be marks.
    known = byte_pairs.find_pattern
    older = r"[\p{L}--\p{Elymaic}]"
    monkeypatch.setattr(
        byte_pairs, "find_pattern", lambda steps: known(steps).replace(r"?\p{L}+", f"?{older}+")
    )
    assert choose_encoder(_BACKEND, SAMPLE).reason == "tiktoken splits U+10FE0 elsewhere"


def test_panic_or_missing_tiktoken_leaves_the_work_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    choice = choose_encoder(_BACKEND, SAMPLE)
    assert choice.name == "tokenizers"
    assert "tiktoken failed: ModuleNotFoundError" in choice.reason


def test_interrupt_while_comparing_is_no_failure_of_tiktoken(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(backend: Tokenizer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gate, "BytePairEncoder", interrupt)
    with pytest.raises(KeyboardInterrupt):
        choose_encoder(_BACKEND, SAMPLE)
