"""How numbers are written in files: each form, what is inferred of a column, and that every reader reads alike."""

from __future__ import annotations

import datetime
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.files.fields import Reading, reading_of, reading_of_fitted
from tlkit.inputs.files.source import join_tables, read_source, tidy
from tlkit.inputs.row.check import check_exact, check_formats, form_words
from tlkit.inputs.row.column_kinds import infer_kinds
from tlkit.inputs.row.columns import Continuous
from tlkit.inputs.row.mixed_columns import mixed_types
from tlkit.inputs.row.number_forms import NumberForm
from tlkit.inputs.row.number_inference import find_form, is_code
from tlkit.inputs.row.splits import times_of
from tlkit.inputs.row.target_kinds import guess_target

BIG = 1234567890123456781  # a float holds neither it nor its neighbours


@pytest.mark.parametrize(
    ("form", "text", "number"),
    [
        (NumberForm(), " 1.5 ", 1.5),
        (NumberForm(), "+5", 5),
        (NumberForm(), "−3", -3),
        (NumberForm(), "1e3", 1000.0),
        (NumberForm(), "12345678901234567890", 12345678901234567890),
        (NumberForm(), "NULL", None),
        (NumberForm(missing=("-",)), "-", None),
        (NumberForm(","), "0,5", 0.5),
        (NumberForm(",", "."), "1.234.567,5", 1234567.5),
        (NumberForm(",", " "), "1\u202f234,5", 1234.5),
        (NumberForm(",", " "), "1\u00a0234", 1234),
        (NumberForm(".", "'"), "1’234.50", 1234.5),
        (NumberForm(".", ","), "12,34,567", 1234567),
        (NumberForm(".", ","), "1234", 1234),
        (NumberForm(unit="€"), "5 €", 5),
        (NumberForm(unit="€"), "€5", 5),
        (NumberForm(unit="€"), "5", 5),
        (NumberForm(unit="$"), "-$5", -5),
        (NumberForm(unit="$"), "$-5", -5),
        (NumberForm(unit="USD", thousands=","), "USD 1,234.50", 1234.5),
        (NumberForm(thousands=",", brackets=True), "(1,234)", -1234),
        (NumberForm(unit="$", brackets=True), "$(5)", -5),
        (NumberForm(unit="%"), "12 %", 12),
        (NumberForm(unit="%"), "0", 0),
        (NumberForm(",", unit="kg"), "1,5 kg", 1.5),
        (NumberForm(unit="m2"), "70 m2", 70),
    ],
)
def test_a_field_is_read(form, text, number):
    found = form.read(text)
    assert found == number
    assert type(found) is type(number)
    assert NumberForm.from_dict(form.to_dict()) == form


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (NumberForm(), "1,5"),
        (NumberForm(), "$5"),
        (NumberForm(), "(5)"),
        (NumberForm(), "1_000"),
        (NumberForm(), "1e999"),
        (NumberForm(), "٣"),
        (NumberForm(), "-"),
        (NumberForm(), "--5"),
        (NumberForm(","), "1.5"),
        (NumberForm(".", ","), "1,23"),
        (NumberForm(".", ","), "1,2345"),
        (NumberForm(".", ","), "7,858E+03"),
        (NumberForm(unit="$"), "€5"),
        (NumberForm(unit="$"), "$5 $"),
        (NumberForm(unit="%"), "0.12"),
        (NumberForm(brackets=True), "(-5)"),
        (NumberForm(brackets=True), "(5"),
    ],
)
def test_what_is_no_number_of_a_form_is_refused(form, text):
    with pytest.raises(ValueError, match=".*"):
        form.read(text)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"decimal": ";"}, "decimal mark is invalid"),
        ({"thousands": "-"}, "between thousands is invalid"),
        ({"decimal": ",", "thousands": ","}, "are the same"),
        ({"unit": "5 kg"}, "a unit is invalid"),
        ({"missing": [1]}, "missing is invalid"),
        ({"unti": "kg"}, "unknown key of a format.*'unti'"),
    ],
)
def test_forms_that_cannot_be_are_said(fields, said):
    with pytest.raises(ConfigError, match=said):
        NumberForm.from_dict(fields)
    with pytest.raises(ConfigError, match=f"format of column 'x'.*{said}"):
        reading_of(formats={"x": fields})


