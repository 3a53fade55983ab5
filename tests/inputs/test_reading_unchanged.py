"""Splits, encodings, labels and listings of fixed data: what the readers make of it must not change."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from photos import photo

import tlkit
from tlkit.inputs.image.listing import list_table as list_images
from tlkit.inputs.row.evaluating import table_to_evaluate
from tlkit.inputs.text.listing import list_table as list_texts
from tlkit.targets.survival_columns import SurvivalColumns

FIGURES = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
COUNT = 120


def rows() -> pd.DataFrame:
    """Columns of every kind, some values missing, some rows repeated."""
    number = np.arange(COUNT)
    days = pd.date_range("2021-01-01", periods=COUNT, freq="D").strftime("%Y-%m-%d")
    frame = pd.DataFrame(
        {
            "day": days,
            "town": np.array(["Bonn", "Ulm", "Kiel", "", "München"])[number * 7 % 5],
            "area": (number * 37 % 101) / 4 + 10,
            "code": [f"{value:03d}" for value in number * 13 % 17],
            "garden": np.where(number % 3 == 0, "true", "false"),
            "holiday": (number % 10 == 0).astype(int),
            "customer": number // 4,
            "price": (number * 37 % 101) * 2.5 + number % 7 + 1.25,
            "sold": np.where(number * 11 % 4 == 0, "yes", "no"),
            "a": number % 2,
            "b": number // 2 % 2,
            "time": number % 13 + 1.5,
            "event": number * 5 % 11 > 4,
        }
    )
    frame.loc[5:9, "area"] = np.nan
    frame.loc[[3, 30], "price"] = np.nan
    return pd.concat([frame, frame.iloc[40:44]], ignore_index=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("unchanged")
    frame = rows()
    frame.to_csv(root / "rows.csv", index=False)
    frame.to_parquet(root / "rows.parquet")
    frame.assign(area=[str(v).replace(".", ",") if v == v else "-" for v in frame["area"]]).to_csv(
        root / "german.csv.gz", index=False, sep=";", encoding="latin-1"
    )
    pd.DataFrame({"town": ["Bonn", "Ulm", "Kiel"], "people": [330_000, 126_000, 246_000]}).to_csv(
        root / "towns.tsv", index=False, sep="\t"
    )
    (root / "parts").mkdir()
    for name, part in (("train", frame[:80]), ("test", frame[80:])):
        part.to_csv(root / "parts" / f"{name}.csv", index=False)
    for number in range(24):
        photo(number, number, 16, 12).save(root / f"{number:02d}.png")
    images = pd.DataFrame(
        {
            "path": [f"{number:02d}.png" for number in range(24)],
            "label": ["NA", "007", "1.0"] * 8,
            "tags": ["a;b", "b", "", "a"] * 6,
            "a": [1, 0] * 12,
            "b": [0, 0, 1, 1] * 6,
            "site": [number // 3 for number in range(24)],
            "split": (["train"] * 4 + ["val", "test"]) * 4,
            "angle": [number * 7.5 % 90 for number in range(24)],
            "rooms": ["two", "three", "", "two"] * 6,
            "time": [number % 5 + 1 for number in range(24)],
            "event": [number % 2 for number in range(24)],
        }
    )
    images.to_csv(root / "images.csv", index=False)
    images.to_parquet(root / "images.parquet")
    texts = [f'text {number}, "quoted"\nand\ta line\u2028of its own' for number in range(20)]
    part = pd.DataFrame(
        {"text": texts, "label": ["good", "bad"] * 10, "when": [f"2021-01-{n + 1:02d}" for n in range(20)]}
    )
    part.to_csv(root / "texts.csv", index=False)
    part.to_parquet(root / "texts.parquet")
    part.to_json(root / "texts.jsonl", orient="records", lines=True)
    return root


def digest(*values: Any) -> str:
    """Hash what is exact: row numbers, codes, texts; floats as far as every processor agrees."""
    own = hashlib.sha256()
    for value in values:
        if isinstance(value, np.ndarray):
            value = np.round(value.astype(np.float64), 3).tolist()
        own.update(json.dumps(value, default=str).encode())
    return own.hexdigest()[:16]


def of_table(data: tlkit.TabularData, exact: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {}
    codes = len(data.preprocessing.codes)
    for name in data.splits:
        inputs = data.encoded(name)
        found[name] = digest(data.rows(name), data.labels(name), inputs[:, :codes])
        found[f"{name} numbers"] = [round(float(value), 3) for value in inputs[:, codes:].mean(0)]
        if exact:
            found[f"{name} bits"] = hashlib.sha256(inputs.tobytes() + data.learned(name).tobytes()).hexdigest()
    found["kinds"] = dict(data.kinds)
    found["targets"] = [json.loads(json.dumps(target.to_dict(), default=str)) for target in data.targets]
    found["noticed"] = sorted(one.column for one in (*data.questions, *data.findings))
    found["dropped"] = data.dropped
    return found


def of_images(data: tlkit.ImageData) -> dict[str, Any]:
    found: dict[str, Any] = {"classes": list(data.class_names)}
    for name in data.splits:
        labels = np.asarray(data.labels(name), np.float64)
        found[name] = digest([path.name for path in data.paths(name)], np.nan_to_num(labels, nan=-9))
    return found


def of_listing(listing: Any) -> dict[str, Any]:
    names = [path.name for path in getattr(listing, "paths", ())] or listing.texts
    labels = [sorted(label) if isinstance(label, frozenset) else label for label in listing.labels]
    return {"digest": digest(names, labels, listing.splits, listing.groups), "classes": list(listing.class_names)}


TABLES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "values": ("rows.csv", "price", {"transform": "log", "cyclic": ["day"], "y_range": [1, 400]}),
    "values of parquet": ("rows.parquet", "price", {"scaling": "standard", "min_count": 3}),
    "classes in groups": ("rows.csv", "sold", {"group_column": "customer", "test_fraction": 0.2, "seed": 3}),
    "by time, joined": (
        "rows.csv",
        ["price", "sold"],
        {
            "time_column": "day",
            "val_from": "2021-03-20",
            "where": ["holiday < 2"],
            "join": [("towns.tsv", "town")],
            "events": ["holiday"],
            "loss_weights": {"sold": 0.5},
            "select": None,
        },
    ),
    "other marks": (
        "german.csv.gz",
        "price",
        {"separator": ";", "encoding": "latin-1", "missing": ["-"], "formats": {"area": {"decimal": ","}}},
    ),
    "labels": ("rows.csv", ["a", "b"], {"target_kinds": {"a": "multi_label", "b": "multi_label"}}),
    "survival": ("rows.csv", SurvivalColumns("time", "event"), {"kinds": {"customer": "categorical"}}),
    "parts": ("parts", "price", {"hash_buckets": {"town": 8}, "kinds": {"town": "categorical"}, "batch_size": 16}),
    "features": ("rows.csv", "price", {"features": {"counts": ["town"], "target_means": ["code"]}, "allow": ["a"]}),
}


def of_all(folder: Path, exact: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {}
    data = None
    for name, (file, targets, options) in TABLES.items():
        joined = [(folder / table, on) for table, on in options.get("join", ())]
        data = tlkit.table_from_file(folder / file, targets, **{**options, "join": joined})
        found[name] = of_table(data, exact)
        if name == "values":
            measured = table_to_evaluate(folder / "rows.parquet", data.preprocessing, data.targets)
            found["measured"] = of_table(measured, exact)
    lists = {
        "images": ("images.csv", {}),
        "images of parquet": ("images.parquet", {"group_column": "site", "split_column": "split"}),
        "tags": ("images.csv", {"label_column": "tags", "label_separator": ";"}),
        "marks": ("images.csv", {"label_columns": ["a", "b"]}),
    }
    for name, (file, options) in lists.items():
        found[name] = of_listing(list_images(folder / file, **options))
        found[f"{name}, read"] = of_images(tlkit.images_from_table(folder / file, size=32, **options))
    values: dict[str, tuple[Any, dict[str, Any]]] = {
        "angles": ("angle", {"transform": "yeo_johnson"}),
        "angles and rooms": (["angle", "rooms"], {"loss_weights": {"rooms": 0.5}, "group_column": "site"}),
        "risks": (SurvivalColumns("time", "event"), {"split_column": "split"}),
    }
    for name, (targets, options) in values.items():
        found[name] = of_images(tlkit.images_with_targets(folder / "images.csv", targets, size=32, **options))
    for file in ("texts.csv", "texts.parquet", "texts.jsonl"):
        found[file] = of_listing(list_texts(folder / file))
    found["texts by time"] = of_listing(list_texts(folder / "texts.csv", time_column="when"))
    return json.loads(json.dumps(found))


def test_what_readers_make_of_fixed_data_stays_as_it_was(folder: Path):
    found = of_all(folder)
    assert list(found) == list(FIGURES)
    for name, figures in FIGURES.items():
        assert found[name] == figures, name
