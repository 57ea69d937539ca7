"""Broken inputs with lines that are no rows."""

from tests.data.good_inputs import BrokenInput, change_rows, each, edit, put, swap, to_json, to_jsonl

CSV = "qwenkit.data.csv_rows"
JSON = "qwenkit.data.json_damage"
READERS = "qwenkit.data.readers"
TABLES = "qwenkit.data.rows"


def bad_lines(content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    lines[4] = b'{"text": "x", "label" "AI_Generated"}\n'
    lines[9] = b"[1, 2]\n"
    lines[20] = b"\x1b[31mgarbage\n"
    for place in range(30, 37):
        lines[place] = lines[place][:-9] + b"\n"
    return b"".join(lines)


CSV_ROWS = [
    BrokenInput(
        "rows too long",
        "rows.csv",
        swap("number 7 is", "number 7, that is,"),
        f"{CSV}.refuse_long_rows",
        ("more fields than the 2 that the header names: line 9 (4 fields)", "in double quotes"),
    ),
    BrokenInput(
        "many rows too long",
        "rows.csv",
        edit(lambda content: content.replace(b" about", b", about")),
        f"{CSV}.refuse_long_rows",
        ("line 2 (3 fields), line 3 (3 fields)", "and 55 more"),
    ),
    BrokenInput(
        "quote never closed",
        "rows.csv",
        swap("number 7", '"number 7'),
        f"{CSV}.refuse_broken_quotes",
        ("a quote opened in the row that begins in line 9 is never closed", '("")'),
    ),
    BrokenInput(
        # polars would take the end of the file for the end of the text.
        "quote never closed in the last row",
        "rows.csv",
        swap("number 59", '"number 59'),
        f"{CSV}.refuse_broken_quotes",
        ("a quote opened in the row that begins in line 61 is never closed", '("")'),
    ),
    BrokenInput(
        "text behind a quote",
        "rows.csv",
        swap("number 7 is", '"number\n7" is'),
        f"{CSV}.refuse_broken_quotes",
        ("lines 9 to 10: text follows a closing quote", '("")'),
    ),
    BrokenInput(
        # polars would leave these two quotes out.
        "quoted word in a quoted text",
        "rows.csv",
        swap("number 7 is about subject 49", '"number 7 is "about" subject 49"'),
        f"{CSV}.refuse_broken_quotes",
        ("line 9: text follows a closing quote", '("")'),
    ),
    BrokenInput(
        # polars would make one row of these two.
        "two texts with one quote each",
        "rows.csv",
        edit(
            lambda content: content.replace(b"number 7 is", b'"number 7 "is"').replace(
                b"number 8", b'"number" 8"'
            )
        ),
        f"{CSV}.refuse_broken_quotes",
        ("text follows a closing quote", '("")'),
    ),
    BrokenInput(
        "semicolons",
        "rows.csv",
        edit(lambda content: content.replace(b",", b";")),
        f"{CSV}.refuse_other_separator",
        ('has a single column, "text;label"', "semicolons", "Expected commas"),
    ),
    BrokenInput(
        "commas in a tsv",
        "rows.tsv",
        edit(lambda content: content.replace(b"\t", b",")),
        f"{CSV}.refuse_other_separator",
        ("stand apart by commas", "Expected tabs"),
    ),
    BrokenInput(
        "column named twice",
        "rows.csv",
        swap("text,label", "label,label"),
        f"{CSV}.refuse_repeated_names",
        ('columns 1 and 2 are both named "label"', "Rename"),
    ),
    BrokenInput(
        "header only",
        "rows.csv",
        put(b"text,label\n"),
        f"{READERS}.refuse_no_rows",
        ("names the columns text, label, but has no rows", "right file"),
    ),
    BrokenInput(
        "no header",
        "rows.csv",
        edit(lambda content: content.split(b"\n", 1)[1]),
        f"{TABLES}.refuse_missing",
        ('text column "text" is not in the data; it has: number 0 is about', "model.text_column"),
    ),
]

JSON_LINES = [
    BrokenInput(
        "bad lines",
        "rows.jsonl",
        edit(bad_lines),
        f"{JSON}.refuse_bad_lines",
        (
            "10 of 60 lines are not a JSON object",
            "line 5, column 23: Expecting ':' delimiter, found \"AI_Generated\"",
            "line 10: a list where an object is expected, found [1, 2]",
            "line 21, column 1",
            "\\u001b[31mgarbage",
            "and 5 more",
            "Mend or delete these lines",
        ),
    ),
    BrokenInput(
        "cut off",
        "rows.jsonl",
        edit(lambda content: content[:-9]),
        f"{JSON}.refuse_bad_lines",
        ("1 of 60 lines is not a JSON object", "line 60, column 68: a text that does not end"),
    ),
    BrokenInput(
        "NaN",
        "rows.jsonl",
        swap('"label"', '"n": NaN, "label"'),
        f"{JSON}.refuse_bad_lines",
        ("line 1: NaN is not JSON",),
    ),
    BrokenInput(
        "nested without end",
        "rows.jsonl",
        swap('"label"', '"n": ' + "[" * 5000 + "]" * 5000 + ', "label"'),
        f"{JSON}.refuse_bad_lines",
        ("line 1: nested too deeply",),
    ),
    BrokenInput(
        "blank lines only",
        "rows.jsonl",
        put(b"\n \n\n"),
        f"{JSON}.refuse_bad_lines",
        ("has no rows: its lines are all blank",),
    ),
    BrokenInput(
        "cr line ends",
        "rows.jsonl",
        edit(lambda content: content.replace(b"\n", b"\r")),
        f"{JSON}.refuse_old_line_ends",
        ("lines that end in CR alone", "where LF is expected", "tr '\\r' '\\n'"),
    ),
    BrokenInput(
        "number too large",
        "rows.jsonl",
        swap('"label"', '"n": ' + "9" * 40 + ', "label"'),
        f"{JSON}.refuse_unfit_values",
        ('line 1: "n" is a number of 40 digits', "64 bits", "as text"),
    ),
    BrokenInput(
        "object beside numbers",
        "rows.jsonl",
        change_rows(each(n=lambda i, _: {"a": 1} if i == 7 else i), to_jsonl),
        f"{JSON}.refuse_unfit_values",
        ('"n" is a number in line 1, but an object in line 8', "one kind"),
    ),
    BrokenInput(
        "object beside texts",
        "rows.jsonl",
        change_rows(each(text=lambda i, row: {"a": 1} if i == 7 else row["text"]), to_jsonl),
        f"{JSON}.refuse_nested_among_texts",
        ('line 8: "text" is an object, but text in other lines',),
    ),
    BrokenInput(
        "key given twice",
        "rows.jsonl",
        swap('"label"', '"text": "other", "label"'),
        f"{JSON}.refuse_repeated_keys",
        ('row 1 gives "text" twice', "Take the other out"),
    ),
    BrokenInput(
        "array cut off",
        "rows.json",
        edit(lambda content: content[:-40]),
        f"{JSON}.read_array",
        ("is not JSON: line 1, column", "Was the file cut off?"),
    ),
    BrokenInput(
        "array of numbers",
        "rows.json",
        put(b'[{"text": "a"}, 5]'),
        f"{JSON}.refuse_bad_entries",
        ("entry 2 of 2 is a number, where every row must be an object",),
    ),
    BrokenInput(
        "object beside texts in an array",
        "rows.json",
        change_rows(each(text=lambda i, row: {"a": 1} if i == 7 else row["text"]), to_json),
        f"{JSON}.refuse_unfit_values",
        ('"text" is text in entry 1, but an object in entry 8', "one kind"),
    ),
    BrokenInput(
        "rows inside an object",
        "rows.json",
        edit(lambda content: b'{"data": ' + content + b"}"),
        f"{READERS}.refuse_wrapped_rows",
        ('is one object, with the rows in "data"', "jq '.\"data\"'"),
    ),
    BrokenInput("empty array", "rows.json", put(b"[]"), f"{READERS}.refuse_no_rows", ("but has no rows",)),
]
