"""Measure the recommender on MovieLens: `tools/bench_recommender.py ../shared/data/ml-latest-small`.

`ratings`: KFold(5, shuffled, seed 0). RMSE and MAE of the template's defaults, with and without the genres of the
films, of one network instead of eight, of the bias model, of boosting on biases and counts, and of Surprise's bias
model, SVD and SVD++ where Surprise is installed. Seconds are of the training alone.

`lists`: the last rating of each user is held out. Recall, nDCG and MRR at 10 over all films that the user has not
rated, of the defaults, of the most rated films, of item-kNN, and of implicit's ALS and BPR where implicit is installed.

`large`: ten million generated ratings: rows per second of one epoch and peak memory.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from sklearn.model_selection import KFold

import tlkit
from tlkit.inputs.row.columns import FIRST
from tlkit.tasks.recommender import ranking
from tlkit.tasks.recommender.config import RecommenderModelSection, RecommenderTrainSection

COLUMNS = {"user": "userId", "item": "movieId"}
MODEL, TRAIN = RecommenderModelSection(), RecommenderTrainSection()


def trained(
    data: tlkit.TabularData, item_columns: tuple[str, ...] = (), epochs: int = TRAIN.epochs, **own: Any
) -> tuple[tlkit.Learner, float]:
    """Train with the template's defaults; return the Learner and the seconds that fit took."""
    sides = {**COLUMNS, "item_columns": item_columns}
    options = {"factors": MODEL.factors, "members": MODEL.members} | own
    task = tlkit.recommender_model(
        data.preprocessing, data.targets, **sides, **options, entries=tlkit.catalogue_entries(data, **sides)
    )
    tlkit.fill_catalogue(task, data)
    adamw = partial(keras.optimizers.AdamW, weight_decay=TRAIN.weight_decay, beta_2=0.99, epsilon=1e-5)
    learn = tlkit.Learner(task, data, optimizer=adamw, steps_per_call=16)
    begin = time.perf_counter()
    learn.fit(epochs, TRAIN.learning_rate, verbose=False)
    return learn, time.perf_counter() - begin