FOUND = {
    "euros": (["1.234,50 €", "3,20 €", "-"], NumberForm(",", ".", "€", missing=("-",))),
    "pounds": (["£1,234.50", "£12"], NumberForm(".", ",", "£")),
    "yen": (["¥1200", "¥3"], NumberForm(unit="¥")),
    "francs": (["CHF 1'234.50", "CHF 3.00"], NumberForm(".", "'", "CHF")),
    "code of a currency": (["1,234.50 USD", "2.00 USD"], NumberForm(".", ",", "USD")),
    "reais": (["R$ 1.234,50", "R$ 3,00"], NumberForm(",", ".", "R$")),
    "spaces": (["1 234,56", "3,5"], NumberForm(",", " ")),
    "narrow spaces": (["1\u202f234,56", "1\u00a0000"], NumberForm(",", " ")),
    "apostrophes": (["1'234", "2'000", "3"], NumberForm(".", "'")),
    "brackets": (["(1,234.5)", "2,500", "3"], NumberForm(".", ",", brackets=True)),
    "percent": (["12%", "3.5 %"], NumberForm(unit="%")),
    "kilograms": (["1,5 kg", "2 kg"], NumberForm(",", unit="kg")),
    "months": (["36 months", "60 months"], NumberForm(unit="months")),
    "millions": (["1,234,567", "5,678"], NumberForm(".", ",")),
    "lakhs": (["₹12,34,567", "₹500"], NumberForm(".", ",", "₹")),
    "minus": (["−3", "4.5"], NumberForm()),
    "scientific": (["1e-3", "2.5E+4"], NumberForm()),
    "marks": (["1", "2.5", "n/a", "--", ".", "\\N", "missing", "#DIV/0!"], None),
}


@pytest.mark.parametrize("name", FOUND)
def test_the_form_of_a_column_is_found(name):
    texts, form = FOUND[name]
    found = find_form(dict.fromkeys(texts, 1))
    assert found.is_number
    assert found.other is None
    if form is None:
        assert set(found.form.missing) == set(texts[2:])
    else:
        assert found.form == form


@pytest.mark.parametrize(
    "texts",
    [
        ["A12", "B13"], ["A12", "A13"], ["12A", "13A"], ["12 Main St", "13 Main St"], ["Q1", "Q2"], ["1st", "2nd"],
        ["10-20", "20-30"], ["2015-01-02", "2015-01-03"], ["12.05.2015", "13.05.2015"], ["12:30", "12:31"],
        ["192.168.100.200", "192.168.100.201"], ["555 123 4567", "556 123 4567"], ["+49 123 456", "+49 555 666"],
        ["1.2.3", "1.2.4"], ["(1)", "(2)"], ["yes", "no", "1"], ["3.5k", "4M"], ["5", "none"],
    ],
)  # fmt: skip
def test_texts_with_digits_are_no_numbers(texts):
    assert find_form(dict.fromkeys(texts, 1)) is None


@pytest.mark.parametrize(
    ("texts", "decimal", "form", "other"),
    [
        (["1,234", "12,500"], "", NumberForm(".", ","), NumberForm(",")),
        (["1,234", "12,500"], ",", NumberForm(","), NumberForm(".", ",")),
        (["1,234", "0,500"], "", NumberForm(","), None),
        (["1,234", "12,5"], "", NumberForm(","), None),
        (["7,858E+03", "1,250E+04"], "", NumberForm(","), None),
        (["1.234", "12.500"], ",", NumberForm(",", "."), NumberForm()),
    ],
)
def test_thousands_and_decimals_are_told_apart_or_asked(texts, decimal, form, other):
    found = find_form(dict.fromkeys(texts, 1), decimal=decimal)
    assert (found.form, found.other) == (form, other)


