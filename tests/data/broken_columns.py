"""Broken inputs whose columns, labels, shards or splits are not those expected."""

from tests.data.good_inputs import BrokenInput, change_rows, each, edit, swap, to_jsonl

JSON = "qwenkit.data.json_damage"
SHARDS = "qwenkit.data.shards"
LABELS = "qwenkit.data.labels"
PREPARE = "qwenkit.data.prepare"
TABLES = "qwenkit.data.rows"

COLUMNS = [
    BrokenInput(
        "text column missing",
        "rows.csv",
        swap("text,label", "body,label"),
        f"{TABLES}.refuse_missing",
        ('text column "text" is not in the data; it has: body, label', "Set model.text_column"),
    ),
    BrokenInput(
        "label column missing",
        "rows.jsonl",
        edit(lambda content: content.replace(b'"label"', b'"Label"')),
        f"{TABLES}.refuse_missing",
        ('label column "label" is not in the data; it has: text, Label', "Set model.label_column"),
    ),
    BrokenInput(
        "blanks around names",
        "rows.csv",
        swap("text,label", " text , label"),
        f"{TABLES}.refuse_missing",
        ('it has: " text ", " label"',),
    ),
    BrokenInput(
        "hostile column name",
        "rows.csv",
        swap("text,label", "text,label\x1b[31m\u202e"),
        f"{TABLES}.refuse_missing",
        ("label\\u001b[31m\\u202e",),
    ),
    BrokenInput(
        "no name",
        "rows.csv",
        swap("text,label", ",label"),
        f"{TABLES}.refuse_missing",
        ('it has: "", label',),
    ),
    BrokenInput(
        "too many columns to list",
        "rows.csv",
        swap("text,label", ",".join(f"c{i}" for i in range(2000))),
        f"{TABLES}.refuse_missing",
        ("c28, c29 and 1,970 more",),
    ),
    BrokenInput(
        "text in lists",
        "rows.jsonl",
        change_rows(each(text=lambda _, row: [row["text"]]), to_jsonl),
        f"{LABELS}.refuse_nested",
        ('the column "text" holds List(String), not text', "Set model.text_column"),
    ),
    BrokenInput(
        "domain column missing",
        "rows.csv",
        lambda _: None,
        f"{TABLES}.refuse_missing",
        ('domain column "topic" is not in the data', "Set dataset.domain_column"),
        ("dataset.domain_column=topic",),
    ),
    BrokenInput(
        "group column missing",
        "rows.csv",
        lambda _: None,
        f"{TABLES}.refuse_missing",
        ('group column "author" is not in the data', "Set dataset.group_columns"),
        ("dataset.group_columns=[author]",),
    ),
]

LABEL_VALUES = [
    BrokenInput(
        "other labels",
        "rows.csv",
        edit(lambda content: content.replace(b"AI_Generated", b"bot").replace(b"Human_Written", b"me")),
        f"{LABELS}.refuse_unknown_labels",
        (
            "no label is one of model.labels (AI_Generated, Human_Written)",
            '"bot" (30), "me" (30)',
            "model.label_mapping",
        ),
    ),
    BrokenInput(
        "labels in lists",
        "rows.jsonl",
        change_rows(each(label=lambda _, row: [row["label"]]), to_jsonl),
        f"{LABELS}.refuse_nested",
        ('the column "label" holds List(String)', "Set model.label_column"),
    ),
    BrokenInput(
        "one class only",
        "rows.csv",
        edit(lambda content: content.replace(b"Human_Written", b"AI_Generated")),
        f"{PREPARE}._require_rows",
        ('train has no row of Human_Written; it has "AI_Generated" (48)', "model.labels"),
    ),
    BrokenInput(
        "mapping lacks a value",
        "rows.csv",
        lambda _: None,
        f"{LABELS}.refuse_unmapped",
        (
            'model.label_mapping says nothing about "AI_Generated" (30)',
            'holds: "AI_Generated" (30), "Human_Written" (30)',
            "null to drop",
        ),
        ("model.labels=[a, b]", "model.label_mapping={Human_Written: a, ai: b}"),
    ),
    BrokenInput(
        "mapping to no class",
        "rows.csv",
        lambda _: None,
        "qwenkit.config.checks._CHECKS",
        ("model.label_mapping", "robot is not one of model.labels: AI_Generated, Human_Written"),
        ("model.label_mapping={0: robot, 1: Human_Written, 2: AI_Generated}",),
    ),
    BrokenInput(
        "mapping forgets a class",
        "rows.csv",
        lambda _: None,
        "qwenkit.config.checks._CHECKS",
        ("model.label_mapping", "no value stands for AI_Generated"),
        ("model.label_mapping={0: Human_Written, 1: Human_Written}",),
    ),
    BrokenInput(
        "positive label unknown",
        "rows.csv",
        lambda _: None,
        "qwenkit.config.checks._CHECKS",
        ("evaluation.positive_label", "robot is not one of model.labels"),
        ("evaluation.positive_label=robot",),
    ),
]

