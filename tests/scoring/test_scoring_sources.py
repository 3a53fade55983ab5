"""What is scored: photos of folders, records of tables; where shards begin, and what is one item's own problem."""

import gzip
import json
import logging
import os
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tlkit.errors import DataError
from tlkit.inputs.image.folder_items import ImageFolder
from tlkit.inputs.items import Item, cut, readable
from tlkit.scoring.line_table import LineTable
from tlkit.scoring.parquet_table import ParquetTable


def items_of(source, size):
    """Read shard by shard, each on its own and the last one first."""
    shards = list(source.shards(size))
    assert [shard.number for shard in shards] == list(range(len(shards)))
    assert all(shard.items == size for shard in shards[:-1])
    read = {shard.number: list(source.read(shard)) for shard in reversed(shards)}
    return [item for shard in shards for item in read[shard.number]]


@pytest.mark.parametrize(("count", "size", "sizes"), [(0, 3, []), (1, 3, [1]), (6, 3, [3, 3]), (7, 3, [3, 3, 1])])
def test_items_are_cut_into_shards_that_begin_where_their_first_item_does(count, size, sizes):
    shards = list(cut(((10 * number, number + 1) for number in range(count)), size))
    assert [shard.items for shard in shards] == sizes
    assert [shard.begin for shard in shards] == [size * number for number in range(len(sizes))]
    assert [(shard.offset, shard.row) for shard in shards] == [(10 * s.begin, s.begin + 1) for s in shards]


TABLE = 'id,text\r\n1,"two\nlines, a comma"\n\n2,"a ""quote"""\n3,żółw\n4,\n5,"cr\rlf"\n'
TEXTS = ["two\nlines, a comma", 'a "quote"', "żółw", "", "cr\rlf"]
PLACES = [2, 4, 5, 6, 7]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(("name", "encoding"), [("t.csv", "utf-8"), ("t.csv.gz", "utf-8"), ("bom.csv", "utf-8-sig")])
def test_a_csv_is_read_from_any_shards_first_byte_on(tmp_path, name, encoding, size):
    data = TABLE.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    for table in (LineTable.of(tmp_path / name, column="text"), LineTable.of(tmp_path / name)):
        found = items_of(table, size)
        assert table.columns == ("id", "text")
        assert [item.fields["text"] for item in found] == TEXTS
        assert [item.number for item in found] == list(range(5))
        assert [item.place for item in found] == [f"{tmp_path / name} row {number}" for number in PLACES]
        assert not any(item.problem for item in found)
    assert [item.content for item in items_of(LineTable.of(tmp_path / name, column="text"), 2)] == TEXTS


def test_rows_are_what_tlkit_predict_reads_of_the_same_file(tmp_path):
    from tlkit.inputs.row.row_file import RowFile

    file = tmp_path / "uci.csv"
    file.write_text("a, b, c\n1, x, \n2, 'y', 3\n\n4, z, \"5, 6\"\n")
    rows = list(RowFile(file))
    found = items_of(LineTable.of(file), 2)
    assert [item.fields for item in found] == [item.fields for item in rows]
    assert [item.place for item in found] == [item.place for item in rows]


def test_a_tsv_of_texts_has_no_quotes_and_one_of_rows_has(tmp_path):
    (tmp_path / "t.tsv").write_text('text\tid\n"loud" film\t1\n')
    assert [item.content for item in items_of(LineTable.of(tmp_path / "t.tsv", column="text"), 5)] == ['"loud" film']
    (tmp_path / "r.tsv").write_text('a\tb\n"x\ty"\t1\n')
    assert [item.fields for item in items_of(LineTable.of(tmp_path / "r.tsv"), 5)] == [{"a": "x\ty", "b": "1"}]


def test_a_bad_record_is_that_items_own_problem(tmp_path):
    file = tmp_path / "t.csv"
    file.write_bytes(b"id,text\n1,good\n2\n3,caf\xe9\n4,nul\0\n5,fine,more\n6,good\n")
    found = items_of(LineTable.of(file, column="text"), 2)
    assert [item.content if not item.problem else None for item in found] == ["good", None, None, None, None, "good"]
    assert [item.problem for item in found] == [
        "",
        "1 fields where the header has 2",
        "column 'text' contains a byte that is not utf-8: 0xe9",
        "column 'text' contains NUL bytes",
        "3 fields where the header has 2",
        "",
    ]


def test_a_row_is_described_as_json_and_not_at_length():
    assert Item(0, "t row 2", None, {"a": "ä", "b": None}).describe() == '{"a": "ä", "b": null}'
    assert Item(0, "t row 2", None, {"a": "x" * 99}).describe(10) == '{"a": "xx…'
    assert Item(0, "t row 2", "a text", {"text": "a text"}).describe() == "a text"


def test_what_is_no_character_is_written_as_an_escape():
    text = b"a\xe9\xff".decode("utf-8", "surrogateescape") + "ż\ud800 😀"
    assert readable(text) == "a\\xe9\\xffż\\ud800 😀"
    assert readable("żółw") == "żółw"