THOUSANDS = [f"{number:,}" for number in range(1000, 20_000, 190)]  # 100 of them


@pytest.mark.parametrize("odd", ["1,23", "0,5", "1.234,50", "12,3456"])
@pytest.mark.parametrize("small", [[], [str(number) for number in range(150)]])
def test_a_few_values_in_another_form_are_refused_by_row_and_decide_nothing(tmp_path, odd, small):
    texts = [*THOUSANDS[:4], odd, *THOUSANDS[4:], *small]
    found = find_form(dict.fromkeys(texts, 1))
    assert found.form == NumberForm(".", ",")
    assert found.share < 1
    source = read_source(write(tmp_path, "x\n" + "".join(f'"{text}"\n' for text in texts)))
    with pytest.raises(DataError, match=f"a.csv row 6: column 'x' mixes types.*'{odd}'"):
        infer_kinds(source.frame, [], place=source.place)
    with pytest.raises(DataError, match=f"a.csv row 6: column 'x' mixes types.*'{odd}'"):
        guess_target(source.frame["x"], "x", source.place)


def test_points_between_thousands_stay_so_beside_one_odd_value():
    texts = [text.replace(",", ".") for text in THOUSANDS]
    found = find_form(dict.fromkeys([*texts, "1.23"], 1), decimal=",")
    assert found.form == NumberForm(",", ".")
    assert found.share < 1


def test_decimals_whose_last_zeros_are_left_out_are_decimals_and_doubtful_ones_are_asked_about(tmp_path):
    trimmed = [f"{number / 1000:.3f}".rstrip("0").replace(".", ",") for number in range(1000, 20_000, 37)]
    assert find_form(dict.fromkeys(trimmed, 1)).form == NumberForm(",")
    rows = "".join(f'"{text}","{number},5"\n' for number, text in enumerate([*THOUSANDS, "1,23"]))
    frame = read_source(write(tmp_path, f"x,z\n{rows}")).frame
    assert frame["x"].tolist()[-2:] == [19.81, 1.23]
    column = pd.Series([*THOUSANDS, "1,23"], dtype="str")
    advice = 'x = { decimal = "," } under [formats] if 1,23 is 1.23 and 10,120 is 10.12'
    assert advice in str(mixed_types(column, "x", str))
    in_table = find_form(dict.fromkeys([*THOUSANDS, "1,23"], 1), decimal=",")  # as the other columns are
    assert (in_table.form, in_table.share) == (NumberForm(","), 1)
    few = [str(number) for number in range(200)]
    assert find_form(dict.fromkeys([*few, "1,234", "2,345", "3,456", "1,5"], 1)).against == "1,5"
    texts = [*THOUSANDS[:14], "1,23"]
    source = read_source(write(tmp_path, "x\n" + "".join(f'"{text}"\n' for text in texts)))
    (note,) = source.form_notes
    assert (note.form, note.other) == (NumberForm(","), NumberForm(".", ","))
    assert "'1,23' is not a number with commas between thousands); 1,000 is read as 1, and could be 1000" in form_words(
        note
    )


FRACTIONS = [f"{number}.{number % 90 + 10}" for number in range(100, 200)]


@pytest.mark.parametrize(
    ("most", "odd"),
    [
        (FRACTIONS, "1e400"),
        (FRACTIONS, "007"),
        ([f"{number / 10}" for number in range(100, 161)] * 5, "007"),
        (FRACTIONS, "１２"),
        ([str(number) for number in range(100, 200)], "99999999999999999999"),
        ([str(number) for number in range(100, 200)], "٣"),
    ],
)
def test_one_unusual_number_is_refused_by_row(tmp_path, most, odd):
    path = write(tmp_path, "x,y\n" + "".join(f"{text},{text}\n" for text in [*most[:4], odd, *most[4:]]))
    source = read_source(path)
    with pytest.raises(DataError, match=f"a.csv row 6: column 'x' mixes types.*'{odd}'"):
        infer_kinds(source.frame, ["y"], place=source.place)
    with pytest.raises(DataError, match=f"a.csv row 6: column 'y' mixes types.*'{odd}'"):
        guess_target(source.frame["y"], "y", source.place)


