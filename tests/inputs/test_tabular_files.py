"""Reading tables: what is there arrives as it is, what is wrong is said with its row."""

from __future__ import annotations

import decimal
import gzip

import numpy as np
import pandas as pd
import pytest

from tlkit.errors import ConfigError, DataError, TlkitError
from tlkit.inputs.files import frames as frame_files
from tlkit.inputs.files.fields import Reading
from tlkit.inputs.files.frames import read_frame
from tlkit.inputs.files.source import join_tables, read_source, rows_where, tidy
from tlkit.inputs.row.number_forms import USUAL_MISSING


def write(folder, name, text, encoding="utf-8"):
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode(encoding)))
    else:
        path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "x,y\n1,a\n2,b\n"),
        ("a.tsv", "x\ty\n1\ta\n2\tb\n"),
        ("a.csv.gz", "x,y\n1,a\n2,b\n"),
        ("b.csv", "\ufeffx,y\r\n1,a\r\n\r\n2,b"),
        ("c.csv", 'x, y\n1, "a"\n2, b\n'),
    ],
)
def test_every_form_of_a_table_gives_the_same_rows(tmp_path, name, text):
    frame = read_frame(write(tmp_path, name, text)).frame
    assert frame.to_dict("list") == {"x": [1, 2], "y": ["a", "b"]}


def test_parquet_gives_the_same_rows(tmp_path):
    frame = pd.DataFrame({"x": [1, 2], "y": ["a", "b"]})
    frame.to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(read_frame(tmp_path / "a.parquet").frame, frame)


def test_what_is_missing_depends_on_the_column(tmp_path):
    rows = "".join(f"{mark},{mark},{mark},{mark}\n" for mark in USUAL_MISSING)
    text = "n,s,b,d\n" + rows + "1,a,True,2024-01-31\n2,-,False,2024-02-29\n" + "3,b,True,2024-02-28\n" * 40
    path = write(tmp_path, "a.csv", text)
    source = read_source(path)
    assert source.frame["n"].tolist()[-2:] == [3, 3]
    count = len(USUAL_MISSING)
    assert source.frame.isna().sum().to_dict() == {"n": count, "s": 1, "b": count, "d": count}
    assert source.marks["s"]["NA"] == 1
    assert "NULL" in source.form_notes[0].form.missing
    listed = read_source(path, reading=Reading(missing=("NA", "-", "3"))).frame
    assert listed["s"].isna().sum() == 3
    assert listed["n"].isna().sum() == count + 40
    given = read_source(pd.DataFrame({"s": [*USUAL_MISSING, "-"], "d": [*USUAL_MISSING[:-3], *["2024-01-01"] * 4]}))
    assert given.frame["s"].isna().sum() == 1
    assert tidy(pd.DataFrame({"s": ["", "NA"]}))["s"].isna().tolist() == [True, False]


def test_leading_zeros_stay(tmp_path):
    source = read_source(write(tmp_path, "a.csv", "zip,n,half\n01234,10,0.5\n99999,20,0\n"))
    assert source.frame["zip"].tolist() == ["01234", "99999"]
    assert source.frame["n"].tolist() == [10, 20]
    assert source.frame["half"].tolist() == [0.5, 0]
    assert "'zip'" in source.notes[0]


def test_leading_zeros_are_found_in_every_row(tmp_path, monkeypatch):
    rows = "".join(f"{10_000 + row},{row},\n" for row in range(30_000))
    path = write(tmp_path, "a.csv", "zip,n,gaps\n" + rows + "01234,-1,07\n,07,9\n")
    read = read_frame(path)
    assert read.kept_as_text == ("zip", "gaps")
    assert read.frame["zip"].tolist()[:1] + read.frame["zip"].tolist()[-2:-1] == ["10000", "01234"]
    assert read.frame["zip"].isna().tolist()[-1]
    assert read.frame["gaps"].dropna().tolist() == ["07", "9"]
    # What is no number without a sign is none with zeros to keep, in whichever part of the file it stands.
    assert read.frame["n"].tolist()[-2:] == [-1, 7]
    monkeypatch.setattr(frame_files, "_CHUNK_ROWS", 701)
    pd.testing.assert_frame_equal(read_frame(path).frame, read.frame)
    wide = write(tmp_path, "wide.csv", path.read_text(), "utf-16")
    pd.testing.assert_frame_equal(read_frame(wide, encoding="utf-16").frame, read.frame)


