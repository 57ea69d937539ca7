"""The demo's rows are balanced, licensed, kept apart by page, and not to be told by shallow signs."""

import hashlib
import json
import random
import re
from importlib.resources import files
from itertools import pairwise

import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from qwenkit.data.demo import DEMO_REVISION, make_demo_rows
from qwenkit.data.demo.build import AI_LABEL, HUMAN_LABEL, list_runs, make_split_rows, split_pages
from qwenkit.data.demo.corpus import (
    CORPUS_FILE,
    LICENCES,
    Passage,
    join_words,
    read_corpus,
    read_sentences,
    split_sentences,
    split_words,
    write_sentences,
)
from qwenkit.data.demo.generators import GENERATORS, Generator, MarkovChain, fit_character_chain, fit_cut_up
from qwenkit.stages import SPLITS
from qwenkit.text.probes import PROBES

COLUMNS = ["text", "label", "domain", "model", "decoding", "attack", "source_id", "licence"]


@pytest.fixture(scope="module")
def rows() -> dict[str, pl.DataFrame]:
    return make_demo_rows()


@pytest.fixture(scope="module")
def all_rows(rows: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frame.with_columns(split=pl.lit(split)) for split, frame in rows.items())


def document_of(source_id: str) -> str:
    return source_id.rpartition("/")[0]


# --- the frozen corpus


def test_corpus_is_small_plain_and_named_once() -> None:
    assert len(files("qwenkit.data.demo").joinpath(CORPUS_FILE).read_bytes()) < 500_000
    corpus = read_corpus()
    assert len({passage.source_id for passage in corpus}) == len(corpus) == 2800
    assert len({passage.text for passage in corpus}) == len(corpus)
    assert {passage.domain for passage in corpus} == set(LICENCES)
    assert all(re.fullmatch(r"[A-Z][ -~]+[.?!]", passage.text) for passage in corpus)


def test_notice_names_every_domain_with_its_licence() -> None:
    notice = files("qwenkit.data.demo").joinpath("NOTICE").read_text(encoding="ascii")
    for domain, licence in LICENCES.items():
        assert re.search(rf"^{domain} +{re.escape(licence)} ", notice, re.MULTILINE)
        assert f"\n{domain}: " in notice


def test_words_and_sentences_put_together_again_are_the_text() -> None:
    for passage in read_corpus():
        words = split_words(passage.text)
        assert join_words(words) == passage.text
        assert [word for sentence in split_sentences(words) for word in sentence] == words
        assert write_sentences(read_sentences([passage.text])) == passage.text


def test_capital_at_the_start_is_undone_but_for_names_and_abbreviations_end_no_sentence() -> None:
    assert split_words("Use e.g. this, or sys.path: now.") == [
        *("Use", "e.g", ".", "this", ",", "or", "sys.path", ":", "now", "."),
    ]
    text = "Python is old. The page, e.g. this one, names Python."
    assert [sentence[0] for sentence in read_sentences([text])] == ["Python", "the"]


# --- the rows


def test_rows_are_the_ones_that_the_revision_names(rows: dict[str, pl.DataFrame]) -> None:
    content = json.dumps({split: rows[split].rows() for split in SPLITS})
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    assert digest == DEMO_REVISION, f'the rows changed: set DEMO_REVISION = "{digest}"'


def test_rows_have_the_columns_of_raid_and_no_nulls(rows: dict[str, pl.DataFrame]) -> None:
    assert tuple(rows) == SPLITS
    for frame in rows.values():
        assert frame.columns == COLUMNS
        assert set(frame.dtypes) == {pl.String}
        assert frame.null_count().sum_horizontal().item() == 0
        assert set(frame["attack"]) == {"none"}


def test_rows_carry_the_licence_of_their_domain(all_rows: pl.DataFrame) -> None:
    assert dict(all_rows.select("domain", "licence").unique().rows()) == LICENCES


def test_classes_are_balanced_in_every_domain_of_every_split(all_rows: pl.DataFrame) -> None:
    assert 5_000 <= all_rows.height <= 6_000
    counts = all_rows.group_by("split", "domain").agg(
        (pl.col("label") == HUMAN_LABEL).sum().alias("human"), (pl.col("label") == AI_LABEL).sum().alias("ai")
    )
    assert counts.height == 3 * len(LICENCES)
    assert counts["human"].to_list() == counts["ai"].to_list()
    assert counts.filter(split="test")["human"].min() >= 100
    assert counts.filter(split="validation")["human"].min() >= 80


