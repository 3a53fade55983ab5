"""The two real tables that the tabular part was built for; read by hand under ../shared/data."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tlkit.inputs.row.reading import table_from_file

pytestmark = pytest.mark.real
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def test_adult_is_read_without_the_space_after_its_commas(tmp_path):
    path = tmp_path / "adult.csv"
    path.write_bytes(gzip.decompress((SHARED / "adult" / "adult.data.gz").read_bytes()))
    data = table_from_file(path, "Salary")
    assert data.summary()["rows"] == {"train": 26048, "val": 6513}
    assert data.class_names == ["<=50K", ">50K"]
    assert data.kinds["workclass"] == "categorical"
    workclass = data.frame("train")["workclass"]
    assert not workclass.isna().any()  # a mark in a column of texts is a value unless it is said to be none
    marked = table_from_file(path, "Salary", missing=["?"]).frame("train")["workclass"]
    assert marked.isna().tolist() == (workclass == "?").tolist()
    assert marked.isna().any()
    assert {finding.column for finding in data.questions} == {"age", "education-num", "hours-per-week"}


def test_rossmann_is_joined_and_split_by_time():
    data = table_from_file(
        SHARED / "rossmann" / "train.csv.gz",
        "Sales",
        join=[(SHARED / "rossmann" / "store.csv", "Store")],
        where=["Open == 1", "Sales > 0"],
        time_column="Date",
        val_from="2015-06-19",
        events=["StateHoliday", "Promo"],
        event_group="Store",
        kinds={"Customers": "ignore", "Store": "categorical"},
        transform="log",
    )
    assert data.frame("train")["Date"].max() == "2015-06-18"
    assert data.frame("val")["Date"].min() == "2015-06-19"
    assert sum(data.summary()["rows"].values()) == 844_338
    assert {"Open", "Customers"} <= {name for name, kind in data.kinds.items() if kind == "ignore"}
    assert data.frame("train")["StateHoliday last 28 days"].max() > 1
