from __future__ import annotations

import csv
import gzip
import json
import logging
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.files.records import read_columns
from tlkit.inputs.text.folder import list_folder
from tlkit.inputs.text.listing import list_table, list_texts, split_files

ODD = ["\u0085", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\r", "\n", "\r\n"]


def write(path, content: str | bytes):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def table(tmp_path, content: str | bytes, name: str = "reviews.csv"):
    return write(tmp_path / name, content)


# What a field holds


@pytest.mark.parametrize("mark", ODD, ids=[repr(mark) for mark in ODD])
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_odd_line_breaks_stay_in_their_field(tmp_path, mark, name):
    texts = [f"one{mark}two", f"{mark}", "three"]
    with (tmp_path / name).open("w", encoding="utf-8", newline="") as stream:
        if name == "t.csv":
            writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
            writer.writerows([["text", "label"], *([text, "x"] for text in texts)])
        else:
            stream.writelines(json.dumps({"text": text, "label": "x"}, ensure_ascii=False) + "\n" for text in texts)
    columns = read_columns(tmp_path / name, ["text"])
    assert columns.values["text"] == texts
    first = 2 if name == "t.csv" else 1
    word = "row" if name == "t.csv" else "line"
    assert columns.places == [f"{tmp_path / name} {word} {first + number}" for number in range(3)]


@pytest.mark.parametrize("mark", ["\u0085", "\u2028", "\x0b", "\x0c", "\x1c", "\x1e"], ids=repr)
def test_odd_line_breaks_stay_in_fields_without_quotes(tmp_path, mark):
    for name, separator in (("t.csv", ","), ("t.tsv", "\t")):
        path = table(tmp_path, f"text{separator}label\none{mark}two{separator}x\n", name)
        assert read_columns(path, ["text"]).values["text"] == [f"one{mark}two"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)] * 2),
        min_size=1,
        max_size=6,
    )
)
def test_whatever_csv_wrote_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    values = read_columns(path, ["b", "a"]).values
    assert list(zip(values["a"], values["b"], strict=True)) == rows


def test_tsv_takes_quotes_as_they_are_and_csv_does_not(tmp_path):
    content = 'text\tlabel\n"the best\tgood\n6" screen\tbad\n'
    assert read_columns(table(tmp_path, content, "t.tsv"), ["text"]).values["text"] == ['"the best', '6" screen']
    quoted = table(tmp_path, 'text\tlabel\n"a\ttab"\tgood\n', "q.tsv")
    assert read_columns(quoted, ["text"], quoting="minimal").values["text"] == ["a\ttab"]
    plain = table(tmp_path, 'text,label\n"the best,good\n', "p.csv")
    assert read_columns(plain, ["text"], quoting="none").values["text"] == ['"the best']


def test_a_text_of_a_megabyte_is_read_and_pythons_own_limit_is_restored(tmp_path):
    before = 131_072  # as Python has it
    csv.field_size_limit(before)
    path = table(tmp_path, f"text,label\n{'a' * 1_000_000},x\n")
    assert len(read_columns(path, ["text"]).values["text"][0]) == 1_000_000
    assert csv.field_size_limit() == before


def test_encodings(tmp_path):
    for encoding, content in (
        ("utf-8", "text,label\nfaçade,x\n".encode()),
        ("utf-8", "text,label\nfaçade,x\n".encode("utf-8-sig")),
        ("UTF8", "text,label\nfaçade,x\n".encode("utf-8-sig")),
        ("latin-1", "text,label\nfaçade,x\n".encode("latin-1")),
        ("utf-16", "text,label\nfaçade,x\n".encode("utf-16")),
        ("cp1252", "text,label\nfaçade,x\n".encode("cp1252")),
    ):
        assert read_columns(table(tmp_path, content), ["text"], encoding=encoding).values["text"] == ["façade"]
    line = '{"text": "façade"}\n'.encode("utf-8-sig")
    assert read_columns(table(tmp_path, line, "t.jsonl"), ["text"]).values["text"] == ["façade"]


@pytest.mark.parametrize("encoding", ["klingon", "hex", "rot13", 5])
def test_an_unknown_encoding_is_an_error(tmp_path, encoding):
    with pytest.raises(ConfigError, match="unknown encoding"):
        read_columns(table(tmp_path, "text,label\na,b\n"), ["text"], encoding=encoding)


