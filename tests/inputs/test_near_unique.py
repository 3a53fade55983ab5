"""Text columns with almost one value a row: which are ids, and what the others are called."""

from __future__ import annotations

import hashlib
import uuid

import numpy as np
import pandas as pd
import pytest

from tlkit.inputs.row.column_kinds import infer_kinds
from tlkit.inputs.row.near_unique import describe_near_unique
from tlkit.inputs.row.target_kinds import guess_target

N = 60
RANDOM = np.random.default_rng(5)
NUMBERS = RANDOM.choice(10**6, N, replace=False)
LEAKS = "useless as an input, and they leak"
BY_HEART = "almost one text per row: the model would memorize it"
AMOUNTS = "not read as numbers"

IDS = {
    "uuid": [str(uuid.UUID(int=int(number) << 90)) for number in NUMBERS],
    "hash": [hashlib.sha1(str(number).encode()).hexdigest() for number in NUMBERS],
    "code": [f"INV-{number:07d}" for number in NUMBERS],
    "short code": [f"{number:x}q" for number in NUMBERS],
    "letters of one length": ["".join(RANDOM.choice(list("ABCDEFGH"), 6)) for _ in range(N)],
    "address": [f"10.0.{number % 250}.{number // 250 % 250}" for number in NUMBERS],
}
TEXTS = {
    "names": [
        f"{a} {b}"
        for a in ["Ana", "Bo", "Cleo", "Dov", "Eli", "Fay"]
        for b in ["Ode", "Pax", "Qi", "Roy", "Sun", "Tee", "U", "V", "W", "X"]
    ],
    "sentences": [f"The house has {number} windows and a garden that faces the sea" for number in NUMBERS],
}
PRICES = {
    "dollars": [f"${number / 100:.2f}" for number in NUMBERS],
    "thousands": [f"{number + 1000:,}" for number in NUMBERS],
    "German": [f"{number / 100:.2f}".replace(".", ",") + " €" for number in NUMBERS],
    "code in front": [f"EUR {number / 100:.2f}" for number in NUMBERS],
    "percent": [f"{number / 10000:.2f} %" for number in NUMBERS],
    "unit": [f"{number} kg" for number in NUMBERS],
    "thousands as k": [f"{number / 10:.1f}k" for number in NUMBERS],
    "millions of dollars": [f"${number / 10:.1f}M" for number in NUMBERS],
    "two scales": [f"${number:,}{'KM'[number % 2]}" for number in NUMBERS],
    "other digits": [str(number).translate({48 + digit: 0xFF10 + digit for digit in range(10)}) for number in NUMBERS],
}


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        *((values, "id", LEAKS) for values in IDS.values()),
        *((values, "id", BY_HEART) for values in TEXTS.values()),
    ],
    ids=[*IDS, *TEXTS],
)
def test_only_ids_are_called_useless_and_leaking(values, kind, said):
    found = infer_kinds(pd.DataFrame({"x": pd.array(values, "str")}), [])
    assert found.kinds == {"x": kind}
    (finding,) = found.warnings
    assert said in finding.why
    assert (LEAKS in finding.why) == (said == LEAKS)


@pytest.mark.parametrize("name", PRICES)
def test_prices_are_never_called_ids(name):
    texts = pd.Series(PRICES[name], dtype="str")
    kind, why = describe_near_unique(texts)
    assert kind == "ignore"
    assert AMOUNTS in why or "which are not supported: write plain numbers" in why
    # Most are recognised as numbers before that.
    found = infer_kinds(pd.DataFrame({"x": texts}), [])
    assert found.kinds["x"] != "id"
    assert LEAKS not in (*found.warnings, *found.questions)[0].why


def test_numbers_with_a_fraction_are_never_ids():
    frame = pd.DataFrame({"price": np.sort(NUMBERS) / 100, "long": RANDOM.random(N)})
    found = infer_kinds(frame, [])
    assert set(found.kinds.values()) == {"continuous"}
    assert not found.warnings


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["0.5k", "10k", "2K"], "3 amounts such as '0.5k'"),
        (["$1.5M", "$20M", "$3B"], "3 amounts such as"),
        (["€2 Mio", "3,5 Mio", "1 Mrd"], "3 amounts such as"),
        (["1k", "2k", "500"], "3 amounts such as"),
        (["13:05", "7:30"], "2 times such as"),
        (["13:05:10", "07:30:00"], "2 times such as"),
        (["August 20th, 2014", "May 1st, 2014"], "2 dates such as"),
        (["20. August 2014", "12. Dezember 2014", "3. Mai 2014"], "3 dates such as '12. Dezember 2014'"),
        (["2014-W34", "2015-W01"], "2 weeks or quarters such as"),
        (["2014-Q3", "Q1 2015"], "2 weeks or quarters such as"),
        (["True", "False", "maybe"], "true and false, and 4 x 'maybe'"),
        (["true", "false", "-"], "true and false, and 4 x '-'"),
    ],
)
def test_what_looks_like_numbers_dates_or_flags_and_is_read_as_categories_is_asked_about(texts, said):
    column = pd.Series(texts * 4, dtype="str")
    found = infer_kinds(pd.DataFrame({"x": column}), [])
    assert found.kinds == {"x": "categorical"}
    (question,) = found.questions
    assert said in question.why
    guess = guess_target(column, "x", str)
    assert (guess.kind, guess.is_question) == ("single_label", True)
    assert said.partition(" ")[2] in guess.why


def test_true_and_false_in_several_spellings_are_asked_about():
    found = infer_kinds(pd.DataFrame({"x": pd.Series(["True", "FALSE", "F", "true"] * 4, dtype="str")}), [])
    assert found.kinds == {"x": "boolean"}
    assert "several spellings" in found.questions[0].why


@pytest.mark.parametrize(
    "texts", [["red", "blue"], ["yes", "no"], ["10-20", "20-30"], ["A12", "B7"], ["3 oak", "4 elm"]]
)
def test_nothing_is_said_of_plain_categories(texts):
    found = infer_kinds(pd.DataFrame({"x": pd.Series(texts * 4, dtype="str")}), [])
    assert found.kinds == {"x": "categorical"}
    assert not (*found.questions, *found.warnings)