@pytest.mark.parametrize("block", [3, 4, 5, 6, 7, 1000])
@pytest.mark.parametrize("text", ["x,y\n1,07\n2,3\n", "x,y\n1,2\n03,4", 'x,y\n"01",2\n3,4\n', "x, y\n1, 02\n3, 4\n"])
def test_leading_zeros_are_found_wherever_they_are(tmp_path, monkeypatch, block, text):
    monkeypatch.setattr(frame_files, "_BLOCK", block)
    for name in ("a.csv", "a.csv.gz"):
        assert len(read_frame(write(tmp_path, name, text)).kept_as_text) == 1
        assert not read_frame(write(tmp_path, name, "x,y\n10,0\n0,0.5\n")).kept_as_text


def test_a_column_that_is_text_stays_text(tmp_path):
    frame = read_frame(write(tmp_path, "a.csv", "x,y\n1,1\n"), reading=Reading(text_columns=frozenset({"y"}))).frame
    assert frame.iloc[0].tolist() == [1, "1"]


def test_a_separator_may_be_named(tmp_path):
    assert read_frame(write(tmp_path, "a.csv", "x;y\n1,5;2\n"), separator=";").frame.columns.tolist() == ["x", "y"]
    with pytest.raises(ConfigError, match="separator is invalid"):
        read_frame(tmp_path / "a.csv", separator=", ")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "", "the table is empty"),
        ("a.csv", "\n\n", "the table is empty"),
        ("a.csv", "x,y\n", "a header and no rows"),
        ("a.csv", "x;y\n1;2\n", r'separated by semicolons, not by commas.*pass separator=";"'),
        ("a.csv", "x;y;z\n1,5;2;3\n2;2;3\n", 'separated by semicolons.*separator=";"'),
        ("a.csv", "x\ty\n1\t2\n", "separated by tabs.*or rename it to .tsv"),
        ("a.tsv", "x,y\n1,2\n", "separated by commas, not by tabs"),
        ("a.csv", "x,y\n1,2\n1,2,3\n", "a.csv row 3 has 3 fields where the header has 2"),
        ("a.csv", "x,y\n1,2,3\n1,2,3\n", "a.csv row 2 has 3 fields where the header has 2"),
        ("a.csv", "x,y\n1,2\n\n1\n", "a.csv row 4 has 1 fields where the header has 2"),
        # As many separators as even rows would have.
        ("a.csv", "x,y,z\n1,2,3,9\n4,5\n", "a.csv row 2 has 4 fields where the header has 3"),
        ("a.csv", "x,y,z\n1,2,3\n1,2,3,9\n4,5\n", "a.csv row 3 has 4 fields where the header has 3"),
        ("a.csv", "x,y\n1\n1,2,3\n", "a.csv row 2 has 1 fields"),
        ("a.csv", 'x,y\n1,"2\n', "the quote that .*a.csv row 2 opens is never closed"),
        ("a.csv", "x,x\n1,2\n", "several columns of one name.*'x'"),
        ("a.csv", "x,y\n1,\0\n", "NUL bytes"),
        ("a.csv.gz", "x,y\n1,\0\n", "NUL bytes"),
        ("a.csv", "x,y\n1," + "a" * 70_000 + "\n1,\0\n", "NUL bytes"),
        ("a.xlsx", "x", "unknown table format"),
        ("b.csv", "x", "there is no such table"),
    ],
)
def test_what_is_no_table_is_said(tmp_path, name, text, said):
    if name != "b.csv":
        write(tmp_path, name, text)
    with pytest.raises(DataError, match=said) as caught:
        read_frame(tmp_path / name)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"PK\x03\x04 and so on", "a zip archive or a spreadsheet"),
        ("a.csv", gzip.compress(b"x,y\n1,2\n", mtime=0), "compressed with gzip"),
        ("a.csv", b"\x89PNG\r\n\x1a\n", "a PNG image"),
        ("a.csv", b"x,y\n1,\xff\n", "a.csv line 2 contains a byte that is not utf-8.*0xff"),
        ("a.csv", b"x,y\n" + b"1,a\n" * 30_000 + b"1,\xff\n", "a.csv line 30002 contains a byte that is not utf-8"),
        ("a.csv.gz", b"x,y\n1,2\n", "the table cannot be decompressed"),
        ("a.csv.gz", gzip.compress(b"x,y\n" + b"1,2\n" * 99, mtime=0)[:-12], "the table cannot be decompressed"),
        ("a.parquet", b"PAR1 or not", "the table cannot be read"),
    ],
)
def test_binary_files_are_said(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_frame(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_places_count_empty_lines_and_quoted_line_breaks(tmp_path):
    source = read_source(write(tmp_path, "a.csv", 'x,y\n1,"a\nb"\n\n2,c\n3,d\n'))
    assert source.frame["x"].tolist() == [1, 2, 3]
    assert source.place([1]).endswith("a.csv row 4")
    assert source.place([0, 1, 2]).endswith("a.csv rows 2, 4 and 5")
    assert source.place([0, 1, 2], most=2).endswith("rows 2 and 4 (3 such rows)")


def test_a_folder_holds_a_table_for_each_split(tmp_path):
    write(tmp_path, "train.csv", "x,y\n1,2\n3,4\n")
    write(tmp_path, "valid.csv.gz", "x,y\n5,6\n")
    write(tmp_path, "notes.csv", "z\n1\n")
    source = read_source(tmp_path)
    assert source.splits.tolist() == ["train", "train", "val"]
    assert source.place([1, 2]).endswith("train.csv row 3 (2 such rows)")
    assert source.place([2]).endswith("valid.csv.gz row 2")
    same = read_source({"training": tmp_path / "train.csv", "val": pd.DataFrame({"x": [5], "y": [6]})})
    pd.testing.assert_frame_equal(same.frame, source.frame)
    assert same.place([2]) == "data row 1"
    write(tmp_path, "val.csv", "x,y\n5,6\n")
    with pytest.raises(DataError, match="two tables for the val split"):
        read_source(tmp_path)
    with pytest.raises(DataError, match="unknown split.*'holdout'"):
        read_source({"holdout": tmp_path / "train.csv"})
    with pytest.raises(DataError, match=r"the val split has no column 'y'"):
        read_source({"train": tmp_path / "train.csv", "val": pd.DataFrame({"x": [1]})})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="the folder contains no table"):
        read_source(tmp_path / "empty")
    with pytest.raises(ConfigError, match="the data is not a table"):
        read_source(3)


def test_frames_mean_the_same_as_files():
    frame = pd.DataFrame(
        {
            "gaps": [1.0, np.nan, 3.0],
            "fractions": [1.5, np.nan, 3.0],
            "floats": [1.0, 2.0, 3.0],
            "category": pd.Categorical(["a", None, "b"]),
            "numbers": pd.Categorical([3, 4, 3]),
            "objects": np.array([1, None, 3], object),
            "flags": np.array([True, None, False], object),
            "decimals": np.array([decimal.Decimal("1.5"), None, None], object),
            "mixed": np.array([1, "a", None], object),
            "nothing": [None, None, None],
        }
    )
    before = frame.copy(deep=True)
    types = {name: str(dtype) for name, dtype in tidy(frame).dtypes.items()}
    assert types == {
        "gaps": "Int64",
        "fractions": "float64",
        "floats": "float64",
        "category": "str",
        "numbers": "int64",
        "objects": "Int64",
        "flags": "boolean",
        "decimals": "float64",
        "mixed": "object",
        "nothing": "float64",
    }
    pd.testing.assert_frame_equal(frame, before)


def test_a_frame_that_is_given_is_not_changed():
    frame = pd.DataFrame({3: ["a", "?"]}, index=[7, 7])
    source = read_source(frame)
    assert source.frame.columns.tolist() == ["3"]
    assert source.frame.index.tolist() == [0, 1]
    assert frame.columns.tolist() == [3]
    assert frame[3].tolist() == ["a", "?"]
    with pytest.raises(DataError, match="several columns of one name"):
        read_source(pd.DataFrame([[1, 2]], columns=["a", "a"]))


# Joins and conditions


def shops():
    return read_source(pd.DataFrame({"shop": [2, 1, 3, 2], "sold": [5, 0, 7, 8]}))


def test_a_join_keeps_every_row_in_its_place():
    kinds = pd.DataFrame({"shop": [1, 2], "kind": ["a", "b"], "since": [2008, 2010]})
    joined = join_tables(shops(), [(kinds, "shop")])
    assert joined.frame["sold"].tolist() == [5, 0, 7, 8]
    assert joined.frame["kind"].astype(object).where(joined.frame["kind"].notna(), None).tolist() == [
        "b",
        "a",
        None,
        "b",
    ]
    assert str(joined.frame["since"].dtype) == "Int64"
    assert joined.notes == ("1 rows have no match in a DataFrame",)
    again = join_tables(joined, [(pd.DataFrame({"shop": [2], "sold": [8], "extra": [1.5]}), ["shop", "sold"])])
    assert again.frame["extra"].isna().tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("table", "on", "said"),
    [
        (pd.DataFrame({"shop": [1, 1], "kind": ["a", "b"]}), "shop", "data row 2: a join needs one row for each value"),
        (pd.DataFrame({"shop": ["1"], "kind": ["a"]}), "shop", "cannot be joined"),
        (pd.DataFrame({"shop": [1], "sold": [1]}), "shop", r"already has.*\['sold'\]"),
        (pd.DataFrame({"store": [1], "kind": ["a"]}), "shop", "no column 'shop'"),
        (pd.DataFrame({"shop": [1], "kind": ["a"]}), "store", "no column 'store'"),
    ],
)
def test_joins_that_cannot_be_are_said(table, on, said):
    with pytest.raises(DataError, match=said):
        join_tables(shops(), [(table, on)])


