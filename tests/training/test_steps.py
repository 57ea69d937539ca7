"""Which documents make a step, and how it is cut and padded."""

from itertools import chain, combinations, pairwise

import numpy as np
import pytest
import torch
from accelerate import skip_first_batches
from hypothesis import given
from hypothesis import strategies as st

from qwenkit.ranks import ALONE, Ranks
from qwenkit.training.plan import TrainingPlan
from qwenkit.training.steps import (
    MICRO_BATCH_COST,
    MICRO_BATCH_COST_SHARE,
    StepDocuments,
    StepLoader,
    StepSampler,
    build_micro_batch,
    collate_step,
    cut_step,
    pad_documents,
)
from qwenkit.training.validation import choose_stratified_rows
from tests.training.tiny_training import LABELS, PAD, make_config, make_rows


def make_plan(*, documents: int = 8, tokens: int | None = None, multiple_of: int = 8) -> TrainingPlan:
    return TrainingPlan(
        labels=LABELS,
        class_weights=[1.0, 1.0],
        pad_token_id=PAD,
        documents_per_micro_batch=documents,
        micro_batch_tokens=tokens,
        eval_batch_tokens=512,
        pad_to_multiple_of=multiple_of,
    )


def draw_epoch(
    rows: int, per_step: int, *, epoch: int = 0, ranks: Ranks = ALONE, seed: int = 42
) -> list[list[int]]:
    lengths = np.random.default_rng(1).integers(1, 384, size=rows)
    sampler = StepSampler(lengths, documents_per_step=per_step, seed=seed, ranks=ranks)
    sampler.set_epoch(epoch)
    steps = list(sampler)
    assert len(steps) == len(sampler)
    return steps


@given(
    rows=st.integers(1, 300),
    per_step=st.integers(1, 64),
    world_size=st.integers(1, 5),
    epoch=st.integers(0, 3),
)
def test_each_document_comes_exactly_once_an_epoch_over_all_ranks(rows, per_step, world_size, epoch):
    shares = [
        draw_epoch(rows, per_step, epoch=epoch, ranks=Ranks(rank, world_size)) for rank in range(world_size)
    ]
    assert len({len(steps) for steps in shares}) == 1
    whole = draw_epoch(rows, per_step, epoch=epoch)
    for step, of_ranks in zip(whole, zip(*shares, strict=True), strict=True):
        assert sorted(index for share in of_ranks for index in share) == sorted(step)
    assert sorted(index for step in whole for index in step) == list(range(rows))


def test_every_step_but_the_last_is_full():
    assert [len(step) for step in draw_epoch(70, 32)] == [32, 32, 6]


def test_order_depends_on_seed_and_epoch_alone():
    assert draw_epoch(50, 8) == draw_epoch(50, 8)
    assert draw_epoch(50, 8) != draw_epoch(50, 8, epoch=1)
    other_seed = draw_epoch(50, 8, seed=43)
    assert other_seed != draw_epoch(50, 8)
    # Seed and epoch must not add up, or run 43 would repeat run 42 one epoch later.
    assert other_seed != draw_epoch(50, 8, epoch=1)


@pytest.mark.parametrize("world_size", [2, 8])
def test_a_full_step_is_dealt_evenly_by_tokens(world_size):
    lengths = np.random.default_rng(1).integers(1, 384, size=300)
    first = [draw_epoch(300, 256, ranks=Ranks(rank, world_size))[0] for rank in range(world_size)]
    tokens = [int(lengths[share].sum()) for share in first]
    assert max(tokens) - min(tokens) <= 0.01 * np.mean(tokens)
    by_turns = draw_epoch(300, 256)[0]
    unsorted = [int(lengths[by_turns[rank::world_size]].sum()) for rank in range(world_size)]
    assert max(unsorted) - min(unsorted) > 0.02 * np.mean(unsorted)


def test_collate_sorts_by_length_and_keeps_each_document_together():
    rows = make_rows(20)
    chosen = list(range(19, 2, -1))
    step = collate_step(StepDocuments(rows).__getitems__(chosen))
    lengths = step["lengths"].tolist()
    assert lengths == sorted(lengths, reverse=True)
    documents = {rows[i]["row_id"]: (rows[i]["input_ids"], rows[i]["labels"]) for i in chosen}
    pieces = step["input_ids"].split(lengths)
    for row_id, piece, label in zip(step["row_ids"].tolist(), pieces, step["labels"].tolist(), strict=True):
        assert documents[row_id] == (piece.tolist(), label)


def test_rows_of_equal_length_are_collated_too():
    """The numpy format turns such rows into one matrix instead of a list."""
    rows = make_rows(20).map(lambda row: {"input_ids": row["input_ids"][:3], "length": 3})
    assert collate_step(StepDocuments(rows).__getitems__([1, 2]))["lengths"].tolist() == [3, 3]


def test_an_empty_share_is_collated_to_empty_tensors():
    step = collate_step(StepDocuments(make_rows(5)).__getitems__([]))
    assert {name: tuple(tensor.shape) for name, tensor in step.items()} == {
        "input_ids": (0,),
        "lengths": (0,),
        "labels": (0,),
        "row_ids": (0,),
    }
    assert cut_step([], make_plan()) == []


def test_equal_parts_are_cut_when_there_is_no_budget():
    assert cut_step([9] * 20, make_plan(documents=8)) == [slice(0, 8), slice(8, 16), slice(16, 20)]


