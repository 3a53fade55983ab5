"""Booleans and what stands for none, in all their spellings, in the graph as in encoded frames."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.row.columns import BOOLEANS, FALSE_SPELLINGS, TRUE_SPELLINGS, Categorical, Date
from tlkit.inputs.row.number_forms import USUAL_MISSING
from tlkit.inputs.row.preprocessing import TablePreprocessing

FLAG = Categorical("garden", "garden", "string", BOOLEANS, boolean=True, missing=("unknown",))
SOLD = Date("sold", "sold", parts=("month",), form="%m/%d/%Y", missing=("-",))
REFUSES = TablePreprocessing((FLAG, SOLD), (), {}, "error")
LENIENT = TablePreprocessing((FLAG, SOLD), (), {}, "missing")
DOCS = Path(__file__).parents[2] / "docs" / "tables.md"


def codes(preprocessing, texts, column=0):
    values = [[b""] * len(texts)] * 2
    values[column] = texts
    frame = pd.DataFrame({"garden": pd.Series(values[0], dtype=object), "sold": pd.Series(values[1], dtype=object)})
    found = preprocessing.encode(preprocessing.to_arguments(frame)).numpy()
    np.testing.assert_array_equal(preprocessing.encode_frame(frame), found)
    return found[:, column].tolist()


@pytest.mark.parametrize("change", [str, str.upper, str.title, lambda text: f" \t{text}\n"])
def test_every_spelling_is_read(change):
    assert codes(REFUSES, [change(text).encode() for text in FALSE_SPELLINGS]) == [2.0] * len(FALSE_SPELLINGS)
    assert codes(REFUSES, [change(text).encode() for text in TRUE_SPELLINGS]) == [3.0] * len(TRUE_SPELLINGS)


def test_what_is_missing_is_so_in_any_case():
    marks = [text.encode() for text in (*USUAL_MISSING, "Unknown", " NULL ", "none")]
    assert codes(REFUSES, marks) == [1.0] * len(marks)
    assert codes(REFUSES, [b"-", b"N/A", b"6/23/2014"], 1) == [1.0, 1.0, 7.0]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (
            0,
            b"maybe",
            "column 'garden', row 2: 'maybe' cannot be read; allowed: false/true, f/t, no/yes, n/y, off/on, 0/1",
        ),
        (0, b"-", "column 'garden', row 2: '-' cannot be read"),  # which is missing in the other column alone
        (0, b"2", "column 'garden', row 2: '2' cannot be read"),
        (0, b"x" * 1000, f"column 'garden', row 2: '{'x' * 60}' cannot be read"),
        (0, b"w\xc3\xb3z\xff", "column 'garden', row 2: 'w\u00f3z\ufffd' cannot be read"),
        (
            1,
            b"2014-06-23",
            "column 'sold', row 2: '2014-06-23' cannot be read; allowed: dates as 06/19/2015 ('%m/%d/%Y')",
        ),
        (1, b"2/30/2014", "column 'sold', row 2: '2/30/2014' cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused_or_missing(column, value, said):
    from tlkit.export.graph_messages import plain_message

    texts = [b"", value, b""]
    name = ("garden", "sold")[column]
    other = ("sold", "garden")[column]
    frame = pd.DataFrame({name: pd.Series(texts, dtype=object), other: ["", "", ""]})
    with pytest.raises(DataError, match=re.escape(said)):
        REFUSES.encode_frame(frame)
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        REFUSES.encode({name: texts, other: [""] * 3})
    assert plain_message(str(caught.value)).startswith(said)
    assert list(REFUSES.unreadable_values(frame)) == [1]
    assert codes(LENIENT, texts, column) == [1.0] * 3
    assert LENIENT.unreadable_values(frame) == {}


def test_several_rows_are_counted_and_the_first_is_named():
    frame = pd.DataFrame({"garden": ["yes", "perhaps", "never", "perhaps"], "sold": ""})
    with pytest.raises(DataError, match=r"row 2: 'perhaps' cannot be read.* \(3 such rows\)$"):
        REFUSES.encode_frame(frame)
    assert [one.value for one in REFUSES.unreadable_values(frame).values()] == ["perhaps", "never", "perhaps"]


@pytest.mark.parametrize(
    ("series", "wanted"),
    [
        (pd.Series([True, False, None], dtype=object), [3, 2, 1]),
        (pd.Series([1, 0], dtype="int8"), [3, 2]),
        (pd.Series([1.0, 0.0, np.nan]), [3, 2, 1]),
        (pd.Series(["Yes", None], dtype="str"), [3, 1]),
    ],
)
def test_frames_may_hold_booleans_numbers_and_text(series, wanted):
    found = REFUSES.encode_frame(pd.DataFrame({"garden": series, "sold": ""}))
    assert found[:, 0].tolist() == wanted


def test_release_0_1_0_compared_booleans_as_they_stood():
    column = {"kind": "categorical", "name": "garden", "argument": "garden", "dtype": "string"}
    old = TablePreprocessing.from_dict({"columns": [{**column, "values": ["false", "true"]}], "missing": []})
    assert old.encode({"garden": ["true", "True", "yes", ""]}).numpy()[:, 0].tolist() == [3, 0, 0, 1]
    assert old.unreadable is None
    assert "unreadable" not in old.to_dict()
    assert "boolean" not in old.to_dict()["columns"][0]
    for preprocessing in (REFUSES, LENIENT):
        assert TablePreprocessing.from_dict(preprocessing.to_dict()) == preprocessing


def test_a_boolean_has_its_two_values():
    with pytest.raises(ConfigError, match="'a' is not a boolean.*'x'"):
        Categorical("a", "a", "string", ("x", "y"), boolean=True)
    with pytest.raises(ConfigError, match="unknown unreadable.*ignore"):
        TablePreprocessing((FLAG,), unreadable="ignore")


def test_the_documentation_lists_the_spellings():
    rows = re.findall(r"^\| `(.*)` \| `(.*)` \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == list(zip(FALSE_SPELLINGS, TRUE_SPELLINGS, strict=True))