def test_an_entry_of_join_is_a_pair():
    with pytest.raises(ConfigError, match="an entry of join"):
        join_tables(shops(), ["store.csv"])


def test_conditions_choose_rows():
    source = read_source(pd.DataFrame({"Open": [1, 1, 0, 1], "net sales": [5.0, 0.0, 7.0, None], "town": [*"abca"]}))
    assert rows_where(source, ["Open == 1", "`net sales` > 0"]).tolist() == [True, False, False, False]
    assert rows_where(source, ["town in ['a', 'c'] and (Open == 1)"]).tolist() == [True, False, False, True]
    with pytest.raises(DataError, match="no row of a DataFrame meets"):
        rows_where(source, ["Open == 1", "Open == 0"])


@pytest.mark.parametrize(
    "condition",
    [
        "Open ==",
        "Opn == 1",
        "Open + 1",
        "Open = 2",
        "@frame",
        "town.str.len() > 0",
        "abs(Open) > 0",
        "1 == 1",
        "town > 1",
    ],
)
def test_bad_conditions_are_said(condition):
    source = read_source(pd.DataFrame({"Open": [1, 1, 0], "town": [*"abc"]}))
    with pytest.raises(ConfigError, match="condition") as caught:
        rows_where(source, [condition])
    assert "\n" not in str(caught.value)
    assert source.frame.columns.tolist() == ["Open", "town"]


def test_conditions_come_as_a_list():
    with pytest.raises(TlkitError, match="where is invalid"):
        rows_where(shops(), "sold > 0")
