"""The model card: valid for the hub, complete, and honest about detection."""

import huggingface_hub
import pytest

from qwenkit.export.card import write_card
from qwenkit.modeling.identity import BaseIdentity
from tests.modeling.tiny_models import make_bundle

PARITY = {"rows": 256, "max_abs": 0.0123, "mean_abs": 0.004, "label_flips": 1}
HUB_BASE = BaseIdentity(name="Qwen/Qwen3-0.6B", kind="hub", revision="c" * 40)
TRAINING = {
    "dataset": "codefactory4791/raid_aligned_10k",
    "dataset_revision": "d" * 40,
    "rows": {"train": 8006, "validation": 987},
    "settings": {"num_train_epochs": 3.0, "learning_rate": 1e-4},
}


def write(folder, *, training=None, library="transformers", **fields):
    write_card(
        folder,
        bundle=make_bundle(**fields),
        library=library,
        form="merged into plain weights",
        usage="    classify --this\n",
        parity=PARITY,
        training=training or {},
    )
    return huggingface_hub.ModelCard.load(folder / "README.md")


def test_the_front_matter_names_base_and_data_that_are_on_the_hub(tmp_path):
    card = write(tmp_path, base_model=HUB_BASE, training=TRAINING)
    assert card.data.base_model == "Qwen/Qwen3-0.6B"
    assert card.data.base_model_relation == "finetune"
    assert card.data.datasets == ["codefactory4791/raid_aligned_10k"]
    assert write(tmp_path, base_model=HUB_BASE, library="peft").data.base_model_relation == "adapter"


def test_bases_and_files_that_are_not_on_the_hub_are_not_linked(tmp_path):
    card = write(tmp_path, training={"dataset": "essays.csv"})
    assert card.data.base_model is None
    assert card.data.datasets is None
    assert "essays.csv" in card.text


def test_the_card_tells_no_path_of_the_machine_it_was_made_on(tmp_path):
    base = BaseIdentity(name="/home/someone/secret/my-base", kind="folder", sha256="e" * 64)
    text = write(tmp_path, base_model=base).text
    assert "my-base" in text and "secret" not in text


def test_the_card_tells_revision_labels_metrics_data_parity_and_versions(tmp_path):
    measured = {"balanced_accuracy": 0.91234, "auroc": None, "confusion_matrix": [[1, 2], [3, 4]]}
    metrics = {"validation": measured}
    text = write(tmp_path, base_model=HUB_BASE, metrics=metrics, training=TRAINING).text
    for expected in (
        f"revision `{'c' * 40}`",
        f"revision `{'d' * 40}`",
        "0 = AI_Generated, 1 = Human_Written",
        "| balanced accuracy | 0.9123 |",
        "train: 8,006 rows",
        "| learning_rate | 0.0001 |",
        "largest logit difference 0.012",
        "1 labels changed",
        "| torch |",
        "Do not accuse a person",
        "at most 24 tokens",
        "merged into plain weights",
        "    classify --this",
    ):
        assert expected in text, expected
    assert "AUROC" not in text


def test_a_classifier_of_other_things_gets_no_advice_on_detection(tmp_path):
    card = write(tmp_path, labels=["negative", "positive"], positive_label="positive")
    assert "Ethics of detection" not in card.text
    assert "ai-generated-text-detection" not in card.data.tags


@pytest.mark.parametrize("label", ["a|b", "<script>", "[x](http://e)", "line\nbreak"])
def test_names_cannot_break_out_of_the_text(tmp_path, label):
    text = write(tmp_path, labels=[label, "human"], positive_label=label).text
    assert label not in text