@pytest.mark.parametrize(
    "texts",
    [
        ["007", *map(str, range(100, 200))],  # codes of whole numbers
        ["038.1", *(f"{number}.{digit}" for number in range(100, 170) for digit in (1, 9))] * 2,  # codes repeat
        [str(9 * 10**18 + number * 10**16) for number in range(100)],  # random ids, a few beyond int64
    ],
)
def test_codes_and_long_ids_stay_text(tmp_path, texts):
    source = read_source(write(tmp_path, "x\n" + "".join(f"{text}\n" for text in texts)))
    assert source.frame["x"].tolist() == texts
    assert infer_kinds(source.frame, [], place=source.place).kinds["x"] == "categorical"


def test_values_without_the_unit_are_counted(tmp_path):
    source = read_source(write(tmp_path, "x\n" + "1 kg\n2.5 kg\n" * 5 + "3\n4\n"))
    (note,) = source.form_notes
    assert note.bare == 2
    assert "2 values without the unit" in note.why


@pytest.mark.parametrize(
    ("text", "form", "whole"),
    [
        (f"{BIG}.0", NumberForm(), BIG),
        (f"{BIG}.", NumberForm(), BIG),
        (f"{BIG},00", NumberForm(","), BIG),
        ("1.234.567.890.123.456.781,0", NumberForm(",", "."), BIG),
        (f"-{BIG}.0", NumberForm(), -BIG),
        ("3.0", NumberForm(), 3),
        ("1e3", NumberForm(), 1000),
        ("NULL", NumberForm(), None),
        (f"{BIG}.5", NumberForm(), ValueError),
        ("1.2345678901234567e18", NumberForm(), ValueError),
    ],
)
def test_whole_numbers_are_read_exactly_whatever_their_zeros(text, form, whole):
    if whole is ValueError:
        with pytest.raises(ValueError, match=".*"):
            form.read_whole(text)
    else:
        assert form.read_whole(text) == whole


def test_whole_numbers_with_a_point_and_a_zero_stay_exact(tmp_path):
    source = read_source(write(tmp_path, f"k,v\n{BIG}.0,1\n,2\n{BIG + 1},3\n{BIG + 2}.0,3\n"))
    assert source.frame["k"].dropna().tolist() == [BIG, BIG + 1, BIG + 2]


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (["007", "12"], True),
        (["038.1", "38.1"], True),
        (["38.10", "38.1", "7.25"] * 2, True),
        (["1.10", "1.9", "2.0"] * 3, True),
        (["12.50", "3.00", "100.00"] * 2, False),  # prices
        (["12.50", "3", "4.25"] * 2, False),
        (["1.50", "12.3", "0.123"] * 2, False),  # three digits each
        (["1.0", "2.5", "3.25"] * 2, False),  # as programs write floats
        (["-1.10", "1.9", "2.0"] * 2, False),
        ([f"{number / 100:.4g}0" for number in range(101, 400)], False),  # nothing repeats
    ],
)
def test_codes_are_told_from_formatted_numbers(texts, code):
    assert is_code(texts) is code


