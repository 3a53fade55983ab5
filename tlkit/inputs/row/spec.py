"""Rows of tables as an input: a value for each column."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.errors import DataError
from tlkit.inputs.base import FileSource, InputSpec, RowSource
from tlkit.inputs.row.columns import sample_of
from tlkit.inputs.wire import ABSENT

if TYPE_CHECKING:
    from tlkit.inputs.row.preprocessing import TablePreprocessing

SPEC = InputSpec(
    name="row",
    takes="a value for each column",
    wire="tlkit.inputs.row.spec:wire",
    golden="tlkit.inputs.row.golden:golden",
    warmup="tlkit.inputs.row.golden:warmup",
    hostile="tlkit.inputs.row.hostile",
    commands="tlkit.inputs.row.commands:RowCommands",
    nothing="tlkit.inputs.row.spec:nothing",
    signature="tlkit.inputs.row.signature:signature",
    raw_checks="tlkit.inputs.row.signature:raw_checks",
    table="tlkit.inputs.row.preprocessing:TablePreprocessing",
    examine="tlkit.inputs.row.examine:examine",
    drift="tlkit.inputs.row.drift",
    drift_items=5000,
    sent="tlkit.inputs.row.sent_rows:SentRows",
    row_source=RowSource(
        rows="tlkit.inputs.row.row_file:RowFile",
        typed="tlkit.inputs.row.typed_rows:TypedRows",
        looked_up="tlkit.inputs.row.project_rows:ProjectRows",
    ),
    files=FileSource(has_labels=False, quoted_tsv=True),
    batch=4096,
    shard=32_768,
    request="""CURL -d '{"instances": [{"COLUMN": VALUE, ...}]}'""",
)


def wire(preprocessing: TablePreprocessing) -> dict[str, Any]:
    """Return the interface's fields of the columns of a preprocessing."""
    forms = preprocessing.forms or {}
    columns = tuple(
        {
            "name": column.name,
            "argument": column.argument,
            "dtype": column.dtype,
            "kind": type(column).__name__.lower(),
            "absent": ABSENT[column.dtype],
            "form": forms[column.name].to_dict() if column.name in forms and column.dtype != "string" else {},
            "sample": sample_of(column) if preprocessing.unreadable == "error" else "",
        }
        for column in preprocessing.columns
    )
    return {
        "content": "row",
        "input": "",
        "feature": "",
        "raw_signature": "encoded",
        "raw_input": "encoded",
        "raw_dtype": "float32",
        "raw_shape": (None, int(preprocessing.width)),
        "columns": columns,
        "code_sizes": tuple(int(code.size) for code in preprocessing.codes),
    }


def nothing(path: Path) -> DataError:
    """Make the error that a table holds no row."""
    return DataError("the table has no rows", received=str(path))
