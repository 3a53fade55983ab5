"""Measure survival risks whose true hazard is known: `tools/bench_survival.py ../shared/data/hymenoptera`.

Images: a hazard depends on the class of a photo and on its brightness. Times are drawn from it several times; a linear
probe on the features of the pretrained network learns from the censored times of the training images. Its C-index on
held-out images is divided by the C-index of the true hazard. The same ratio of a ridge regression that is trained on
the true hazard of the training images, without noise, is the most that a linear map of these features can be expected
to reach with that many images.

Rows: a table with numbers and categories, a hazard with an interaction, and the defaults of the tabular template's
network. The ratio is printed for both methods.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from bench_image_targets import SIDE, make
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

METHODS = ("hazard", "cox")
RATE = 0.002  # events a day at a log hazard of 0


def drawn(hazard: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw times and events, float [n, 2], censored between day 50 and day 1000."""
    died = rng.exponential(1 / (RATE * np.exp(hazard)))
    seen = np.minimum(rng.uniform(50, 1500, len(hazard)), 1000.0)
    return np.stack([np.maximum(np.minimum(died, seen), 0.01).round(2), died <= seen], axis=1).astype(float)


def concordance(risks: np.ndarray, labels: np.ndarray) -> float:
    """Return Harrell's C."""
    from tlkit.report.survival import survival_metrics

    return survival_metrics(np.asarray(risks, float), labels[:, 0], labels[:, 1]).concordance


def images(photos: Path, folder: Path, draws: int) -> dict[str, list[float]]:
    """Return the ratios of each draw, by method."""
    import tlkit
    from tlkit.targets.objective import Objective
    from tlkit.targets.survival import fit_survival
    from tlkit.training.features import run
    from tlkit.training.linear_probe import fit_linear_probe

    make(photos, folder, copies=1)
    table = folder / "risks.csv"
    truth = pd.read_csv(table).set_index("path")["hazard"]
    columns = tlkit.SurvivalColumns("days", "died")
    data = tlkit.images_with_targets(table, columns, split_column="split", size=SIDE)
    task = tlkit.image_regressor("efficientnet-lite0", data.targets, size=SIDE)
    features = {split: run(task.features, data.ordered(split)) for split in ("train", "val")}
    hazards = {
        split: truth.loc[[str(path.relative_to(folder)) for path in data.paths(split)]].to_numpy() for split in features
    }
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(1, 6, 20))).fit(features["train"], hazards["train"])
    ratios: dict[str, list[float]] = {}
    for draw in range(draws):
        rng = np.random.default_rng(100 + draw)
        labels = {split: drawn(hazard, rng) for split, hazard in hazards.items()}
        best = concordance(hazards["val"], labels["val"])
        for method in METHODS:
            target = fit_survival(tlkit.SurvivalColumns("days", "died", method), labels["train"])
            objective = Objective([target])
            probe = fit_linear_probe(features["train"], target.forward(labels["train"]), objective)
            found = np.asarray(objective.probabilities(features["val"] @ probe.kernel + probe.bias))[:, 0]
            ratios.setdefault(method, []).append(concordance(found, labels["val"]) / best)
        at_most = concordance(ridge.predict(features["val"]), labels["val"]) / best
        ratios.setdefault("ridge on the true hazard", []).append(at_most)
    return ratios


def rows(count: int, draws: int) -> dict[str, list[float]]:
    """Return the ratios of each draw, by method."""
    import tlkit

    ratios: dict[str, list[float]] = {}
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        table = pd.DataFrame(
            {
                "age": rng.normal(60, 12, count).round(1),
                "marker": rng.lognormal(1.0, 0.6, count).round(3),
                "stage": rng.choice(["I", "II", "III", "IV"], count, p=[0.4, 0.3, 0.2, 0.1]),
                "treated": rng.choice(["yes", "no"], count),
                "noise": rng.normal(size=count).round(3),
            }
        )
        stage = table["stage"].map({"I": -1.0, "II": -0.3, "III": 0.5, "IV": 1.4}).to_numpy()
        helped = np.where(table["treated"] == "yes", -0.8 * (table["age"] < 65), 0.0)
        hazard = 0.04 * (table["age"].to_numpy() - 60) + 0.6 * np.log(table["marker"].to_numpy()) - 0.6 + stage + helped
        labels = drawn(hazard, rng)
        table["days"], table["died"] = labels[:, 0], labels[:, 1].astype(int)
        table["split"] = np.where(rng.random(count) < 0.3, "val", "train")
        val = (table["split"] == "val").to_numpy()
        best = concordance(hazard[val], labels[val])
        for method in METHODS:
            columns = tlkit.SurvivalColumns("days", "died", method)
            data = tlkit.table_from_file(table, columns, split_column="split", seed=draw)
            learn = tlkit.Learner(tlkit.tabular_model(data.preprocessing, data.targets), data)
            learn.fit(40, 3e-3, schedule="one_cycle", verbose=False)
            ratios.setdefault(method, []).append(learn.evaluate().concordance / best)
    return ratios


def show(name: str, measured: Callable[[], dict[str, list[float]]]) -> None:
    """Print the mean ratio of each method and its range."""
    start = time.perf_counter()
    for method, ratios in measured().items():
        print(
            f"{name}, {method}: {np.mean(ratios):.3f} of the true hazard's C-index "
            f"({min(ratios):.3f} to {max(ratios):.3f}, {len(ratios)} draws)",
            flush=True,
        )
    print(f"{name}: {time.perf_counter() - start:.0f} s")


def main() -> None:
    """Measure images and rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--draws", type=int, default=8, help="of the times of images")
    parser.add_argument("--rows", type=int, default=4000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        show("images", lambda: images(options.photos, Path(folder) / "made", options.draws))
    show("rows", lambda: rows(options.rows, 2))


if __name__ == "__main__":
    main()