def write(folder, text, name="a.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_columns_of_one_file_are_read_each_in_its_form(tmp_path):
    path = write(
        tmp_path,
        "price,share,plain,ratio,code,name,n\n"
        '"$1,200.50",10%,1.5,"0,25",38.10,NA,1\n$7.00,0.5 %,2.25,"1,5",38.1,b,NULL\n'
        '"($3.00)",12%,-1,"2,75",038.1,c,3\n$4,-,7,"1,125",7.25,NA,4\n',
    )
    source = read_source(path)
    frame = source.frame
    assert frame["price"].tolist() == [1200.5, 7.0, -3.0, 4.0]
    assert frame["share"].tolist()[:3] == [10, 0.5, 12]
    assert frame["share"].isna().tolist()[3]
    assert frame["ratio"].tolist() == [0.25, 1.5, 2.75, 1.125]
    assert frame["plain"].tolist() == [1.5, 2.25, -1, 7]
    assert frame["code"].tolist() == ["38.10", "38.1", "038.1", "7.25"]
    assert frame["name"].tolist() == ["NA", "b", "c", "NA"]
    assert frame["n"].isna().tolist() == [False, True, False, False]
    assert source.forms == {
        "price": NumberForm(".", ",", "$", brackets=True),
        "share": NumberForm(unit="%", missing=("-",)),
        "ratio": NumberForm(","),
        "n": NumberForm(missing=("NULL",)),
    }
    # What is declared is not said again, and read alike.
    again = read_source(path, reading=reading_of(formats={k: v.to_dict() for k, v in source.forms.items()}))
    pd.testing.assert_frame_equal(again.frame, frame)
    assert not again.form_notes


def test_points_are_thousands_where_the_other_columns_have_decimal_commas(tmp_path):
    path = write(tmp_path, "a;b;c\n1,5;1.234;7\n2,25;12.500;8\n", "a.csv")
    source = read_source(path, separator=";")
    assert source.frame.to_dict("list") == {"a": [1.5, 2.25], "b": [1234, 12500], "c": [7, 8]}
    (note,) = [note for note in source.form_notes if note.other is not None]
    assert "1.234 is read as 1234, and could be 1.234" in form_words(note)
    said = read_source(path, separator=";", reading=reading_of(decimal=",", thousands="."))
    pd.testing.assert_frame_equal(said.frame, source.frame)
    assert not said.form_notes
    # A later file is read so whatever stands in it.
    assert said.forms["c"] == NumberForm(",", ".")
    alone = read_source(write(tmp_path, "x\n1.234\n2.500\n", "b.csv")).frame
    assert alone["x"].tolist() == [1.234, 2.5]


def test_whole_numbers_in_a_table_of_decimal_commas_may_have_them_later(tmp_path):
    path = write(tmp_path, "a;b;c;d\n1,5;10%;7;3\n2,25;20%;-;4\n3,5;30%;8;5\n")
    source = read_source(path, separator=";")
    assert source.forms == {
        "a": NumberForm(","),
        "b": NumberForm(",", unit="%"),
        "c": NumberForm(",", missing=("-",)),
        "d": NumberForm(","),
    }
    assert [note.why for note in source.form_notes][1] == "unit \"%\", as in '10%'"
    columns = [Continuous(name, name) for name in "abcd"]
    later = write(tmp_path, "a;b;c;d\n1;12,5%;7,5;3,25\n", "b.csv")
    read = read_source(later, separator=";", reading=reading_of_fitted(columns, source.forms, ())).frame
    assert read.iloc[0].tolist() == [1, 12.5, 7.5, 3.25]


def test_the_parts_of_a_table_are_read_alike(tmp_path):
    write(tmp_path, 'x,y,z\n"1.234,5",1,5\n"2,5",2,\n', "train.csv")
    write(tmp_path, f"x,y,z\n7,NULL,{BIG}\n8,5,7\n", "val.csv")
    frame = read_source(tmp_path).frame
    assert frame["x"].tolist() == [1234.5, 2.5, 7, 8]
    assert frame["y"].isna().tolist() == [False, False, True, False]
    assert frame["z"].dropna().tolist() == [5, BIG, 7]


def test_a_minority_of_other_values_is_refused_with_its_row(tmp_path):
    rows = "".join(f"${number}.50\n" for number in range(60))
    for wrong in ("€7.50", "oops", "5 kg"):
        source = read_source(write(tmp_path, f"x\n{rows}{wrong}\n"))
        with pytest.raises(
            DataError, match=rf"a.csv row 62: column 'x' mixes types: text, but most .*numbers.*{wrong}"
        ):
            infer_kinds(source.frame, [], place=source.place)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("€7.50", "several units or forms of numbers; received: '€7.50'; correct these rows, or set x = \"categor"),
        ("5 kg", "several units or forms of numbers"),
        ("1,5", "several units or forms of numbers"),
        (
            " $ -   ",
            r"numbers; received: ' \$ -   '; .*; missing = \[\"\$ -\"\] for x under \[formats\] if it is a missing",
        ),
        ("1e400", "and this one is not a finite number"),
        ("oops", r"missing = \[\"oops\"\] for x under \[formats\]"),
    ],
)
def test_what_stands_among_numbers_is_named_for_what_it_is(wrong, said):
    column = pd.Series([f"${number}.50" for number in range(60)] + [wrong], dtype="str")
    assert re.search(said, str(mixed_types(column, "x", str)))
    as_target = str(mixed_types(column, "x", str, is_target=True))
    assert 'kinds = { x = "single_label" } under [target]' in as_target


