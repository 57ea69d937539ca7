"""The table of broken inputs: a good one, what spoils it, what must be said, and which check says it.

Each row starts from a good input and spoils one thing. `check` is the function that finds it: with that one
taken out the message must be gone, so that no other check can be what finds it.
"""

from tests.data.broken_archives import ARCHIVES
from tests.data.broken_columns import COLUMNS, LABEL_VALUES, SCHEMAS, SPLITS
from tests.data.broken_files import ENCODING, PARQUET
from tests.data.broken_lines import CSV_ROWS, JSON_LINES
from tests.data.broken_sets import NAMES, NOTHING_LEFT

GROUPS = {
    "encoding": ENCODING,
    "csv": CSV_ROWS,
    "json": JSON_LINES,
    "parquet": PARQUET,
    "archives": ARCHIVES,
    "columns": COLUMNS,
    "labels": LABEL_VALUES,
    "empties and sizes": NOTHING_LEFT,
    "names": NAMES,
    "schemas": SCHEMAS,
    "splits": SPLITS,
}
BROKEN_INPUTS = {f"{group}: {row.name}": row for group, rows in GROUPS.items() for row in rows}
