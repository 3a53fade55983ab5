from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.files.records import TableStream


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def _write(name: str, content: str | bytes) -> str:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    return _write


def fields(stream: TableStream) -> list[dict]:
    return [row.fields for row in stream]


def test_every_column_of_every_row_as_often_as_asked(write):
    stream = TableStream(write("a.csv", 'id,text\n007,"two\nlines, \u0085"\n\n2,\n'))
    expected = [{"id": "007", "text": "two\nlines, \u0085"}, {"id": "2", "text": ""}]
    assert stream.columns == ["id", "text"]
    assert stream.survey("text") == 2
    assert fields(stream) == fields(stream) == expected
    assert [row.place for row in stream] == ["a.csv row 2", "a.csv row 4"]  # an empty line is counted


def test_tsv_quotes_are_text_unless_told(write):
    name = write("a.tsv", 'text\tid\n"so" he said\t1\n')
    assert fields(TableStream(name)) == [{"text": '"so" he said', "id": "1"}]
    with pytest.raises(DataError, match="row 2 cannot be read"):
        TableStream(name, quoting="minimal").survey("text")


def test_json_objects_may_differ_and_keep_their_values(write):
    lines = [{"text": "a", "stars": 5}, {"text": "b", "tags": ["x"], "stars": None}]
    stream = TableStream(write("a.jsonl", "\n".join(map(json.dumps, lines))))
    assert stream.columns == ["text", "stars"]
    assert stream.survey("text") == 2
    assert stream.columns == ["text", "stars", "tags"]
    assert fields(stream) == lines


def test_parquet_in_pieces(tmp_path: Path):
    frame = pd.DataFrame({"text": [f"text {n}" for n in range(3000)], "n": range(3000)})
    frame.to_parquet(tmp_path / "a.parquet")
    stream = TableStream(tmp_path / "a.parquet")
    assert stream.survey("n") == 3000
    assert fields(stream) == frame.to_dict("records")


def test_the_check_sees_value_and_place_of_each_row(write):
    seen: list = []
    TableStream(write("a.csv", "text\nx\ny\n")).survey("text", lambda *given: seen.append(given))
    assert seen == [("x", "a.csv row 2"), ("y", "a.csv row 3")]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "id,review\n1,x\n", r"a\.csv has no column 'text'; allowed: id, review"),
        ("a.csv", "id;text\n1;x\n", "separated by semicolons"),
        ("a.csv", "text,id\nx,1\ny\n", "a.csv row 3 has 1 fields where the header has 2"),
        ("a.csv", "text\n", "a header and no rows"),
        ("a.csv", "", "the table is empty"),
        ("a.csv", b"text\nx\n\xff\n", "row 3 contains a byte that is not utf-8; received: '0xff'"),
        ("a.csv", b"\x89PNG\r\n\x1a\n", "a PNG image"),
        ("a.txt", "text\nx\n", r"allowed: \.csv, \.tsv"),
        ("a.jsonl", '{"text": "a"}\n{"txt": "b"}\n', r"a\.jsonl line 2 has no column 'text'"),
        ("a.jsonl", "{]\n", "line 1 is not JSON"),
        ("a.parquet", b"PAR1 and nothing", "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_clear_line(write, name: str, content: str | bytes, expected: str):
    with pytest.raises(DataError, match=expected) as caught:
        TableStream(write(name, content)).survey("text")
    assert "\n" not in str(caught.value)


def test_what_is_no_table_and_options_that_there_are_not(write):
    name = write("reviews.csv", "text\nx\n")
    with pytest.raises(DataError, match=r"no such table.*did you mean 'reviews\.csv'"):
        TableStream("review.csv")
    with pytest.raises(DataError, match="the table is a folder"):
        TableStream(".")
    with pytest.raises(ConfigError, match="unknown encoding"):
        TableStream(name, encoding="latin-99")
    with pytest.raises(ConfigError, match="unknown quoting"):
        TableStream(name, quoting="double")


def test_a_field_without_end_is_refused_early(write):
    with pytest.raises(DataError, match="longer than 1,000 bytes"):
        TableStream(write("a.csv", 'text\n"' + "x\n" * 10_000), max_field_bytes=1000).survey("text")