def test_an_undecodable_byte_names_its_row_however_far_ahead_it_is_read(tmp_path):
    good = b'text,label\n"one\ntwo",x\n' + b"fine,x\n" * 15
    with pytest.raises(DataError, match=r"reviews.csv row 18 \(ends in line 19\) contains a byte that is not utf-8"):
        read_columns(table(tmp_path, good + b"caf\xe9,x\nmore,x\n"), ["text"])
    with pytest.raises(DataError, match=r"received: '0xe9'; pass encoding=\"latin-1\""):
        read_columns(table(tmp_path, good + b"caf\xe9,x\nmore,x\n"), ["text"])
    with pytest.raises(DataError, match=r"reviews.csv row 1 contains a byte"):
        read_columns(table(tmp_path, b"t\xe9xt,label\na,b\n"), ["label"])
    with pytest.raises(DataError, match=r"t.jsonl line 2 contains a byte.*'0xff'"):
        read_columns(table(tmp_path, b'{"text": "a"}\n{"text": "\xff"}\n', "t.jsonl"), ["text"])
    with pytest.raises(DataError, match="reviews.csv is not utf-16"):
        read_columns(table(tmp_path, "text,label\na,b\n".encode("utf-16")[:-1]), ["text"], encoding="utf-16")


# What is refused


def test_a_ragged_row_is_named_with_its_fields(tmp_path):
    path = table(tmp_path, 'text,label\n"one\ntwo",x\n\nthree, four,x\n')
    with pytest.raises(DataError, match=r"row 4 \(lines 5 to 5\) has 3 fields where the header has 2.*must be quoted"):
        read_columns(path, ["text"])
    with pytest.raises(DataError, match="t.tsv row 2 has 1 fields where the header has 2; a text cannot hold"):
        read_columns(table(tmp_path, "text\tlabel\nalone\n", "t.tsv"), ["text"])