def _errors(predicted: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    return float(np.sqrt(np.mean((predicted - true) ** 2))), float(np.mean(np.abs(predicted - true)))


def _by_tlkit(table: pd.DataFrame, genres: bool, **own: Any) -> tuple[float, float, float]:
    more = ("genres",) if genres else ()
    data = tlkit.ratings_from_file(table, **COLUMNS, rating="rating", split_column="part", item_columns=more)
    learn, seconds = trained(data, more, **own)
    metrics = learn.evaluate()
    return metrics.rmse, metrics.mae, seconds


def _by_biases(table: pd.DataFrame) -> tuple[float, float, float]:
    data = tlkit.ratings_from_file(table, **COLUMNS, rating="rating", split_column="part")
    begin = time.perf_counter()
    answers = ranking.bias_ratings(data, 0, 1, "val")
    return *_errors(answers, data.labels("val").reshape(-1)), time.perf_counter() - begin


def _by_boosting(table: pd.DataFrame) -> tuple[float, float, float]:
    """Boosting on the mean, the spread and the number of the user's and the film's other ratings."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    train, val = table[table["part"] == "train"], table[table["part"] == "val"]
    begin = time.perf_counter()
    inputs, mean = [], train["rating"].mean()
    for rows in (train, val):
        own = rows is train  # a training row must not see its own rating
        columns = []
        for name in COLUMNS.values():
            of = train.groupby(name)["rating"].agg(["sum", "count", "std"])
            found = of.reindex(rows[name]).to_numpy()
            total, count = np.nan_to_num(found[:, 0]), np.nan_to_num(found[:, 1])
            if own:
                total, count = total - rows["rating"].to_numpy(), count - 1
            columns += [(total + 5 * mean) / (count + 5), count, found[:, 2]]
        inputs.append(np.stack(columns, axis=1))
    model = HistGradientBoostingRegressor(random_state=0).fit(inputs[0], train["rating"])
    return *_errors(model.predict(inputs[1]), val["rating"].to_numpy()), time.perf_counter() - begin


def _by_surprise(table: pd.DataFrame, name: str) -> tuple[float, float, float]:
    import surprise

    reader = surprise.Reader(rating_scale=(0.5, 5))
    train, val = (table[table["part"] == part][[*COLUMNS.values(), "rating"]] for part in ("train", "val"))
    model = getattr(surprise, name)(**({} if name == "BaselineOnly" else {"random_state": 0}))
    begin = time.perf_counter()
    model.fit(surprise.Dataset.load_from_df(train, reader).build_full_trainset())
    seconds = time.perf_counter() - begin
    answers = np.array([model.predict(*pair).est for pair in val[[*COLUMNS.values()]].itertuples(index=False)])
    return *_errors(answers, val["rating"].to_numpy()), seconds


def compare_ratings(folder: Path, folds: int) -> None:
    """Print errors of all sides, mean over folds."""
    table = pd.read_csv(folder / "ratings.csv").merge(pd.read_csv(folder / "movies.csv"), on="movieId")
    table = table.sort_values(["userId", "timestamp"], kind="stable").reset_index(drop=True)
    plain = pd.read_csv(folder / "ratings.csv")
    sides: dict[str, Any] = {
        "tlkit, defaults": lambda own: _by_tlkit(own, False),
        "tlkit, defaults and genres": lambda own: _by_tlkit(own, True),
        "tlkit, a single network": lambda own: _by_tlkit(own, False, members=1),
        "bias model": _by_biases,
        "boosting on biases and counts": _by_boosting,
    }
    if importlib.util.find_spec("surprise"):
        sides |= {f"Surprise {name}": partial(_by_surprise, name=name) for name in ("BaselineOnly", "SVD", "SVDpp")}
    genres = dict(zip(table["movieId"], table["genres"], strict=True))
    plain["genres"] = plain["movieId"].map(genres)
    found: dict[str, list[tuple[float, float, float]]] = {}
    for number, (_, held) in enumerate(KFold(5, shuffle=True, random_state=0).split(plain)):
        if number == folds:
            break
        plain["part"] = "train"
        plain.loc[held, "part"] = "val"
        for name, measure in sides.items():
            found.setdefault(name, []).append(measure(plain.copy()))
            print(f"  fold {number} {name}: RMSE {found[name][-1][0]:.4f} in {found[name][-1][2]:.0f} s", flush=True)
    print("\n| model | RMSE | MAE | seconds a fold |\n|---|---|---|---|")
    for name, results in found.items():
        rmse, mae, seconds = np.mean(results, axis=0)
        print(f"| {name} | {rmse:.4f} | {mae:.4f} | {seconds:.0f} |")


def _implicit_scores(pairs: ranking.Pairs) -> Iterator[tuple[str, ranking.Scorer]]:
    if not importlib.util.find_spec("implicit"):
        return
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking
    from scipy import sparse

    rows = np.repeat(np.arange(pairs.users), np.diff(pairs.train.begins))
    has = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, pairs.train.items)), (pairs.users, pairs.items))
    for name, model in (
        ("implicit ALS", AlternatingLeastSquares(factors=64, random_state=0)),
        ("implicit BPR", BayesianPersonalizedRanking(factors=64, random_state=0)),
    ):
        model.fit(has, show_progress=False)
        yield name, lambda users, model=model: model.user_factors[users] @ model.item_factors.T


def compare_lists(folder: Path) -> None:
    """Print metrics of ranked lists."""
    data = tlkit.ratings_from_file(folder / "ratings.csv", **COLUMNS, rating="rating", time="timestamp", split="last")
    learn, _ = trained(data)
    pairs = ranking.pairs_of(learn.task, data)
    sides = [
        ("tlkit, ratings", ranking.model_scores(learn.task)),
        ("most rated", ranking.popularity_scores(pairs)),
        ("item-kNN", ranking.item_knn_scores(pairs)),
        *_implicit_scores(pairs),
    ]
    for name, scores in sides:
        print(f"{name}: {ranking.ranking_metrics(scores, pairs)}", flush=True)


def measure_large(rows: int, users: int = 200_000, items: int = 50_000) -> None:
    """Print rows per second of one epoch over generated ratings, and peak memory."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "userId": rng.integers(0, users, rows),
            "movieId": (rng.pareto(1.2, rows) * 200).astype(np.int64) % items,
            "rating": rng.integers(1, 11, rows) / 2,
        }
    ).drop_duplicates(["userId", "movieId"])
    begin = time.perf_counter()
    data = tlkit.ratings_from_file(table, **COLUMNS, rating="rating", batch_size=8192, val_fraction=0.01)
    read = time.perf_counter() - begin
    learn, seconds = trained(data, epochs=1, members=1)
    count = len(data.labels("train"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    vectors = sum(int(np.prod(weight.shape)) for weight in learn.task.model.trainable_weights)
    print(
        f"{count:,} ratings of {data.preprocessing.codes[0].size - FIRST:,} users: read in {read:.0f} s, "
        f"{count / seconds:,.0f} ratings/s, {vectors:,} weights, peak memory {peak:.1f} GB"
    )


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", nargs="+", default=["ratings", "lists"], choices=["ratings", "lists", "large"])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=10_000_000)
    asked = parser.parse_args()
    if "ratings" in asked.parts:
        compare_ratings(asked.folder, asked.folds)
    if "lists" in asked.parts:
        compare_lists(asked.folder)
    if "large" in asked.parts:
        measure_large(asked.rows)


if __name__ == "__main__":
    main()