@given(
    lengths=st.lists(st.integers(1, 64), min_size=1, max_size=80),
    tokens=st.integers(1, 400),
    multiple_of=st.sampled_from([1, 8]),
)
def test_a_token_budget_is_kept_and_covers_every_document(lengths, tokens, multiple_of):
    lengths = sorted(lengths, reverse=True)
    plan = make_plan(tokens=tokens, multiple_of=multiple_of)
    cuts = cut_step(lengths, plan)
    assert [i for cut in cuts for i in range(cut.start, cut.stop)] == list(range(len(lengths)))
    for cut in cuts:
        width = -(-lengths[cut.start] // multiple_of) * multiple_of
        count = cut.stop - cut.start
        assert count == 1 or count * width <= tokens


def cost_of(cuts: list[slice], lengths: list[int], tokens: int) -> float:
    widths = [-(-length // 8) * 8 for length in lengths]
    padded = sum((cut.stop - cut.start) * widths[cut.start] for cut in cuts)
    return padded + len(cuts) * min(tokens * MICRO_BATCH_COST_SHARE, MICRO_BATCH_COST)


@given(lengths=st.lists(st.integers(1, 64), min_size=1, max_size=8), tokens=st.integers(64, 600))
def test_no_other_cuts_cost_less(lengths, tokens):
    lengths = sorted(lengths, reverse=True)
    inner = range(1, len(lengths))
    others = []
    for chosen in chain.from_iterable(combinations(inner, count) for count in range(len(lengths))):
        edges = [0, *chosen, len(lengths)]
        cuts = [slice(start, stop) for start, stop in pairwise(edges)]
        if all((cut.stop - cut.start) * -(-lengths[cut.start] // 8) * 8 <= tokens for cut in cuts):
            others.append(cost_of(cuts, lengths, tokens))
    found = cost_of(cut_step(lengths, make_plan(tokens=tokens)), lengths, tokens)
    assert found == pytest.approx(min(others))


def test_short_documents_are_not_laid_beside_long_ones_to_fill_a_budget():
    assert cut_step([384] * 3 + [64] * 40, make_plan(tokens=4096)) == [slice(0, 3), slice(3, 43)]


def test_micro_batches_are_padded_on_the_right_to_a_multiple():
    step = {
        "input_ids": torch.tensor([5, 6, 7, 8, 9, 1, 2, 3, 4]),
        "lengths": torch.tensor([5, 3, 1]),
        "labels": torch.tensor([0, 1, 0]),
    }
    batch = build_micro_batch(step, [5, 3, 1], slice(1, 3), make_plan(multiple_of=4))
    assert batch["input_ids"].tolist() == [[1, 2, 3, PAD], [4, PAD, PAD, PAD]]
    assert batch["labels"].tolist() == [1, 0]


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=12))
def test_padding_keeps_every_token_in_place(lengths):
    flat = torch.arange(1, sum(lengths) + 1)
    padded = pad_documents(flat, torch.tensor(lengths), width=max(lengths), pad_token_id=0)
    for row, piece in zip(padded, flat.split(lengths), strict=True):
        assert row[: len(piece)].tolist() == piece.tolist()
        assert not row[len(piece) :].any()


@pytest.mark.parametrize("workers", [0, 1])
def test_skipping_batches_of_a_later_epoch_gives_the_same_steps(workers):
    """What the Trainer does on a resume, through accelerate."""

    class Arguments:
        dataloader_num_workers = workers
        dataloader_pin_memory = False
        dataloader_persistent_workers = False
        seed = 42

    rows = make_rows(40)
    sampler = StepSampler(rows["length"], documents_per_step=8, seed=42)
    loader = StepLoader(rows, sampler=sampler, arguments=Arguments())
    loader.set_epoch(2)
    whole = [step["row_ids"].tolist() for step in loader]
    sampler.set_epoch(0)
    skipping = skip_first_batches(loader, 3)
    # The Trainer finds the sampler below accelerate's by this very path.
    skipping.batch_sampler.batch_sampler.set_epoch(2)
    assert [step["row_ids"].tolist() for step in skipping] == whole[3:]


def test_a_stratified_subset_has_the_class_shares_of_the_whole():
    label_ids = np.array([0] * 700 + [1] * 300)
    rows = choose_stratified_rows(label_ids, size=50, seed=1)
    assert len(set(rows.tolist())) == 50
    assert label_ids[rows].sum() == 15
    assert (rows == choose_stratified_rows(label_ids, size=50, seed=1)).all()
    assert (rows != choose_stratified_rows(label_ids, size=50, seed=2)).any()
    assert choose_stratified_rows(label_ids, size=5000, seed=1).tolist() == list(range(1000))


@pytest.mark.filterwarnings("ignore:.*pin_memory.*no accelerator:UserWarning")
def test_steps_are_loaded_ahead_into_pinned_memory(make_trainer):
    trainer = make_trainer(config=make_config(dataloader_num_workers=1))
    # As on a GPU; here pinning does nothing.
    trainer.args.dataloader_pin_memory = True
    loader = trainer.get_train_dataloader()
    assert loader.pin_memory
    assert loader.num_workers == 1 and loader.prefetch_factor >= 2
    assert loader.persistent_workers
    iterator = iter(loader)
    first = next(iterator)
    assert first["input_ids"].sum() > 0 and set(first) == {"input_ids", "lengths", "labels", "row_ids"}