def test_a_value_that_does_not_fit_its_format_is_said_with_its_row(tmp_path):
    source = read_source(
        write(tmp_path, "x\n$5\noops\n"), reading=(reading := reading_of(formats={"x": {"unit": "$"}}))
    )
    with pytest.raises(
        DataError, match=r'row 3: column \'x\' has a value that is not a number.*oops.*unit "\$".*missing = '
    ):
        check_formats(source.frame, reading.formats, {}, source.place)
    check_formats(source.frame, reading.formats, {"x": "ignore"}, source.place)
    with pytest.raises(ConfigError, match="formats names an unknown column.*'z'"):
        check_formats(source.frame, {"z": NumberForm()}, {}, source.place)


def test_what_was_fitted_is_read_as_it_was(tmp_path):
    columns = [Continuous("x", "x"), Continuous("code", "code")]
    reading = reading_of_fitted(columns, {"x": NumberForm(",", ".")}, ())
    path = write(tmp_path, "x,code\n1.234,038.10\n2.500,NULL\n")
    assert read_source(path, reading=reading).frame["x"].tolist() == [1234, 2500]
    assert read_source(path, reading=reading).frame["code"].tolist()[0] == 38.1
    (tmp_path / "b.csv").write_text("x,code\nNA,\n,NULL\n")
    assert read_source(tmp_path / "b.csv", reading=reading).frame.isna().all().all()
    # Release 0.1.0 had plain numbers and one list.
    old = read_source(path, reading=reading_of_fitted(columns, None, ("", "NA"))).frame
    assert old["x"].tolist() == [1.234, 2.5]
    assert old["code"].tolist() == ["038.10", "NULL"]


def test_whole_numbers_beyond_floats_stay_exact(tmp_path):
    text = f"k,v\n{BIG},1\n,2\n{BIG + 1},3\n"
    frame = pd.DataFrame({"k": pd.array([BIG, None, BIG + 1], "Int64"), "v": [1, 2, 3]})
    frame.to_parquet(tmp_path / "a.parquet")
    objects = frame.assign(k=np.array([BIG, None, BIG + 1], object))
    arrow = frame.assign(k=pd.Series([BIG, None, BIG + 1], dtype=pd.ArrowDtype(pa.int64())))
    decimals = arrow.assign(k=pd.Series(pa.array([BIG, None, BIG + 1]).cast(pa.decimal128(19, 0)).to_pylist()))
    for table in (write(tmp_path, text), tmp_path / "a.parquet", frame, objects, arrow, decimals):
        source = read_source(table)
        assert source.frame["k"].dropna().tolist() == [BIG, BIG + 1]
        joined = join_tables(source, [(pd.DataFrame({"k": [BIG + 1, BIG + 2], "w": [BIG, 7]}), "k")])
        assert joined.frame["w"].dropna().tolist() == [BIG]
    assert times_of(frame["k"][[0, 2]], "k", str).tolist() == [BIG, BIG + 1]
    check_exact(source.frame["k"], "k", str)
    with pytest.raises(DataError, match="data row 2: column 'k' has a float beyond 2.*received: '1.23456789012345"):
        check_exact(pd.Series([1.0, float(BIG)]), "k", lambda rows: f"data row {rows[0] + 1}")