def test_every_generator_writes_in_every_domain_of_every_split(all_rows: pl.DataFrame) -> None:
    expected = {(generator.model, generator.decoding) for generator in GENERATORS}
    assert len({model for model, _ in expected}) >= 4
    for _, group in all_rows.filter(label=AI_LABEL).group_by("split", "domain"):
        counts = group.group_by("model", "decoding").len()
        assert set(counts.select("model", "decoding").rows()) == expected
        assert counts["len"].max() - counts["len"].min() <= 1
    assert set(all_rows.filter(label=HUMAN_LABEL).select("model", "decoding").rows()) == {("human", "none")}


def test_no_text_stands_twice_and_no_page_in_two_splits(all_rows: pl.DataFrame) -> None:
    folded = all_rows["text"].str.to_lowercase().str.replace_all(r"\W+", " ")
    assert folded.n_unique() == all_rows.height
    pages = all_rows.select(
        "split", page=pl.col("source_id").map_elements(document_of, return_dtype=pl.String)
    )
    assert pages.unique().height == pages["page"].n_unique()


def test_machine_rows_stand_beside_the_human_row_of_their_source(all_rows: pl.DataFrame) -> None:
    pairs = all_rows.group_by("source_id").agg(pl.col("label").sort(), pl.col("split").n_unique())
    assert set(map(tuple, pairs["label"])) == {(AI_LABEL, HUMAN_LABEL)}
    assert pairs["split"].max() == 1


def test_no_machine_sentence_repeats_eight_words_of_a_human_text(all_rows: pl.DataFrame) -> None:
    def list_runs_of(label: str) -> set[tuple[str, ...]]:
        texts = (split_sentences(split_words(text)) for text in all_rows.filter(label=label)["text"])
        return {run for sentences in texts for sentence in sentences for run in list_runs(sentence)}

    assert list_runs_of(HUMAN_LABEL).isdisjoint(list_runs_of(AI_LABEL))


# --- what a shallow look can tell


def measure_auroc(rows: dict[str, pl.DataFrame], probe: str) -> float:
    is_ai = {split: (rows[split]["label"] == AI_LABEL).to_numpy().astype(int) for split in SPLITS}
    train, test = (rows[split]["text"].to_list() for split in ("train", "test"))
    logits = PROBES[probe].score(train, is_ai["train"], test, 2)
    return float(roc_auc_score(is_ai["test"], logits[:, 1] - logits[:, 0]))


@pytest.mark.parametrize(("probe", "limit"), [("length", 0.6), ("words", 0.75)])
def test_class_cannot_be_read_off(rows: dict[str, pl.DataFrame], probe: str, limit: float) -> None:
    assert 0.4 < measure_auroc(rows, probe) < limit


def test_class_can_be_told_by_more_than_words(rows: dict[str, pl.DataFrame]) -> None:
    # Word order shows in the runs of characters that cross a space: something is left to be learned.
    assert measure_auroc(rows, "characters") > 0.7


def test_class_cannot_be_read_off_marks_capitals_and_digits(rows: dict[str, pl.DataFrame]) -> None:
    signs = [*",.;:-_/'", "[A-Z]", "[0-9]", "(?<=[a-z] )[A-Z]", "[,.;:?!]{2}"]
    patterns = [re.compile(sign if len(sign) > 1 else re.escape(sign)) for sign in signs]

    def count_signs(split: str) -> list[list[float]]:
        texts = rows[split]["text"]
        return [[len(pattern.findall(text)) / len(text) for pattern in patterns] for text in texts]

    classifier = make_pipeline(StandardScaler(), LogisticRegression())
    classifier.fit(count_signs("train"), rows["train"]["label"] == AI_LABEL)
    scores = classifier.decision_function(count_signs("test"))
    assert roc_auc_score(rows["test"]["label"] == AI_LABEL, scores) < 0.6


# --- splits, blocks and generators


def invent_passages(n_pages: int, *, pages_of: int) -> list[Passage]:
    """Passages in which every word tells its page."""
    passages = []
    for page in range(n_pages):
        for number in range(pages_of):
            words = [f"p{page}w{i % 7}" for i in range(number, number + 12)]
            text = write_sentences([[*words, "."], [*reversed(words), "."]])
            name = f"sqlite/{page}"
            passages.append(Passage(source_id=f"{name}/{number}", domain="sqlite", document=name, text=text))
    return passages