def test_a_missing_column_lists_those_there_are(tmp_path):
    path = table(tmp_path, "review,sentiment\na,b\n")
    with pytest.raises(DataError, match="has no column 'sentimant'; allowed: review, sentiment; did you mean 'senti"):
        list_table(path, text_column="review", label_column="sentimant")
    with pytest.raises(DataError, match="separated by semicolons"):
        list_table(table(tmp_path, "text;label\na;b\n"))
    with pytest.raises(DataError, match="t.jsonl line 2 has no column 'label'; allowed: text"):
        list_table(table(tmp_path, '{"text": "a", "label": 1}\n{"text": "b"}\n', "t.jsonl"))
    with pytest.raises(DataError, match="the table has no column 'text'; allowed: 0, label"):
        list_table(pd.DataFrame({0: ["a"], "label": ["b"]}))
    pd.DataFrame({"txt": ["a"], "label": ["b"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="has no column 'text'; allowed: txt, label; did you mean 'txt'"):
        list_table(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "the table is empty"),
        ("t.csv", b"\n\n", "the table is empty"),
        ("t.jsonl", b" \n", "the table is empty"),
        ("t.csv", b"text,label\n", "a header and no rows"),
        ("t.csv", b"text,label,text\na,b,c\n", "several columns of one name; received: 'text'"),
        ("t.csv", b"PK\x03\x04 rest", "it is a zip archive or a spreadsheet"),
        ("t.csv", b"\x89PNG\r\n", "it is a PNG image"),
        ("t.csv", gzip.compress(b"text,label\n", mtime=0), "compressed with gzip"),
        ("t.csv", b"text,label\na\0b,c\n", "row 2 contains NUL bytes, which no text has; remove them, or the row"),
        (
            "t.csv",
            "text,label\na,c\n".encode("utf-16-le"),
            "NUL bytes: the file is not text; if it is UTF-16, pass enc",
        ),
        ("t.csv", "text,label\na,b\n".encode("utf-16"), 'in utf-16, not in utf-8.*pass encoding="utf-16"'),
        ("t.csv", b'text,label\na,b\n"never closed,c\nd,e\n', "the quote that .*row 3 .lines 3 to 4. opens is never"),
        ("t.csv", b'text,label\n"a "b" c",d\n', "row 2 cannot be read.*field twice"),
        ("t.jsonl", b'{"text": "a"}\n{"text": \n', "line 2 is not JSON"),
        ("t.jsonl", b"[1, 2]\n", "line 1 is not a JSON object"),
        ("t.jsonl", b"[" * 100_000 + b"\n", "line 1 is not JSON"),
        ("t.parquet", b"nonsense", "cannot be read"),
        ("t.xlsx", b"", "unknown table format"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read_columns(table(tmp_path, content, name), ["text"])
    assert caught.value.exit_code == 2


def test_a_missing_file_names_the_nearest(tmp_path):
    table(tmp_path, "text,label\n")
    with pytest.raises(DataError, match="no such table.*did you mean 'reviews.csv'"):
        read_columns(tmp_path / "review.csv", ["text"])
    with pytest.raises(DataError, match="the table is a folder"):
        read_columns(tmp_path, ["text"])


@pytest.mark.parametrize(
    ("name", "start", "part"),
    [
        ("big.csv", b"text,label\nok,x\n", b"a"),
        ("big.csv", b'text,label\nok,x\n"', b"a line of a text that never ends\n"),
        ("big.tsv", b"text\tlabel\nok\tx\n", b"a"),
        ("big.jsonl", b'{"text": "ok"}\n{"text": "', b"a"),
    ],
    ids=["csv", "csv with an open quote", "tsv", "jsonl"],
)
def test_a_giant_field_is_refused_in_bounded_memory(tmp_path, name, start, part):
    path = tmp_path / name
    block = part * (1_000_000 // len(part))
    with path.open("wb") as stream:
        stream.write(start)
        for _ in range(200):
            stream.write(block)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"(row 3|line 2).* is longer than 10,000,000 bytes"):
            read_columns(path, ["text"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 80e6  # of 200 MB; Python's csv module takes 4 bytes a character


def test_the_limit_counts_bytes_and_can_be_moved(tmp_path):
    path = table(tmp_path, "text,label\n" + "é" * 100 + ",x\n")
    assert len(read_columns(path, ["text"], max_field_bytes=202).values["text"][0]) == 100
    with pytest.raises(DataError, match="row 2 is longer than 199 bytes"):
        read_columns(path, ["text"], max_field_bytes=199)
    with pytest.raises(DataError, match="longer than 5 bytes"):
        list_table(pd.DataFrame({"text": ["a" * 9], "label": ["b"]}), max_field_bytes=5)


# Labels and other columns


def test_labels_keep_their_spelling(tmp_path):
    path = table(tmp_path, "text,label\na,007\nb,NA\nc,True\nd,1.0\ne, 1 \n")
    assert list(list_table(path).labels) == ["007", "NA", "True", "1.0", "1"]
    path = table(tmp_path, '{"text": "a", "label": 1}\n{"text": "b", "label": 1.0}\n', "t.jsonl")
    assert list(list_table(path).labels) == ["1", "1"]
    assert list(list_table(pd.DataFrame({"text": ["a", "b"], "label": [0, 1]})).labels) == ["0", "1"]
    assert list(list_table(pd.DataFrame({"text": ["a", "b"], "label": [0.0, 1.0]})).labels) == ["0", "1"]
    assert list(list_table(pd.DataFrame({"text": ["a", "b"], "label": [0.5, 1.0]})).labels) == ["0.5", "1"]
    frame = pd.DataFrame({"text": ["a", "b"], "label": pd.Categorical(["x", "y"])})
    frame.to_parquet(tmp_path / "t.parquet")
    listing = list_table(tmp_path / "t.parquet")
    assert list(listing.labels) == ["x", "y"]
    assert listing.places[1] == f"{tmp_path / 't.parquet'} data row 2"


@pytest.mark.parametrize("kind", ["string[pyarrow]", "string[python]", "arrow", "dictionary"])
def test_texts_and_labels_of_every_type_of_text(kind):
    def column(values):
        if kind.startswith("string"):
            return pd.Series(values, dtype=kind)
        array = pa.array(values)
        return pd.Series(pd.arrays.ArrowExtensionArray(array.dictionary_encode() if kind == "dictionary" else array))

    frame = pd.DataFrame({"text": column(["a", "b"]), "label": column(["x", "y"]), "site": column(["s", "t"])})
    listing = list_table(frame, group_column="site")
    assert (listing.texts, list(listing.labels), listing.groups) == (["a", "b"], ["x", "y"], ["s", "t"])


def test_several_labels_from_one_field_lists_or_columns(tmp_path):
    wanted = [frozenset({"a", "b"}), frozenset(), frozenset({"b"})]
    path = table(tmp_path, "text,label\n1,a | b\n2,\n3,b|\n")
    assert list(list_table(path, label_separator="|").labels) == wanted
    lines = [{"text": "1", "label": ["a", "b"]}, {"text": "2", "label": []}, {"text": "3", "label": ["b"]}]
    listing = list_table(table(tmp_path, "\n".join(map(json.dumps, lines)), "t.jsonl"))
    assert list(listing.labels) == wanted
    assert listing.multi_label
    pd.DataFrame(lines).to_parquet(tmp_path / "t.parquet")
    assert list(list_table(tmp_path / "t.parquet").labels) == wanted
    path = table(tmp_path, "text,b,a\n1,1,1.0\n2,0,False\n3,true,0\n")
    listing = list_table(path, label_columns=["b", "a"])
    assert list(listing.labels) == wanted
    assert listing.class_names == ["b", "a"]


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        ({"text": ["a", 5], "label": "x"}, {}, "data row 2 has no text in column 'text'; received: 'int 5'"),
        ({"text": ["a", None], "label": "x"}, {}, "data row 2 has no text.*received: 'nothing'.*empty text as"),
        ({"text": ["a", float("nan")], "label": "x"}, {}, "data row 2 has no text.*received: 'nothing'"),
        ({"text": ["a", {"b": 1}], "label": "x"}, {}, 'data row 2 has no text.*received: "dict'),
        ({"text": ["a", b"b"], "label": "x"}, {}, 'data row 2 has no text.*received: "bytes'),
        (
            {"text": pd.Series(["a", "\ud800"], dtype=object), "label": "x"},
            {},
            r"data row 2 holds half of a surrogate pair.*U\+D800",
        ),
        ({"text": ["a", "b"], "label": ["x", " "]}, {}, "data row 2 has nothing in column 'label'"),
        ({"text": ["a", "b"], "label": ["x", None]}, {}, "data row 2 has nothing in column 'label'"),
        ({"text": ["a", "b"], "label": ["x", {}]}, {}, "data row 2 has no plain value in column 'label'"),
        ({"text": ["a", "b"], "label": [["x"], "y"]}, {}, "data row 2 has a single label.*other rows have lists"),
        (
            {"text": ["a"], "p": ["2"], "q": ["0"]},
            {"label_columns": ["p", "q"]},
            "data row 1 has no 0 or 1.*allowed: 0",
        ),
        ({"text": ["a"], "label": "x", "s": "trial"}, {"split_column": "s"}, "unknown value in column 's'.*'trial'"),
        ({"text": ["a"], "label": "x", "g": [None]}, {"group_column": "g"}, "data row 1 has nothing in column 'g'"),
        ({"text": [], "label": []}, {}, "the table has no rows"),
    ],
)
def test_a_bad_value_names_its_row(frame, options, message):
    with pytest.raises(DataError, match=message):
        list_table(pd.DataFrame(frame), **options)


def test_arguments_that_exclude_each_other(tmp_path):
    for options in (
        {"label_separator": "|", "label_columns": ["a", "b"]},
        {"label_separator": ""},
        {"label_columns": ["a"]},
        {"label_columns": "ab"},
        {"time_column": "t", "group_column": "g"},
    ):
        with pytest.raises(ConfigError):
            list_table(table(tmp_path, "text,label\na,b\n"), **options)


def test_texts_without_labels(tmp_path):
    texts, places = list_texts(table(tmp_path, "text\na\n\nb\n"))
    assert texts == ["a", "b"]
    assert places == [f"{tmp_path / 'reviews.csv'} row {row}" for row in (2, 4)]


# Parts


def test_a_file_for_each_split(tmp_path):
    for name, text in (("train.tsv", "a"), ("dev.tsv", "b"), ("test.tsv", "c")):
        table(tmp_path, f"text\tlabel\n{text}\tx\n", name)
    table(tmp_path, "unrelated", "notes.csv")
    listing = list_table(tmp_path)
    assert listing.splits == ["train", "val", "test"]
    assert listing.texts == ["a", "b", "c"]
    mapping = {"train": tmp_path / "train.tsv", "test": tmp_path / "test.tsv"}
    assert list_table(mapping).splits == [None, "test"]
    table(tmp_path, "text,label\n", "val.csv")
    with pytest.raises(DataError, match="two files for the val split"):
        list_table(tmp_path)
    with pytest.raises(DataError, match="unknown split; received: 'trian'.*did you mean 'train'"):
        split_files({"trian": "x.csv"})
    with pytest.raises(ConfigError, match="a file for each split cannot be combined with"):
        list_table(mapping, split_column="label")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="contains no table for training.*texts_from_folder"):
        list_table(tmp_path / "empty")


def test_a_split_column(tmp_path):
    path = table(tmp_path, "text,label,part\na,x,Train\nb,y,TEST\n")
    assert list_table(path, split_column="part").splits == [None, "test"]
    path = table(tmp_path, "text,label,part\na,x,train\nb,y,dev\n")
    assert list_table(path, split_column="part").splits == ["train", "val"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "x", None), ("b", "x", None)], "needs at least two classes; received: .'x'."),
        ([("a", "x", "train"), ("b", "y", "train"), ("c", "z", "test")], "the test split has a class.*'z .*data row 3"),
        ([("a", "x", "test"), ("b", "y", "test")], "no training texts; received: .'test'."),
        ([(" ", "x", None), ("\n\u2028", "y", None)], "all texts are empty"),
    ],
)
def test_what_cannot_be_trained_on(rows, message):
    frame = pd.DataFrame(rows, columns=["text", "label", "part"])
    options = {} if frame["part"].isna().all() else {"split_column": "part"}
    with pytest.raises(DataError, match=message):
        list_table(frame, **options).check_trainable()


