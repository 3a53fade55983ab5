"""The part `kinds` of tools/bench_tabular.py: a network, TabM, boosted trees and their blend on several tables."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from bench_tabular import ROSSMANN, read_adult, tlkit

FIGURES = {
    "regression": ("rmse", "mae", "rmspe"),
    "binary": ("auc", "log_loss", "accuracy"),
    "classes": ("log_loss", "accuracy"),
}


def compare_kinds(options: argparse.Namespace, scratch: Path) -> None:
    """Print a table for each set: mean and spread over the seeds."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    logging.getLogger("tlkit").setLevel(logging.INFO if "-v" in sys.argv else logging.ERROR)
    for name in options.sets:
        rows: dict[str, list[list[float]]] = {}
        keys: tuple[str, ...] = ()
        for seed in range(options.seeds):
            folder = scratch / f"{name}-{seed}"
            folder.mkdir()
            project = _project(name, seed, options, folder)
            keys = _measure(project, seed, options, rows)
        print(f"{name}: {options.seeds} seed(s)   {'   '.join(keys)}   time s", flush=True)
        for model, found in rows.items():
            mean, spread = np.mean(found, axis=0), np.std(found, axis=0)
            cells = [f"{m:.4f} ± {s:.4f}" for m, s in zip(mean[:-1], spread[:-1], strict=True)]
            print(f"  {model:<34} {'   '.join(cells)}   {mean[-1]:.0f}", flush=True)


def _project(name: str, seed: int, options: argparse.Namespace, folder: Path) -> Path:
    """Make the project of a table: `tlkit new`, and for Rossmann the config of the other part."""
    project = folder / "project"
    if name == "rossmann":
        train = options.rossmann / "train.csv.gz"
        tlkit("new", "tabular-embeddings", str(project), "--data", str(train), "--target", "Sales", cwd=folder)
        config = ROSSMANN.format(train=train, store=options.rossmann / "store.csv")
        (project / "config.toml").write_text(config.replace("[model]", '[model]\nkind = "blend"'))
        return project
    data, target = folder / "data", "target"
    data.mkdir()
    if name == "flights":
        tlkit("samples", "get", "flights", str(data), cwd=folder)
        target = "arr_delay"
    else:
        train_rows, test_rows, target = _split(name, seed, options)
        train_rows.to_csv(data / "train.csv", index=False)
        test_rows.to_csv(data / "test.csv", index=False)
    more = ["--set", "columns.date=date", "--set", "data.group_column=date"] if name == "flights" else []
    tlkit("new", "tabular-embeddings", str(project), "--data", str(data), "--target", target, *more, cwd=folder)
    return project


def _split(name: str, seed: int, options: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    if name == "adult":
        frame, target = read_adult(options.adult)
        return *train_test_split(frame, test_size=0.2, stratify=frame[target], random_state=0), target
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    if name == "diabetes":
        return *train_test_split(frame, test_size=0.25, random_state=seed), "target"
    frame["target"] = [f"class {number}" for number in frame["target"]]
    return *train_test_split(frame, test_size=0.25, stratify=frame["target"], random_state=seed), "target"


def _measure(
    project: Path, seed: int, options: argparse.Namespace, rows: dict[str, list[list[float]]]
) -> tuple[str, ...]:
    from tlkit.config import load_config
    from tlkit.tasks.tabular.blend import set_shares, shares_of

    sys.path.insert(0, str(project))
    for module in ("model", "train"):
        sys.modules.pop(module, None)
    train: Any = importlib.import_module("train")
    sys.path.remove(str(project))
    overrides = [*options.set, f"data.seed={seed}"]
    data = train.load_data(load_config(project / "config.toml", overrides))
    target = data.targets[0]
    keys = FIGURES[
        "regression" if target.kind == "regression" else "binary" if len(target.class_names) == 2 else "classes"
    ]

    def note(model: str, metrics: Any, seconds: float) -> None:
        figures = [float(getattr(metrics, key)) for key in keys]
        rows.setdefault(model, []).append([*figures, seconds])
        print(
            f"    seed {seed} {model}: {', '.join(f'{figure:.4f}' for figure in figures)} in {seconds:.0f} s",
            flush=True,
        )

    _boosting(data, note)
    for kind in options.kinds:
        config = load_config(project / "config.toml", [*overrides, f"model.kind={kind}"])
        start = time.monotonic()
        where = {"directory": project / f"run-{kind}"}
        learn = train.fit(config, train.build(config, data, **where), data, **where)
        seconds = time.monotonic() - start
        shares = shares_of(learn.task)
        said = (
            f" ({', '.join(f'{share:.3g}' for share in shares.values())} trees)"
            if shares and options.seeds == 1
            else ""
        )
        note(f"tlkit {kind}{said}", learn.evaluate("test"), seconds)
        for share, part in ((0.0, "network"), (1.0, "trees")) if shares else ():
            set_shares(learn.task, [share] * len(shares))
            note(f"  its {part} alone", learn.evaluate("test"), float("nan"))
    return keys


def _others(raw: Any, classes: bool, seed: int) -> list[tuple[str, Any, Any]]:
    """Make LightGBM and CatBoost with their defaults, where they are installed: name, model, what makes its inputs."""
    found: list[tuple[str, Any, Any]] = []
    places = [place for place, category in enumerate(raw.categories) if category]
    if importlib.util.find_spec("lightgbm"):
        import lightgbm

        maker: Any = lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor
        model = maker(random_state=seed, n_jobs=1, verbose=-1, categorical_feature=places)
        found.append(("LightGBM, default", model, lambda inputs: inputs))
    if importlib.util.find_spec("catboost"):
        import catboost

        maker = catboost.CatBoostClassifier if classes else catboost.CatBoostRegressor

        def texts(inputs: np.ndarray) -> pd.DataFrame:
            frame = pd.DataFrame(inputs)
            for place in places:  # a missing category is one of its own, which CatBoost wants as text
                frame[place] = [str(value) for value in frame[place]]
            return frame

        model = maker(random_seed=seed, thread_count=1, verbose=0, allow_writing_files=False, cat_features=places)
        found.append(("CatBoost, default", model, texts))
    return found


def _boosting(data: Any, note: Any) -> None:
    """HistGradientBoosting, LightGBM and CatBoost on the raw columns, of the training and the validation rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    from tlkit.targets.objective import measure_answers
    from tlkit.tasks.tabular.boosting import _Raw

    raw, target = _Raw(data.preprocessing), data.targets[0]
    frame = pd.concat([data.frame("train"), data.frame("val")])
    inputs, asked = raw.fit(frame), raw.transform(data.frame("test"))
    labels = np.concatenate([data.labels("train"), data.labels("val")])
    classes = target.kind != "regression"
    maker: Any = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    contenders: list[tuple[str, Any, Any]] = [
        (
            f"HistGradientBoosting, {name}",
            maker(categorical_features=raw.categories, random_state=data.seed, **more),
            lambda inputs: inputs,
        )
        for name, more in (("default", {}), ("1,000 iterations", {"max_iter": 1000, "early_stopping": True}))
    ]
    for name, model, form in [*contenders, *_others(raw, classes, data.seed)]:
        start = time.monotonic()
        with threadpool_limits(1, user_api="openmp"):
            model.fit(form(inputs), labels if classes else target.forward(labels[:, 0])[:, 0])
        if classes:
            answers = model.predict_proba(form(asked))
        else:
            answers = target.answers(model.predict(form(asked))[:, None].astype(np.float32)).numpy()
        seconds = time.monotonic() - start
        note(name, measure_answers(answers, data.labels("test"), data.targets), seconds)
