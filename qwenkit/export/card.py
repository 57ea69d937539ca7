"""The model card: what the model is, how well it does, and what it must not be used for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from qwenkit.modeling.bundle import Bundle
from qwenkit.text.normalize import RULES

CARD_NAME = "README.md"
SHOWN_METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1, weighted",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "tpr_at_fpr_5": "TPR at FPR 5 %",
    "tpr_at_fpr_1": "TPR at FPR 1 %",
}

LIMITS = """\
The scores above hold for texts like those of the data named here. Texts of other domains, languages,
lengths or years are a different question: measure on labelled texts of your own first. Texts are cut
after {max_length} tokens; what follows is not seen."""

DETECTION = """\
A detector of machine-written text is a statistical instrument. It gives evidence about many texts, never
proof about one.

- Do not accuse a person, grade, dismiss or refuse on its word. At a false-positive rate of 1 % one in a
  hundred honest authors is accused; choose the operating point on human texts of your own kind and say
  the rate.
- Second-language writers, formulaic genres and heavily edited texts are flagged more often.
- Paraphrasing, homoglyphs, zero-width characters and newer generators lower its recall; a low score does
  not show that a person wrote the text.
- Text that a person wrote and a machine polished, or the reverse, belongs to no class here."""


def write_card(
    folder: Path,
    *,
    bundle: Bundle,
    library: str,
    form: str,
    usage: str,
    parity: Mapping[str, Any],
    training: Mapping[str, Any],
) -> None:
    """Write README.md with the front matter that the hub reads.

    Args:
        library: The hub's library_name: transformers, peft, onnx, ...
        form: What the weights are, in a few words.
        usage: How to run the folder, as Markdown.
        parity: From measure_parity.
        training: May hold dataset (a name or hub id), dataset_revision, rows {split: count} and settings
            {name: value}.
    """
    front = yaml.safe_dump(build_front_matter(bundle, library=library, training=training), sort_keys=False)
    sections = [
        f"---\n{front}---\n",
        f"# {_plain(' or '.join(bundle.labels))}: a text classifier over {_name_base(bundle)}\n",
        _describe_model(bundle, form=form) + "\n\n" + usage,
        _describe_normalisation(bundle),
        _describe_data(training),
        _describe_results(bundle),
        _describe_operating_points(bundle),
        _describe_parity(parity),
        "## Intended use and limits\n\n" + LIMITS.format(max_length=bundle.max_length) + "\n",
    ]
    if is_detector(bundle):
        sections.append("## Ethics of detection\n\n" + DETECTION + "\n")
    sections.append(_table("Versions", ("package", "version"), bundle.versions))
    (folder / CARD_NAME).write_text("\n".join(section for section in sections if section), encoding="utf-8")


def build_front_matter(bundle: Bundle, *, library: str, training: Mapping[str, Any]) -> dict[str, Any]:
    """Collect what the hub indexes; a base or data set that is not on the hub is left out, not linked."""
    front: dict[str, Any] = {
        "library_name": library,
        "pipeline_tag": "text-classification",
        "tags": [
            "qwenkit",
            "text-classification",
            *(["ai-generated-text-detection"] if is_detector(bundle) else []),
        ],
        "metrics": ["accuracy", "f1", "roc_auc"],
    }
    if bundle.base_model.kind == "hub":
        front["base_model"] = bundle.base_model.name
        front["base_model_relation"] = "adapter" if library == "peft" else "finetune"
    dataset = str(training.get("dataset", ""))
    if training.get("dataset_revision"):
        front["datasets"] = [dataset]
    return front


def is_detector(bundle: Bundle) -> bool:
    """Tell from the label names whether the model separates machine text from human text."""
    words = {word for label in bundle.labels for word in label.lower().replace("-", "_").split("_")}
    return "human" in words


def _describe_model(bundle: Bundle, *, form: str) -> str:
    base = bundle.base_model
    sha256 = f"sha256 `{base.sha256}`"
    pinned = {"hub": f"revision `{base.revision}`", "folder": sha256, "own": sha256}.get(
        base.kind, "random, seeded"
    )
    classes = ", ".join(f"{index} = {_plain(label)}" for index, label in enumerate(bundle.labels))
    lines = [
        f"- base model: {_name_base(bundle)} ({pinned})",
        f"- {form}",
        f"- classes: {classes}; the positive one is {_plain(bundle.positive_label)}",
        f"- precision: {bundle.dtype}; at most {bundle.max_length} tokens; padded on the right with id "
        f"{bundle.pad_token_id}",
    ]
    return "\n".join(lines)


def _describe_normalisation(bundle: Bundle) -> str:
    """Say what has to be done to a text first: other programs read the weights, not qwenkit.json."""
    if not bundle.normalisation:
        return ""
    rules = "\n".join(f"- `{name}`: {RULES[name].title}" for name in bundle.normalisation)
    return (
        "## Text normalisation\n\nEvery text went through these rules before training, in this order, and "
        "has to before it is scored. qwenkit does it by itself (`normalisation` in qwenkit.json); with any "
        f"other program do it yourself, with `qwenkit.text.normalize.normalize_text`.\n\n{rules}\n"
    )


def _name_base(bundle: Bundle) -> str:
    """Name the base; of a folder only its last part, for the rest of the path is nobody's business."""
    base = bundle.base_model
    return _plain(Path(base.name).name if base.kind == "folder" else base.name)