def test_a_label_column_without_a_one():
    frame = pd.DataFrame({"text": ["a", "b"], "p": [0, 1], "q": [0, 0]})
    with pytest.raises(DataError, match="no training text has this label; received: 'q'"):
        list_table(frame, label_columns=["p", "q"]).check_trainable()


# Folders


def imdb(root):
    for part in ("train", "test"):
        for label in ("pos", "neg"):
            (root / part / label).mkdir(parents=True)
            write(root / part / label / "0_9.txt", f"{part} {label}\u0085odd\r\n")
        write(root / part / "labeledBow.feat", "9 0:1")
        write(root / part / "urls_pos.txt", "a page")
    (root / "train" / "unsup").mkdir()
    write(root / "train" / "unsup" / "0_0.txt", "no label")
    write(root / "train" / "pos" / "notes.feat", "1 2")
    write(root / "train" / "pos" / ".hidden.txt", "hidden")
    write(root / "README", "about")
    return root


def test_a_folder_like_aclimdb(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "tlkit"):
        listing = list_folder(imdb(tmp_path / "aclImdb"))
    assert list(zip(listing.labels, listing.splits, strict=True)) == [
        ("neg", None), ("pos", None), ("neg", "test"), ("pos", "test"),
    ]  # fmt: skip
    assert listing.texts[1] == "train pos\u0085odd\r\n"
    assert listing.places[1].endswith("train/pos/0_9.txt")
    assert "unsup: its texts have no label" in caplog.text
    assert "skipped 1 files in" in caplog.text


