"""A small table of houses with random contents, its preprocessing, and tasks on it with random weights."""

from __future__ import annotations

import numpy as np

SOLD = ("no", "yes", "maybe")
TAGS = ("bright", "quiet")
FEATURES = ("colour", "rooms", "area (m²)", "garden", "built", "distance")


def tiny_preprocessing(missing_flag=True):
    """Strings, whole numbers, floats, booleans and dates, as `fit_table` would describe them."""
    from tlkit.inputs.row.columns import Categorical, Continuous, Date
    from tlkit.inputs.row.preprocessing import TablePreprocessing

    return TablePreprocessing(
        (
            Categorical("colour", "colour", "string", ("blue", "green", "red", "żółty")),
            Categorical("rooms", "rooms", "int64", ("1", "2", "3", "4")),
            Continuous("area (m²)", "area__m__", median=80.0, center=90.0, scale=30.0, flag=missing_flag),
            Categorical("garden", "garden", "string", ("false", "true")),
            Date(
                "built",
                "built",
                parts=("year", "month", "day_of_week", "month_end", "elapsed"),
                cyclic=True,
                elapsed_center=16_000.0,
                elapsed_scale=700.0,
                years=(2012, 2013, 2014),
            ),
            Continuous("distance", "distance", median=3.0, center=4.0, scale=2.0, quantiles=(0.0, 1.0, 3.0, 6.0, 20.0)),
        )
    )


def tiny_frame(n=24, seed=0, targets=True):
    """Rows with missing values here and there, whose targets follow from the columns.

    Columns: `FEATURES`, and with `targets` also price and rent in € (floats), sold (one of `SOLD`) and tags (such as
    "bright|quiet").
    """
    import pandas as pd

    draw = np.random.default_rng(seed)
    colour = draw.choice(["blue", "green", "red", "żółty"], n).astype(object)
    rooms = draw.integers(1, 5, n)
    area = draw.uniform(30, 150, n).round(1)
    garden = draw.random(n) < 0.5
    built = pd.Timestamp("2012-01-01") + pd.to_timedelta(draw.integers(0, 1000, n), unit="D")
    distance = draw.exponential(4, n).round(2)
    price = (1000 * area * (1 + 0.3 * garden) / (1 + 0.1 * distance)).round(0)
    sold = [SOLD[place] for place in (rooms + (colour == "red")) % 3]
    has = zip(area > 80, distance > 3, strict=True)
    tags = ["|".join(tag for tag, one in zip(TAGS, pair, strict=True) if one) for pair in has]
    frame = pd.DataFrame(
        {
            "colour": colour,
            "rooms": pd.Series(rooms, dtype="Int64"),
            "area (m²)": area,
            "garden": pd.Series(garden, dtype="boolean"),
            "built": built.strftime("%Y-%m-%d").to_series(index=range(n)).astype(object),
            "distance": distance,
        }
    )
    for place, name in enumerate(FEATURES):
        frame.loc[frame.index[place + 2 :: 9], name] = pd.NA if name in ("rooms", "garden") else None
    if targets:
        frame = frame.assign(**{"price": price, "rent in €": price / 170, "sold": sold, "tags": tags})
    return frame


def tiny_targets(kind):
    """What a task of this kind learns: sold, tags, the price, or rent, sold and price at once."""
    from tlkit.targets.multi_label import MultiLabel
    from tlkit.targets.regression import Regression
    from tlkit.targets.single_label import SingleLabel

    sold = SingleLabel("sold", SOLD)
    tags = MultiLabel("tags", TAGS)
    rent = Regression("rent in €", center=400.0, scale=15.0, weight=0.5)
    price = Regression("price", transform="log", center=11.3, scale=0.1)
    return {
        "single_label": (sold,),
        "multi_label": (tags,),
        "regression": (price,),
        "several": (rent, sold, price),
    }[kind]


def tiny_table_task(kind="single_label", seed=0, preprocessing=None):
    """A Task over the table that answers at once and tells rows apart.

    Args:
        kind: `"single_label"`, `"multi_label"`, `"regression"` or `"several"`.
    """
    from tlkit.tasks.tabular.model import tabular_model

    task = tabular_model(preprocessing or tiny_preprocessing(), tiny_targets(kind), hidden=(8, 6), seed=seed)
    draw = np.random.default_rng(seed)
    for variable in task.model.trainable_variables:
        if variable.ndim > 1:  # small initial embeddings would make all categories alike
            variable.assign(draw.normal(scale=0.7, size=variable.shape))
    return task