def test_pages_go_to_one_split_until_it_has_enough() -> None:
    splits = split_pages(invent_passages(80, pages_of=5), random.Random(1))
    assert {split: sum(map(len, pages)) for split, pages in splits.items()} == {
        "train": 80 * 5 - 105 - 85,
        "validation": 85,
        "test": 105,
    }
    documents = [{passage.document for page in pages for passage in page} for pages in splits.values()]
    assert len(set.union(*documents)) == sum(map(len, documents)) == 80


def test_no_generator_writes_beside_the_text_it_was_fitted_on() -> None:
    passages = invent_passages(12, pages_of=10)
    pages = [passages[i : i + 10] for i in range(0, len(passages), 10)]
    rows = make_split_rows(pages, random.Random(1))
    fitted_on_pages = set()
    for human, machine in zip(rows[::2], rows[1::2], strict=True):
        pages_of_human = set(re.findall(r"p\d+(?=w)", human["text"].lower()))
        pages_of_machine = set(re.findall(r"p\d+(?=w)", machine["text"].lower()))
        assert pages_of_machine and not pages_of_machine & pages_of_human
        fitted_on_pages |= pages_of_machine
    assert len(fitted_on_pages) == 12


def test_other_seed_deals_other_pages() -> None:
    passages = invent_passages(80, pages_of=5)
    first, again, other = (split_pages(passages, random.Random(seed)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("generator", GENERATORS, ids=lambda one: f"{one.model}-{one.decoding}")
def test_generator_writes_finished_sentences_again_and_again_the_same(generator: Generator) -> None:
    sentences = read_sentences(passage.text for passage in read_corpus()[:45])
    first, again = (
        [write(random.Random(seed)) for seed in range(50)] for write in [generator.fit(sentences)] * 2
    )
    assert first == again
    assert all(sentence[-1] in ".?!" for sentence in first)
    assert len(set(map(tuple, first))) > 40


def test_chain_without_backoff_writes_only_n_grams_it_has_seen() -> None:
    sequences = [["a", "b", "c", "a", "b", ".\n"], ["b", "c", "b", "a", ".\n"]]
    chain = MarkovChain(sequences, order=3, backoff=0.0)
    seen = {tuple(one[i : i + 3]) for one in sequences for i in range(len(one) - 2)}
    dice = random.Random(0)
    for _ in range(200):
        written = chain.write(dice)
        written[-1] += "\n"
        assert {tuple(written[i : i + 3]) for i in range(len(written) - 2)} <= seen


def test_chain_with_full_backoff_keeps_the_word_shares_at_any_temperature() -> None:
    sequences = [[symbol, ".\n"] for symbol in "aaab"]
    for temperature in (1.0, 0.5):
        chain = MarkovChain(sequences, order=2, temperature=temperature, backoff=1000.0)
        dice = random.Random(0)
        written = [symbol for _ in range(4000) for symbol in chain.write(dice) if symbol != "."]
        # 3 of 4 symbols are "a"; of about 4,000 draws the share is within 0.03 (four standard deviations).
        assert written.count("a") / len(written) == pytest.approx(0.75, abs=0.03)


def test_low_temperature_prefers_the_frequent_successor() -> None:
    sequences = [[symbol, ".\n"] for symbol in "aaab"]
    chain = MarkovChain(sequences, order=2, temperature=0.5, backoff=0.0)
    dice = random.Random(0)
    written = [chain.write(dice)[0] for _ in range(2000)]
    # Counts 3 and 1 squared: 9 of 10. Four standard deviations are 0.03.
    assert written.count("a") / 2000 == pytest.approx(0.9, abs=0.03)


def test_characters_make_words_that_do_not_exist() -> None:
    sentences = read_sentences(passage.text for passage in read_corpus()[:45])
    known = {word for sentence in sentences for word in sentence}
    write = fit_character_chain(sentences, order=4, backoff=0.1)
    dice = random.Random(0)
    assert any(word not in known for _ in range(50) for word in write(dice))


def test_cut_up_pastes_pieces_of_the_given_length() -> None:
    sentences = [[*(f"{letter}{i}" for i in range(9)), "."] for letter in "abcdefgh"]
    following = {first: second for sentence in sentences for first, second in pairwise(sentence)}
    write = fit_cut_up(sentences, shortest=3, longest=3)
    dice = random.Random(0)
    written = [write(dice) for _ in range(100)]
    for words in written:
        assert all(following[words[i - 1]] == words[i] for i in range(len(words)) if i % 3)
    assert any(following[words[2]] != words[3] for words in written if len(words) > 3)