SCHEMAS = [
    BrokenInput(
        "label missing in a shard",
        "set",
        edit(lambda content: content.replace(b'"label"', b'"class"'), "b.jsonl"),
        f"{PREPARE}.refuse_lacking",
        ('no column "label" in b.jsonl (30 rows; it has: text, class)', "model.label_column"),
    ),
    BrokenInput(
        "text missing in a shard",
        "set",
        edit(lambda content: content.replace(b'"text"', b'"body"'), "a.jsonl"),
        f"{PREPARE}.refuse_lacking",
        ('no column "text" in a.jsonl (30 rows; it has: body, label)', "model.text_column"),
    ),
    BrokenInput(
        "ids beside names",
        "set",
        change_rows(each(label=lambda i, _: i % 2), to_jsonl, "a.jsonl"),
        f"{PREPARE}.refuse_mixed_labels",
        ('the column "label" is a number in a.jsonl, but text in b.jsonl', "model.label_mapping"),
    ),
    BrokenInput(
        "booleans beside names",
        "set",
        change_rows(each(label=lambda i, _: i % 2 == 0), to_jsonl, "b.jsonl"),
        f"{PREPARE}.refuse_mixed_labels",
        ('"label" is text in a.jsonl, but true or false in b.jsonl', "Say in model.label_mapping"),
    ),
    BrokenInput(
        "lists beside texts",
        "set",
        change_rows(each(text=lambda _, row: [row["text"]]), to_jsonl, "b.jsonl"),
        f"{SHARDS}.refuse_unfit_kinds",
        ('the column "text" is text in a.jsonl, but a list in b.jsonl', "one kind in all files"),
    ),
    BrokenInput(
        "cut shard",
        "set",
        edit(lambda content: content[:-9], "b.jsonl"),
        f"{JSON}.refuse_bad_lines",
        ("b.jsonl: 1 of 30 lines is not a JSON object", "line 30"),
    ),
]

SPLITS = [
    BrokenInput(
        "other columns in a split",
        "splits",
        swap("text,label", "body,label", "test.csv"),
        f"{TABLES}.refuse_missing",
        ('text column "text" is not in the test split; it has: body, label',),
    ),
    BrokenInput(
        "no train",
        "splits",
        lambda path: (path / "train.csv").unlink(),
        "qwenkit.data.splits.refuse_no_train",
        ('split "train" is not in the data; it has: validation, test', "Set dataset.train_split"),
    ),
    BrokenInput(
        "shares over one",
        "rows.csv",
        lambda _: None,
        "qwenkit.config.checks._CHECKS",
        ("dataset.split_ratios", "add up to 1"),
        ("dataset.split_ratios=[0.8, 0.2, 0.1]",),
    ),
]
