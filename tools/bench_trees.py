"""Settings of boosted trees and computed numbers, by cross-validation on training rows alone.

    python tools/bench_trees.py [--sets adult flights] [--options '{"bags": 3}'] [--features '{"counts": "all"}']

Prints for each set and each setting RMSE and MAE, or log-loss and AUC, over three folds of the rows that
tools/bench_tabular.py trains on, with the standard error of the mean over the folds. Test rows are never read.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from bench_kinds import _split
from bench_tabular import tlkit
from sklearn.model_selection import KFold

from tlkit.inputs.row.reading import table_from_file
from tlkit.targets.objective import Objective, measure_answers
from tlkit.tasks.tabular.tree_fit import BoostingOptions, fit_trees
from tlkit.tasks.tabular.tree_layer import BoostedTreesLayer


def rows_of(name: str, given: argparse.Namespace) -> tuple[pd.DataFrame, str, dict[str, Any]]:
    """Return the training rows of a set, its target, and the kinds of its columns."""
    if name != "flights":
        train, _, target = _split(name, 0, given)
        return train.reset_index(drop=True), target, {}
    with tempfile.TemporaryDirectory() as folder:
        tlkit("samples", "get", "flights", folder, cwd=Path(folder))
        return pd.read_csv(Path(folder) / "train.csv"), "arr_delay", {"date": "date"}


def figures(parts: dict[str, pd.DataFrame], target: str, kinds: dict[str, Any], features: Any, options: Any) -> Any:
    """Fit trees to one part and measure them on the other."""
    data = table_from_file(parts, target, kinds=kinds, features=features)
    objective = Objective(data.targets)
    fitted = fit_trees(
        data.encoded("train"), objective.encode(data.labels("train")), data.preprocessing, objective,
        options=BoostingOptions(**options), verbose=False,
    )  # fmt: skip
    layer = BoostedTreesLayer(fitted.trees.shape, fitted.trees)
    asked = data.encoded("val")
    outputs = np.concatenate([layer(asked[at : at + 4096]).numpy() for at in range(0, len(asked), 4096)])
    found: Any = measure_answers(
        objective.probabilities(tf.constant(outputs)).numpy(), data.labels("val"), data.targets
    )
    return (found.rmse, found.mae) if data.targets[0].kind == "regression" else (found.log_loss, found.auc or np.nan)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adult", type=Path, default=Path("../shared/data/adult/adult.data.gz"))
    parser.add_argument("--sets", nargs="+", default=["adult", "flights"])
    parser.add_argument("--options", nargs="+", type=json.loads, default=[{}], help="of boosting, as JSON")
    parser.add_argument("--features", nargs="+", type=json.loads, default=[{}], help="computed numbers, as JSON")
    given = parser.parse_args()
    for name in given.sets:
        frame, target, kinds = rows_of(name, given)
        for features in given.features:
            for options in given.options:
                found = [
                    figures({"train": frame.iloc[train], "val": frame.iloc[held]}, target, kinds, features, options)
                    for train, held in KFold(3, shuffle=True, random_state=0).split(frame)
                ]
                mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
                print(name, options, features, np.round(mean, 5), "standard error", np.round(error, 5), flush=True)


if __name__ == "__main__":
    main()