def test_bad_lines_of_json_are_problems_too(tmp_path):
    file = tmp_path / "t.jsonl"
    lines = [
        '{"text": "a"}',
        "{",
        '["b"]',
        '{"other": 1}',
        '{"text": 3}',
        r'{"text": "\ud800"}',
        '{"text": "c", "n": 1}',
    ]
    file.write_text("\n\n".join(lines))
    table = LineTable.of(file, column="text")
    assert table.columns == ("text", "n")  # what is not scored adds no columns
    found = items_of(table, 3)
    assert [item.place.split()[-1] for item in found] == ["1", "3", "5", "7", "9", "11", "13"]
    assert [bool(item.problem) for item in found] == [False, True, True, True, True, True, False]
    assert "half of a surrogate pair" in found[5].problem
    assert table.types()["n"] == pa.int64()


def test_what_is_no_character_is_found_inside_json_values_and_in_names_too(tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_bytes(
        b'{"text": "a", "x": {"y": ["caf\xe9"]}}\n{"te\xe9xt": "b"}\n'
        b'{"text": "c", "x": [{"\\ud800": 1}]}\n{"text": "d"}'
    )
    table = LineTable.of(file, column="text")
    assert table.columns == ("text",)
    assert [item.problem for item in items_of(table, 2)] == [
        "column 'x' contains a byte that is not utf-8: 0xe9",
        "the name of a column contains a byte that is not utf-8: 0xe9",
        "column 'x' contains half of a surrogate pair",
        "",
    ]


def test_a_bad_byte_below_the_header_of_rows_does_not_hide_the_header(tmp_path):
    file = tmp_path / "t.csv"
    file.write_bytes(b"a, b\n1, x\n2, caf\xe9\n3, y\n")
    table = LineTable.of(file)
    assert table.columns == ("a", "b")
    found = items_of(table, 2)
    assert [item.fields for item in found] == [{"a": "1", "b": "x"}, {}, {"a": "3", "b": "y"}]
    assert found[1].problem == "column 'b' contains a byte that is not utf-8: 0xe9"


@pytest.mark.parametrize("column", ["", "text"])
def test_a_bad_byte_in_a_header_is_refused(tmp_path, column):
    (tmp_path / "t.csv").write_bytes(b"text,caf\xe9\n1,2\n")
    with pytest.raises(DataError, match=r"header of .*t.csv contains a byte that is not utf-8: 0xe9; .*pass encoding="):
        LineTable.of(tmp_path / "t.csv", column=column)


@pytest.mark.parametrize(
    ("mark", "told"), [(";", r"--separator ';'"), ("\t", r"--separator \$'\\t', or rename it to \.tsv")]
)
def test_another_separator_is_told_as_the_commands_option(tmp_path, mark, told):
    from typer.main import get_command

    from tlkit.cli.advice import sayer
    from tlkit.cli.main import app

    (tmp_path / "t.csv").write_text(f"x{mark}y\n1{mark}2\n")
    with pytest.raises(DataError, match=r'not by commas.*pass separator="') as raised:
        LineTable.of(tmp_path / "t.csv")
    said = raised.value.message(sayer(["score", "t.csv", "out.csv"], get_command(app)))
    assert re.search(rf"not by commas.*pass {told}$", said)


def test_a_file_in_utf_16_is_not_told_an_encoding_that_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n", encoding="utf-16")
    with pytest.raises(DataError, match="is in utf-16, not in utf-8.*save it as UTF-8$"):
        LineTable.of(tmp_path / "t.csv")


def test_every_line_of_a_txt_is_a_text_and_keeps_its_number(tmp_path):
    (tmp_path / "t.txt").write_bytes("one\r\n\n\u2028still one line\nend".encode())
    found = items_of(LineTable.of(tmp_path / "t.txt", column="text"), 2)
    assert [item.content for item in found] == ["one", "", "\u2028still one line", "end"]
    assert found[3].place.endswith("t.txt line 4")


def test_a_jsonl_with_only_texts_is_still_json(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n\n{"text": "b"}\n')
    assert [item.content for item in items_of(LineTable.of(tmp_path / "t.jsonl", column="text"), 1)] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'a,b\n1,2\n3,"open\n4,5\n', "row 3 cannot be read.*quote"),
        (b"", "empty"),
        (b"a,a\n1,2\n", "several columns of one name"),
        (b"\x89PNG\r\n", "PNG image"),
    ],
)
def test_what_hides_where_records_begin_is_an_error(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(LineTable.of(tmp_path / "t.csv").shards(10))


def test_an_encoding_whose_line_breaks_are_two_bytes_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n", encoding="utf-16")
    with pytest.raises(DataError, match="utf-16.*allowed: .*utf-8"):
        LineTable.of(tmp_path / "t.csv", encoding="utf-16")


@pytest.mark.parametrize("size", [1, 3, 4, 7, 100])
def test_parquet_shards_begin_in_the_middle_of_row_groups(tmp_path, size):
    frame = pd.DataFrame({"text": [f"text {number}" for number in range(10)], "n": range(10)})
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "t.parquet", row_group_size=4)
    found = items_of(ParquetTable.of(tmp_path / "t.parquet", column="text"), size)
    assert [item.content for item in found] == list(frame["text"])
    assert [item.fields["n"] for item in found] == list(range(10))
    assert [item.place for item in found] == [f"{tmp_path / 't.parquet'} data row {number}" for number in range(1, 11)]