def test_digits_beyond_int64_are_text(tmp_path):
    ids = ["99999999999999999999", "18446744073709551615", "12"]
    for text in ("\n".join(["k", *ids, ""]), "\n".join(["k", "", *ids, ""]), "\n".join(["k", *ids, "-1", ""])):
        assert read_source(write(tmp_path, "v," + text.replace("\n", "\n1,").removesuffix("1,"))).frame["k"].dropna()[
            :3
        ].tolist() == ids  # fmt: skip
    assert tidy(pd.DataFrame({"k": np.array([int(ids[0]), 1, None], object)}))["k"].dropna().tolist() == [ids[0], "1"]
    assert tidy(pd.DataFrame({"k": np.array([2**64 - 1], np.uint64)}))["k"].tolist() == [ids[1]]


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary", "string[pyarrow]", "string[python]"])
def test_every_kind_of_text_column_is_text(kind):
    values = pa.array(["a", None, "$5"])
    if kind.startswith("string["):
        series = pd.Series(["a", None, "$5"], dtype=kind)
    else:
        typed = values.dictionary_encode() if kind == "dictionary" else values.cast(getattr(pa, kind)())
        series = pd.Series(pd.arrays.ArrowExtensionArray(typed))
    column = tidy(pd.DataFrame({"x": series}))["x"]
    assert column.dtype == "str"
    assert column.dropna().tolist() == ["a", "$5"]
    assert infer_kinds(tidy(pd.DataFrame({"x": pd.concat([series] * 9, ignore_index=True)})), []).kinds == {
        "x": "categorical"
    }


def test_other_types_of_arrow_are_those_of_pandas():
    day = datetime.date(2015, 1, 2)
    table = pa.table(
        {
            "flag": pa.array([True, None]),
            "x": pa.array([1.5, None], pa.float32()),
            "n": pa.array([1, 2], pa.int32()),
            "day": pa.array([day, None]),
            "moment": pa.array([datetime.datetime(2015, 1, 2, 3), None], pa.timestamp("us")),
        }
    )
    frame = tidy(table.to_pandas(types_mapper=pd.ArrowDtype))
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "flag": "boolean", "x": "float64", "n": "int64", "day": "datetime64[us]", "moment": "datetime64[us]",
    }  # fmt: skip
    assert frame["day"][0] == pd.Timestamp(day)


def test_plain_numbers_that_are_given_as_text_stay_text():
    source = read_source(pd.DataFrame({"a": ["1", "2"], "b": ["$1", "$2"], "c": ["1", "2"]}))
    assert {name: str(dtype) for name, dtype in source.frame.dtypes.items()} == {"a": "str", "b": "int64", "c": "str"}
    read = read_source(pd.DataFrame({"a": ["01", "2"]}), reading=Reading(number_columns=frozenset({"a"}))).frame
    assert read["a"].tolist() == [1, 2]


def test_days_written_as_numbers_are_asked_about():
    days = pd.DataFrame({"d": [20230800 + number % 28 + 1 for number in range(300)]})
    (question,) = infer_kinds(days, []).questions
    assert "whole numbers that are all days, 20230801 (2023-08-01) to 20230828" in question.why
    assert "days" not in infer_kinds(days + 60, []).questions[0].why
