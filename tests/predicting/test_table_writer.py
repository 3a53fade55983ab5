"""What is written into a table is read back as it was, by the kit's own readers, by csv and by pandas."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.files.records import TableStream
from tlkit.inputs.row.row_file import RowFile
from tlkit.predicting.table_writer import CellRules, TableWriter, is_binary
from tlkit.scoring.line_table import LineTable
from tlkit.separated import separated_writer, without_formula

# Everything that a file in UTF-8 can hold, with what divides fields, records and lines occurring often.
CHARACTERS = st.one_of(
    st.sampled_from(["\r", "\n", "\t", ",", ";", '"', "'", " ", "\ufeff", "\x0b", "\x1c", "\x85", "\u2028", "=", "a"]),
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
)
TEXTS = st.text(CHARACTERS, max_size=12)
ROWS = st.lists(st.lists(TEXTS, min_size=2, max_size=2), min_size=1, max_size=5)
NAMES = ["one", "two"]
PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(path: Path, rows: list, names: list[str] = NAMES, rules: CellRules | None = None) -> Path:
    how = {"mode": "wb"} if is_binary(path) else {"mode": "w", "encoding": "utf-8", "newline": ""}
    schema = pa.schema([(name, pa.string()) for name in names])
    with path.open(**how) as file, TableWriter(path, file, names, lambda: schema, rules) as table:
        for number, row in enumerate(rows):
            table.write(dict(zip(names, row, strict=True)), f"row {number + 2}")
    return path


def by_csv(path: Path, separator: str = ",", **options) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [*csv.reader(file, delimiter=separator, **options)]


def of_stream(path: Path) -> list[list[object]]:
    return [[row.fields[name] for name in NAMES] for row in TableStream(path)]


def of_rows(path: Path) -> list[list[object]]:
    return [[item.fields[name] for name in NAMES] for item in RowFile(path)]


def of_score(path: Path, column: str = "") -> list[list[object]]:
    table = LineTable.of(path, column=column)
    items = [item for shard in table.shards(100) for item in table.read(shard)]
    assert [item.problem for item in items] == [""] * len(items)
    return [[item.fields[name] for name in NAMES] for item in items]


@given(rows=ROWS)
@PROPERTY
def test_a_csv_is_read_back_as_it_was(tmp_path: Path, rows: list[list[str]]):
    path = written(tmp_path / "a.csv", rows)
    assert by_csv(path) == [NAMES, *rows]
    assert of_stream(path) == of_rows(path) == of_score(path) == of_score(path, "one") == rows
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert frame.to_numpy().tolist() == rows


@given(rows=ROWS)
@PROPERTY
def test_a_tsv_of_rows_is_read_back_as_it_was(tmp_path: Path, rows: list[list[str]]):
    path = written(tmp_path / "a.tsv", rows)
    assert by_csv(path, "\t") == [NAMES, *rows]
    assert of_rows(path) == of_score(path) == rows
    assert pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False).to_numpy().tolist() == rows


@given(rows=ROWS)
@PROPERTY
def test_a_tsv_of_texts_holds_a_row_as_it_was_or_refuses_it(tmp_path: Path, rows: list[list[str]]):
    path = tmp_path / "a.tsv"
    holds = [not any(mark in field for field in row for mark in "\t\r\n") for row in rows]
    kept = []
    with (
        path.open("w", encoding="utf-8", newline="") as file,
        TableWriter(path, file, NAMES, dict, CellRules(False)) as table,
    ):
        for row, fits in zip(rows, holds, strict=True):
            if fits:
                table.write(dict(zip(NAMES, row, strict=True)), "r")
                kept.append(row)
                continue
            with pytest.raises(
                DataError, match=r"^r holds a (tab|line break), which this \.tsv cannot hold; write \.csv"
            ):
                table.write(dict(zip(NAMES, row, strict=True)), "r")
    assert by_csv(path, "\t", quoting=csv.QUOTE_NONE) == [NAMES, *kept]
    if kept:
        assert of_stream(path) == of_score(path, "one") == kept


@given(rows=ROWS)
@PROPERTY
def test_jsonl_and_parquet_are_read_back_as_they_were(tmp_path: Path, rows: list[list[str]]):
    lines = written(tmp_path / "a.jsonl", rows)
    assert of_stream(lines) == of_rows(lines) == of_score(lines) == rows
    assert of_rows(written(tmp_path / "a.parquet", rows)) == rows


@pytest.mark.parametrize("text", ["a\rb", "\r", "a\r\nb", "a\nb", 'say "b"', "a,b", "\ufeffa", ""])
@pytest.mark.parametrize("names", [["text"], ["id", "text"]])
def test_one_row_stays_one_row(tmp_path: Path, text: str, names: list[str]):
    row = [text, text][: len(names)]
    path = written(tmp_path / "a.csv", [row], names)
    assert by_csv(path) == [names, row]
    assert len(pd.read_csv(path, dtype=str, keep_default_na=False)) == 1


def test_the_first_column_may_begin_like_a_byte_order_mark(tmp_path: Path):
    path = written(tmp_path / "a.csv", [["1", "2"]], ["\ufeffone", "two"])
    assert by_csv(path)[0] == ["\ufeffone", "two"]
    assert RowFile(path).survey() == (["\ufeffone", "two"], 1)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_what_no_text_file_holds_is_refused_and_nothing_of_it_is_written(tmp_path: Path, suffix: str):
    path = tmp_path / f"a{suffix}"
    with path.open("w", encoding="utf-8", newline="") as file, TableWriter(path, file, NAMES, dict) as table:
        with pytest.raises(DataError, match=r"r 2 holds a NUL character, which this \.\w+ cannot hold; write "):
            table.write({"one": "a\0b", "two": "c"}, "r 2")
        with pytest.raises(DataError, match="r 3 holds half of a surrogate pair, which is not a character"):
            table.write({"one": "a", "two": "\ud800"}, "r 3")
        table.write({"one": "a", "two": "b"}, "r 4")
    assert by_csv(path, "\t" if suffix == ".tsv" else ",") == [NAMES, ["a", "b"]]


def test_half_of_a_surrogate_pair_costs_one_row_of_parquet(tmp_path: Path):
    path = tmp_path / "a.parquet"
    schema = pa.schema([("one", pa.string())])
    with path.open("wb") as file, TableWriter(path, file, ["one"], lambda: schema) as table:
        table.write({"one": "a"}, "r 2")
        with pytest.raises(DataError, match="r 3 holds half of a surrogate pair"):
            table.write({"one": "\udcff"}, "r 3")
    assert pd.read_parquet(path)["one"].tolist() == ["a"]


def test_a_record_of_one_empty_field_needs_quotes():
    file = io.StringIO()
    separated_writer(file)([""])
    assert file.getvalue() == '""\n'
    with pytest.raises(ValueError, match="nothing but one empty field"):
        separated_writer(io.StringIO(), "\t", quoted=False)([""])


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("=1+1", "'=1+1"),
        ('=HYPERLINK("http://a")', '\'=HYPERLINK("http://a")'),
        ("+A1", "'+A1"),
        ("-A1", "'-A1"),
        ("-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0"),
        ("-2-3", "'-2-3"),
        ("-", "'-"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        *(
            (same, same)
            for same in ("-3.5", "+1e-5", "-1.234,50", "-1 234", "-$8.84", "-8,84 €", "-12%", "-.5", "-inf")
        ),
        *((same, same) for same in ("a=b", "", "'=1", " =1", "1+1")),
        (-3.5, -3.5),
        (None, None),
        (True, True),
    ],
)
def test_cells_that_a_spreadsheet_runs_are_escaped_and_numbers_are_not(cell: object, expected: object):
    assert without_formula(cell) == expected


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_escaping_covers_cells_and_names_of_columns(tmp_path: Path, suffix: str):
    rows = [["=1+1", "-3"], ["plain", -3]]
    path = written(tmp_path / f"a{suffix}", rows, ["@name", "two"], CellRules(escape_formulas=True))
    assert by_csv(path, "\t" if suffix == ".tsv" else ",") == [["'@name", "two"], ["'=1+1", "-3"], ["plain", "-3"]]
    assert by_csv(written(tmp_path / "b.csv", rows, ["@name", "two"]))[1] == ["=1+1", "-3"]


def test_escaping_is_refused_where_no_spreadsheet_reads_text():
    CellRules(escape_formulas=True).check(".tsv")
    CellRules().check(".parquet")
    with pytest.raises(ConfigError, match=r"--escape-formulas is an option for \.csv and \.tsv; received: '\.parquet'"):
        CellRules(escape_formulas=True).check(".parquet")


def test_values_that_are_no_texts_are_written_as_before(tmp_path: Path):
    path = written(tmp_path / "a.csv", [[1.5, None], [True, ["x", "y"]]])
    assert by_csv(path)[1:] == [["1.5", ""], ["True", json.dumps(["x", "y"])]]
