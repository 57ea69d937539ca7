"""The rows of the demo: human passages, and for each a machine text of the same domain, split and shape.

Pages are split first. Within a split and domain they are dealt into blocks of about BLOCK_PASSAGES, and the
machine texts that go with a block are written by generators fitted on the next block. So no generator sees
text of another split, none writes beside the text that it was fitted on, and all are fitted on equally
little: the machine text of the test split is of the same kind as that of the train split.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from qwenkit.data.demo.corpus import (
    LICENCES,
    MARKS,
    Passage,
    Sentence,
    join_words,
    read_corpus,
    read_sentences,
    split_sentences,
    split_words,
    write_sentences,
)
from qwenkit.data.demo.generators import GENERATORS, Writer

if TYPE_CHECKING:
    import polars

# Hash of the rows of seed 42, so it changes whenever they do; tests/data/test_demo.py compares.
DEMO_REVISION = "d0f47a1c8b546647"

AI_LABEL, HUMAN_LABEL = "AI_Generated", "Human_Written"

# Whole pages go into a split until it has so many passages. TPR at FPR 1 % needs 100 human rows a domain.
TEST_PASSAGES, VALIDATION_PASSAGES = 105, 85
BLOCK_PASSAGES = 45
# A sentence that takes over so many words in a row is thrown away: it is human text, whatever its label.
COPIED_WORDS = 8
MIN_SENTENCE_WORDS, MAX_SENTENCE_WORDS = 4, 80  # marks count
TRIES_PER_SENTENCE = 8
LENGTH_TOLERANCE = 0.12
TOLERATED_GAP = 40  # characters, about the shortest sentence worth adding

Row = dict[str, str]


def make_demo_rows(*, seed: int = 42) -> "dict[str, polars.DataFrame]":
    """Make the demo's splits, each half human and half machine; a seed gives the same rows on every machine.

    Returns:
        train, validation and test with the columns text, label, domain, model ("human" or the generator),
        decoding, attack, source_id and licence, all strings without nulls. A machine row has the source_id of
        the human row beside it, whose length it takes, and the licence of the text that its words are from.
    """
    import polars

    by_domain: dict[str, list[Passage]] = defaultdict(list)
    for passage in read_corpus():
        by_domain[passage.domain].append(passage)
    rows: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
    for domain, passages in by_domain.items():
        dice = random.Random(f"{seed} {domain}")
        for split, pages in split_pages(passages, dice).items():
            rows[split] += make_split_rows(pages, dice)
    return {split: polars.DataFrame(split_rows) for split, split_rows in rows.items()}


def split_pages(passages: Iterable[Passage], dice: random.Random) -> dict[str, list[list[Passage]]]:
    """Deal pages in random order: test and validation take what they need, train the rest."""
    pages: dict[str, list[Passage]] = defaultdict(list)
    for passage in passages:
        pages[passage.document].append(passage)
    # random.shuffle may change between Python versions; sorting by .random() may not.
    shuffled = [page for _, page in sorted((dice.random(), page) for page in pages)]
    splits: dict[str, list[list[Passage]]] = {"train": [], "validation": [], "test": []}
    missing = {"test": TEST_PASSAGES, "validation": VALIDATION_PASSAGES}
    for page in shuffled:
        split = next((name for name, count in missing.items() if count > 0), "train")
        splits[split].append(pages[page])
        if split in missing:
            missing[split] -= len(pages[page])
    return splits


def make_split_rows(pages: Sequence[Sequence[Passage]], dice: random.Random) -> list[Row]:
    """Pair every passage of one split and domain with a machine text; the generators take turns."""
    blocks = deal_blocks(pages)
    rows: list[Row] = []
    for block, next_block in zip(blocks, [*blocks[1:], blocks[0]], strict=True):
        fitted_on = read_sentences(passage.text for passage in next_block)
        copied = {run for sentence in fitted_on for run in list_runs(sentence)}
        writers = [generator.fit(fitted_on) for generator in GENERATORS]
        for passage in block:
            turn = len(rows) // 2 % len(GENERATORS)
            generator, writer = GENERATORS[turn], writers[turn]
            text = write_like(passage.text, writer, copied, dice)
            rows.append(make_row(passage, passage.text, HUMAN_LABEL, "human", "none"))
            rows.append(make_row(passage, text, AI_LABEL, generator.model, generator.decoding))
    return rows


def deal_blocks(pages: Sequence[Sequence[Passage]]) -> list[list[Passage]]:
    """Deal whole pages into at least two blocks of nearly the same size."""
    n_blocks = max(2, round(sum(map(len, pages)) / BLOCK_PASSAGES))
    blocks: list[list[Passage]] = [[] for _ in range(n_blocks)]
    for page in pages:
        min(blocks, key=len).extend(page)
    return blocks


def write_like(text: str, writer: Writer, copied: set[tuple[str, ...]], dice: random.Random) -> str:
    """Write as many sentences as a human text has, each about as long: length must not tell them apart."""
    written: list[Sentence] = []
    surplus = 0  # the next sentence makes up for what the ones before it are too long or too short
    for sentence in split_sentences(split_words(text)):
        n_characters = len(join_words(sentence))
        written.append(write_sentence(n_characters - surplus, writer, copied, dice))
        surplus += len(join_words(written[-1])) - n_characters
    while surplus < -TOLERATED_GAP:
        written.append(write_sentence(-surplus, writer, copied, dice))
        surplus += len(join_words(written[-1]))
    return write_sentences(written)


def write_sentence(
    n_characters: int, writer: Writer, copied: set[tuple[str, ...]], dice: random.Random
) -> Sentence:
    """Write usable sentences until one has about the wanted length; of a few, take the nearest."""
    best: Sentence = []
    best_error = float("inf")
    usable = 0
    while usable < TRIES_PER_SENTENCE and best_error > LENGTH_TOLERANCE * n_characters:
        sentence = writer(dice)
        if not is_usable(sentence, copied):
            continue
        usable += 1
        error = abs(len(join_words(sentence)) - n_characters)
        if error < best_error:
            best, best_error = sentence, error
    return best


def is_usable(sentence: Sentence, copied: set[tuple[str, ...]]) -> bool:
    """Refuse what is marked as nobody would, and what is copied: neither is word order to be learned."""
    if not MIN_SENTENCE_WORDS <= len(sentence) <= MAX_SENTENCE_WORDS or not sentence[0][0].isalpha():
        return False
    if any(word in MARKS and following in MARKS for word, following in pairwise(sentence)):
        return False
    return copied.isdisjoint(list_runs(sentence))


def list_runs(sentence: Sentence) -> list[tuple[str, ...]]:
    """Every run of COPIED_WORDS words, without case and marks."""
    words = [word.lower() for word in sentence if word not in MARKS]
    return list(zip(*(words[i:] for i in range(COPIED_WORDS)), strict=False))


def make_row(passage: Passage, text: str, label: str, model: str, decoding: str) -> Row:
    return {
        "text": text,
        "label": label,
        "domain": passage.domain,
        "model": model,
        "decoding": decoding,
        "attack": "none",
        "source_id": passage.source_id,
        "licence": LICENCES[passage.domain],
    }