def test_a_parquet_row_without_text_is_a_problem(tmp_path):
    pd.DataFrame({"text": ["a", None, "b"]}).to_parquet(tmp_path / "t.parquet")
    found = items_of(ParquetTable.of(tmp_path / "t.parquet", column="text"), 2)
    assert [item.problem for item in found] == ["", "column 'text' contains no text", ""]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_bad_byte_in_parquet_is_that_rows_problem(tmp_path, size):
    raw = pa.array([b"good", b"caf\xe9", b"fine"])
    broken = pa.StringArray.from_buffers(3, *raw.buffers()[1:])
    pq.write_table(pa.table({"id": [1, 2, 3], "text": broken}), tmp_path / "t.parquet")
    found = items_of(ParquetTable.of(tmp_path / "t.parquet", column="text"), size)
    assert [item.content for item in found] == ["good", None, "fine"]
    assert found[1].problem == "column 'text' contains a byte that is not utf-8: 0xe9"
    assert found[1].fields == {"id": 2}


def test_photos_are_listed_in_the_order_of_sorted_paths_and_as_they_were_in_the_beginning(tmp_path):
    names = ["b/2.jpg", "b/1.PNG", "a.jpg", "b.jpg", "b-c/x.webp", "b/deep/er/y.gif", "z\n.bmp", "ż.jpeg", ".h.jpg"]
    for name in [*names, "notes.txt", "b/readme", "jpg"]:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"x")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "in" / "b")
    (tmp_path / "kept").mkdir()
    before = ImageFolder(tmp_path / "in").digest()
    source = ImageFolder(tmp_path / "in").placed(tmp_path / "kept")
    (tmp_path / "in" / "aa.jpg").write_bytes(b"too late")
    found = items_of(source, 2)
    wanted = sorted(tmp_path / "in" / name for name in names if name != ".h.jpg")
    assert source.counts == {
        "found": len(names) + 4,
        "used": len(wanted),
        "left_out": {"files that are no images": 3, "hidden files": 1, "linked folders": 1},
    }
    assert [item.content for item in found] == [str(path) for path in wanted]
    assert ImageFolder(tmp_path / "in").digest() != before


def test_a_photo_that_is_another_one_changes_the_digest(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    before = ImageFolder(tmp_path).digest()
    assert ImageFolder(tmp_path).digest() == before
    os.utime(tmp_path / "a.jpg", ns=(1, 1))
    assert ImageFolder(tmp_path).digest() != before


def test_linked_folders_are_named_in_one_warning_and_links_to_nothing_are_problems(tmp_path, caplog):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "good.jpg").write_bytes(b"x")
    (folder / "linked.jpg").symlink_to(folder / "sub" / "good.jpg")
    for name, leads_to in [("gone.png", "nowhere"), ("loop.jpg", "loop.jpg"), ("gone.txt", "nowhere")]:
        (folder / name).symlink_to(leads_to)
    for name in ("back", "back.jpg", "sub/up"):
        (folder / name).symlink_to(folder)
    ImageFolder(folder).digest()
    assert not caplog.records
    caplog.set_level(logging.INFO, "tlkit")
    found = items_of(ImageFolder(folder).placed(tmp_path), 2)
    assert [os.path.relpath(item.content, folder) for item in found] == [
        "gone.png", "linked.jpg", "loop.jpg", "sub/good.jpg",
    ]  # fmt: skip
    told = "is a broken link"
    text = "is not an image but text (known formats: JPEG, PNG, GIF, BMP, WebP)"
    assert [item.problem for item in found] == [
        f"{folder}/gone.png {told}", f"{folder}/linked.jpg {text}", f"{folder}/loop.jpg {told}",
        f"{folder}/sub/good.jpg {text}",
    ]  # fmt: skip
    counts, record = caplog.records
    assert "found 8 entries: 4 used; left out: 3 linked folders" in counts.getMessage()
    assert f"1 links that lead to no file ({folder}/gone.txt)" in counts.getMessage()
    linked = ", ".join(str(folder / name) for name in ("back", "back.jpg", "sub/up"))
    assert record.levelno == logging.WARNING
    assert f"linked folders are not followed: {linked};" in record.getMessage()


def test_photos_are_called_as_their_folder_was_named(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    from pathlib import Path

    [item] = items_of(ImageFolder(Path("in")).placed(tmp_path), 5)
    assert item.fields == {"input": "in/a.jpg"}
    assert item.content == str(tmp_path / "in" / "a.jpg")
    name, size, _, problem = json.loads((tmp_path / "listing.jsonl").read_text())
    assert (name, size) == ("a.jpg", 1)
    assert item.problem == f"in/a.jpg {problem}"