def test_a_folder_without_parts(tmp_path):
    for label in ("good", "bad"):
        (tmp_path / label / "deeper").mkdir(parents=True)
        write(tmp_path / label / "deeper" / "1.TXT", "façade".encode("latin-1"))
    assert list_folder(tmp_path, encoding="latin-1").texts == ["façade"] * 2
    with pytest.raises(
        DataError, match="bad/deeper/1.TXT contains a byte that is not utf-8 in line 1, at byte 3.*0xe7"
    ):
        list_folder(tmp_path)


def test_a_folder_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match="the data folder does not exist"):
        list_folder(tmp_path / "none")
    with pytest.raises(DataError, match="not a folder; received.*texts_from_table"):
        list_folder(table(tmp_path, "text,label\n"))
    with pytest.raises(DataError, match="no class folders.*use texts_from_table for .*reviews.csv"):
        list_folder(tmp_path)
    (tmp_path / "pos").mkdir()
    with pytest.raises(DataError, match="contains no .txt files"):
        list_folder(tmp_path)
    write(tmp_path / "pos" / "a.txt", b"text \0 and zeros")
    with pytest.raises(DataError, match="a.txt contains NUL bytes"):
        list_folder(tmp_path)
    write(tmp_path / "pos" / "a.txt", b"\xff\xd8\xff photo")
    with pytest.raises(DataError, match="it is a JPEG image"):
        list_folder(tmp_path)
    write(tmp_path / "pos" / "a.txt", b"a" * 30)
    with pytest.raises(DataError, match="a.txt is longer than 20 bytes"):
        list_folder(tmp_path, max_field_bytes=20)
    with pytest.raises(DataError, match="needs at least two classes; received: .'pos'."):
        list_folder(tmp_path).check_trainable()


def test_numbers_of_numpy_are_labels_too():
    frame = pd.DataFrame({"text": ["a", "b"], "label": np.array([np.int64(3), np.bool_(True)], object)})
    assert list(list_table(frame).labels) == ["3", "True"]
