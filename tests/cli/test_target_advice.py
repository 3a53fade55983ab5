"""Which transform `tlkit new` writes for a numeric target, and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tlkit.cli.main import run
from tlkit.config import load_config
from tlkit.tasks.tabular.target_advice import advise_transform

DRAW = np.random.default_rng(0)
PRICES = np.exp(DRAW.normal(12, 0.8, 500)).round()


@pytest.mark.parametrize(
    ("values", "transform", "why"),
    [
        (PRICES, "log", r"skewed \(\d.*all above 0 .*errors count relative to the value"),
        (np.where(DRAW.random(500) < 0.2, 0, PRICES), "yeo_johnson", r"from 0 \(\d+% of the rows\)"),
        (DRAW.gamma(0.5, 30, 500) - 5, "none", "of both signs: try yeo_johnson"),
        (DRAW.normal(100, 5, 500), "none", "^$"),
        (DRAW.exponential(1.0, 500) + 100, "none", "^$"),
        (-PRICES, "none", "^$"),
        (PRICES[:29], "none", "^$"),
        (np.ones(100), "none", "^$"),
        (np.append(PRICES, [np.nan] * 50), "log", "all above 0"),
    ],
    ids=["prices", "zeros", "signs", "normal", "far from 0", "negative", "few", "constant", "gaps"],
)
def test_the_transform_follows_from_the_distribution(values, transform, why):
    found = advise_transform(values)
    assert found.transform == transform
    assert pd.Series([found.why]).str.contains(why, regex=True).all(), found.why


@pytest.mark.usefixtures("no_tensorflow")
def test_new_writes_it_with_the_reason(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"area": DRAW.uniform(30, 100, 500), "price": PRICES + 0.5})
    frame.to_csv("houses.csv", index=False)
    assert run(["new", "tabular-embeddings", "houses", "--data", "houses.csv", "--target", "price"]) == 0
    said = capsys.readouterr().err
    assert "target 'price': skewed (" in said
    assert 'transform = "log" in [target] of config.toml' in said
    line = next(line for line in Path("houses/config.toml").read_text().splitlines() if line.startswith("transform"))
    assert line.startswith('transform = "log"             # skewed (')
    assert load_config(tmp_path / "houses" / "config.toml").target.transform == "log"
    words = ["new", "tabular-embeddings", "other", "--data", "houses.csv", "--target", "price", "--set"]
    assert run([*words, "target.transform=none"]) == 0
    assert load_config(tmp_path / "other" / "config.toml").target.transform == "none"
    frame.assign(price=np.where(np.median(PRICES) < PRICES, "high", "low")).to_csv("houses.csv", index=False)
    assert run(["new", "tabular-embeddings", "classes", "--data", "houses.csv", "--target", "price"]) == 0
    assert load_config(tmp_path / "classes" / "config.toml").target.transform == "none"
