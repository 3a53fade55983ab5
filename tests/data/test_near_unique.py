"""Text columns with almost one value a row: which are ids, and what the others are called."""

from __future__ import annotations

import hashlib
import uuid

import numpy as np
import pandas as pd
import pytest

from tlkit.data.column_kinds import infer_kinds
from tlkit.data.near_unique import describe_near_unique

N = 60
RANDOM = np.random.default_rng(5)
NUMBERS = RANDOM.choice(10**6, N, replace=False)
LEAKS = "useless, and it leaks"
BY_HEART = "it would be learned by heart"
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
    assert AMOUNTS in why
    # Most are recognised as numbers before that.
    found = infer_kinds(pd.DataFrame({"x": texts}), [])
    assert found.kinds["x"] != "id"
    assert LEAKS not in (*found.warnings, *found.questions)[0].why


def test_numbers_with_a_fraction_are_never_ids():
    frame = pd.DataFrame({"price": np.sort(NUMBERS) / 100, "long": RANDOM.random(N)})
    found = infer_kinds(frame, [])
    assert set(found.kinds.values()) == {"continuous"}
    assert not found.warnings