def _describe_data(training: Mapping[str, Any]) -> str:
    if not training:
        return ""
    revision = f" (revision `{training['dataset_revision']}`)" if training.get("dataset_revision") else ""
    lines = [f"Trained on {_plain(training.get('dataset', 'data that is not named'))}{revision}."]
    lines += [""] if training.get("rows") else []
    lines += [f"- {_plain(split)}: {count:,} rows" for split, count in training.get("rows", {}).items()]
    table = _table("Training settings", ("setting", "value"), training.get("settings", {}))
    return "## Data\n\n" + "\n".join(lines) + "\n" + ("\n" + table if table else "")


def _describe_results(bundle: Bundle) -> str:
    measured = bundle.metrics.get("validation", {})
    shown = {
        title: f"{measured[name]:.4f}"
        for name, title in SHOWN_METRICS.items()
        if isinstance(measured.get(name), int | float)
    }
    return _table("Results on validation", ("metric", "value"), shown)


def _describe_operating_points(bundle: Bundle) -> str:
    if not bundle.operating_points:
        return ""
    lines = [
        f"- `{point.name}`: "
        + ("flags nothing" if point.probability is None else f"probability at least {point.probability:.6f}")
        + f"; finds {point.tpr:.1%}, wrongly flags {point.fpr:.2%} of {point.negatives:,} validation texts "
        f"(new ones: {point.fpr_interval[0]:.2%} to {point.fpr_interval[1]:.2%}, 95 % interval)"
        for point in bundle.operating_points.values()
    ]
    return (
        "## Operating points\n\nThresholds chosen on validation for a rate of texts wrongly called "
        f"{_plain(bundle.positive_label)}; `qwenkit predict --operating-point fpr=0.01` applies them.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def _describe_parity(parity: Mapping[str, Any]) -> str:
    return (
        "## Compared with the model that was trained\n\n"
        f"On {parity['rows']} validation rows: largest logit difference {parity['max_abs']:.2g}, "
        f"mean {parity['mean_abs']:.2g}, {parity['label_flips']} labels changed.\n"
    )


def _table(title: str, columns: tuple[str, str], rows: Mapping[str, Any]) -> str:
    if not rows:
        return ""
    lines = [f"| {columns[0]} | {columns[1]} |", "| --- | --- |"]
    lines += [f"| {_plain(name)} | {_plain(value)} |" for name, value in rows.items()]
    return f"## {title}\n\n" + "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    """Keep a name from being read as Markdown or HTML."""
    text = " ".join(str(value).split())
    for character in "\\`*|<>[]":
        text = text.replace(character, "\\" + character)
    return text
