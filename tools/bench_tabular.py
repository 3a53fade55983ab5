"""Tables against plain Keras and boosting: accuracy, time, throughput, encoding.

    python tools/bench_tabular.py [--adult FILE] [--rossmann FOLDER] [--parts adult rossmann throughput encoding]
    python tools/bench_tabular.py --parts kinds [--sets adult flights diabetes ...] [--seeds 3] [--kinds blend tabm]

`kinds` compares what `model.kind` can be, with the template's other defaults, in one process and on the same rows, with
scikit-learn's HistGradientBoosting at its defaults and with 1,000 iterations and early stopping. These two learn from
training and validation rows, tlkit's kinds from training rows alone. A blend is also measured with its network and its
trees alone. `time` is that of one kind after TensorFlow was loaded.

FILE is UCI Adult with a header, FOLDER holds Rossmann's train.csv.gz and store.csv (both in ../shared/data). tlkit's
side is a project baked from the template, whose own `tlkit train` runs as a process of its own, imports
included. The other sides run in this process on the same rows: plain Keras with StringLookup, Embedding and
tf.data.from_tensor_slices, and scikit-learn's HistGradientBoosting on the raw columns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PARTS = ("adult", "rossmann", "throughput", "encoding", "kinds")
SETS = ("adult", "flights", "rossmann", "diabetes", "breast_cancer", "wine")


def tlkit(*arguments: str, cwd: Path) -> str:
    """Run the command line; its complaints stay visible."""
    command = [sys.executable, "-m", "tlkit", *arguments]
    return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=True).stdout


def read_adult(file: Path) -> tuple[pd.DataFrame, str]:
    """Read the census table and the name of its last column, the target."""
    frame = pd.read_csv(file, skipinitialspace=True)
    return frame, frame.columns[-1]


def split_adult(file: Path, seed: int) -> tuple[dict[str, pd.DataFrame], str]:
    """Split 80/20, stratified, seed 0, as the data's protocol says; a tenth of the 80 chooses the epoch."""
    from sklearn.model_selection import train_test_split

    frame, target = read_adult(file)
    rest, test = train_test_split(frame, test_size=0.2, stratify=frame[target], random_state=0)
    train, val = train_test_split(rest, test_size=0.1, stratify=rest[target], random_state=seed)
    return {"train": train, "val": val, "test": test}, target


def adult(options: argparse.Namespace, scratch: Path) -> None:
    """AUC of the template's defaults by seed, and of boosting on raw columns and on our embeddings."""
    aucs, seconds = [], []
    for seed in range(options.seeds):
        parts, target = split_adult(options.adult, seed)
        data = scratch / f"adult-{seed}"
        data.mkdir()
        for name, part in parts.items():
            part.to_csv(data / f"{name}.csv", index=False)
        project = scratch / f"adult-project-{seed}"
        tlkit("new", "tabular-embeddings", str(project), "--data", str(data), "--target", target, cwd=scratch)
        start = time.monotonic()
        tlkit("train", "--set", f"data.seed={seed}", *options.overrides, cwd=project)
        seconds.append(time.monotonic() - start)
        answer = json.loads(tlkit("evaluate", "--data", str(data / "test.csv"), "--json", cwd=project))
        aucs.append(answer["metrics"]["auc"])
        print(f"Adult seed {seed}: tlkit AUC {aucs[-1]:.4f} in {seconds[-1]:.0f} s", flush=True)
        if seed == 0:
            tlkit("embeddings", "export", "--to", "vectors", cwd=project)
            boosted_adult(parts, target, project / "vectors")
    print(f"Adult: mean of {len(aucs)} seeds {statistics.mean(aucs):.4f} in {statistics.mean(seconds):.0f} s")


def boosted_adult(parts: dict[str, pd.DataFrame], target: str, vectors: Path) -> None:
    """Boosting on the raw columns and on our embeddings."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline

    from tlkit.tasks.tabular.embedding_features import EmbeddingFeatures

    train = pd.concat([parts["train"], parts["val"]])
    truth = parts["test"][target] == sorted(train[target].unique())[1]
    raw = train.drop(columns=target)
    for column in raw.select_dtypes(exclude="number"):
        raw[column] = raw[column].astype("category")
    test = parts["test"].drop(columns=target).astype(raw.dtypes.to_dict())
    models: dict[str, tuple[Any, pd.DataFrame, pd.DataFrame]] = {
        "raw columns": (HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0), raw, test),
        "embeddings": (
            make_pipeline(EmbeddingFeatures(vectors), HistGradientBoostingClassifier(random_state=0)),
            train.drop(columns=target),
            parts["test"].drop(columns=target),
        ),
    }
    for name, (model, inputs, held_out) in models.items():
        model.fit(inputs, train[target])
        print(f"Adult: boosting on {name} AUC {roc_auc_score(truth, model.predict_proba(held_out)[:, 1]):.4f}")


def rossmann(options: argparse.Namespace, scratch: Path) -> None:
    """RMSPE on the last six weeks: the template with a short config, and boosting on the same columns."""
    project = scratch / "rossmann-project"
    train = options.rossmann / "train.csv.gz"
    tlkit("new", "tabular-embeddings", str(project), "--data", str(train), "--target", "Sales", cwd=scratch)
    (project / "config.toml").write_text(ROSSMANN.format(train=train, store=options.rossmann / "store.csv"))
    start = time.monotonic()
    tlkit("train", *options.overrides, cwd=project)
    seconds = time.monotonic() - start
    answer = json.loads(tlkit("evaluate", "--split", "test", "--json", cwd=project))
    lines = len([line for line in ROSSMANN.splitlines() if line.strip()])
    print(f"Rossmann: RMSPE {answer['metrics']['rmspe']:.4f} in {seconds:.0f} s; config of {lines} lines", flush=True)
    boosted_rossmann(project)


ROSSMANN = """\
[project]
name = "rossmann"
task = "tabular"
[data]
path = "{train}"
targets = "Sales"
join = {{ "{store}" = "Store" }}
where = ["Open == 1", "Sales > 0"]
time_column = "Date"
val_from = "2015-06-12"
test_from = "2015-06-19"
events = ["Promo", "StateHoliday", "SchoolHoliday"]
event_group = "Store"
batch_size = 1024
[target]
transform = "log"
[model]
hidden = [400, 200]
[train]
epochs = 8
[export]
directory = "saved_models/rossmann"
[columns]
Customers = "ignore"
"""


def boosted_rossmann(project: Path) -> None:
    """HistGradientBoosting with 1,000 iterations on the rows and columns that the network had, events included."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    import tlkit as kit
    from tlkit.config import load_config

    config = load_config(project / "config.toml")
    data = kit.table_from_file(config.data_path, config.targets, **config.table_options)
    used = [name for name, kind in data.kinds.items() if kind not in ("ignore", "id", "date")]

    def columns(frame: pd.DataFrame) -> pd.DataFrame:
        date = pd.to_datetime(frame["Date"])
        parts = {name: getattr(date.dt, name) for name in ("year", "month", "day", "day_of_year", "day_of_week")}
        return frame[used].assign(week=date.dt.isocalendar().week.astype(int), **parts)

    frames = {"train": pd.concat([data.frame("train"), data.frame("val")]), "test": data.frame("test")}
    inputs = {name: columns(frame) for name, frame in frames.items()}
    for column in inputs["train"].select_dtypes(exclude="number"):
        inputs["train"][column] = inputs["train"][column].astype("category")
    inputs["test"] = inputs["test"].astype(inputs["train"].dtypes.to_dict())
    start = time.monotonic()
    model = HistGradientBoostingRegressor(
        max_iter=1000, learning_rate=0.1, max_leaf_nodes=63, categorical_features="from_dtype", random_state=0
    )
    model.fit(inputs["train"], np.log(frames["train"]["Sales"]))
    error = np.sqrt(np.mean((np.exp(model.predict(inputs["test"])) / frames["test"]["Sales"] - 1) ** 2))
    print(f"Rossmann: boosting RMSPE {error:.4f} in {time.monotonic() - start:.0f} s")


def throughput(options: argparse.Namespace) -> None:
    """Training rows a second, validation included, in turn: tlkit, plain Keras, fastai; same network and batch size."""
    import keras
    import tensorflow as tf

    import tlkit as kit

    parts, target = split_adult(options.adult, 0)
    data = kit.table_from_file({"train": parts["train"], "val": parts["val"]}, target, batch_size=options.batch_size)
    # The same network on both sides: Keras has no layer for the bins.
    task = kit.tabular_model(data.preprocessing, data.targets, number_bins=0, dropout=0.0, embedding_dropout=0.0)
    learn = kit.Learner(task, data, steps_per_call=16)
    widths = [
        task.features.get_layer(f"embedding_{place}").output_dim for place in range(len(data.preprocessing.codes))
    ]

    frame = parts["train"]
    texts = [name for name, kind in data.kinds.items() if kind == "categorical"]
    numbers = [name for name, kind in data.kinds.items() if kind == "continuous"]
    for part in (frame, parts["val"]):
        part[texts] = part[texts].astype(str)
    inputs = {name: keras.Input((), dtype="string", name=name) for name in texts}
    inputs |= {name: keras.Input((1,), name=name) for name in numbers}
    vectors = []
    for name, width in zip(texts, widths, strict=True):
        lookup = keras.layers.StringLookup(vocabulary=sorted(frame[name].unique()))
        vectors.append(keras.layers.Embedding(lookup.vocabulary_size(), width)(lookup(inputs[name])))
    normal = keras.layers.BatchNormalization()(keras.layers.Concatenate()([inputs[name] for name in numbers]))
    x = keras.layers.Concatenate()([*vectors, normal])
    for units in (200, 100):
        x = keras.layers.BatchNormalization()(keras.layers.Dense(units, activation="relu")(x))
    plain = keras.Model(inputs, keras.layers.Dense(2)(x))
    plain.compile("adamw", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])

    def slices(part: pd.DataFrame) -> tf.data.Dataset:
        columns = {name: part[name].to_numpy(str if name in texts else np.float32) for name in (*texts, *numbers)}
        labels = (part[target] == sorted(frame[target].unique())[1]).to_numpy(np.int32)
        return tf.data.Dataset.from_tensor_slices((columns, labels))

    rows = slices(frame).shuffle(len(frame)).batch(options.batch_size).prefetch(2)
    held_out = slices(parts["val"]).batch(options.batch_size).prefetch(2)

    runs = {
        "tlkit": lambda: learn.fit(1, 1e-3, verbose=False),
        "plain Keras": lambda: plain.fit(rows, validation_data=held_out, epochs=1, verbose=0),
    }
    if options.fastai:
        runs["fastai"] = fastai_epoch(options, parts, target)
    speed: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(options.rounds + 1):  # the first traces
        for name, run in runs.items():
            start = time.monotonic()
            run()
            if turn:
                speed[name].append(len(frame) / (time.monotonic() - start))
    median = {name: statistics.median(values) for name, values in speed.items()}
    for name, value in median.items():
        print(f"{name}: {value:,.0f} rows/s at batch {options.batch_size}, tlkit is {median['tlkit'] / value:.2f} x")


def fastai_epoch(options: argparse.Namespace, parts: dict[str, pd.DataFrame], target: str) -> Callable[[], None]:
    """Give what trains one epoch of fastai in a process of its own, on the same rows."""
    folder = Path(tempfile.mkdtemp())
    for name in ("train", "val"):
        parts[name].to_csv(folder / f"{name}.csv", index=False)
    command = [options.fastai, str(Path(__file__).with_name("peer_fastai.py"))]
    files = [str(folder / "train.csv"), str(folder / "val.csv"), target, str(options.batch_size)]
    pipe = subprocess.PIPE
    process = subprocess.Popen([*command, *files], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    lines, answers = process.stdin, process.stdout
    if answers.readline() != "ready\n":
        raise SystemExit(f"{options.fastai} cannot train with fastai")

    def epoch() -> None:
        lines.write("go\n")
        lines.flush()
        float(answers.readline())

    return epoch


def encoding(options: argparse.Namespace) -> None:
    """Seconds and memory of encoding a million rows of 20 columns."""
    import resource

    from tlkit.inputs.row.fitting import fit_table

    rng = np.random.default_rng(0)
    n = options.rows
    frame = pd.DataFrame(
        {f"text {k}": pd.Series(rng.integers(0, 5 * 3**k, n)).astype(str) for k in range(9)}
        | {f"whole {k}": rng.integers(0, 50, n) for k in range(2)}
        | {"day": pd.Timestamp("2013-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D")}
        | {f"number {k}": rng.normal(size=n) for k in range(8)}
    )
    kinds = {name: "categorical" if name[0] in "tw" else "date" if name == "day" else "continuous" for name in frame}
    held = frame.memory_usage(deep=True).sum() / 1e9
    start = time.monotonic()
    preprocessing = fit_table(frame, kinds, scaling="quantile")
    fitted = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    encoded = preprocessing.encode_frame(frame)
    seconds = time.monotonic() - fitted
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024**2 * 1.073741824
    print(
        f"{n:,} rows x {frame.shape[1]} columns -> {encoded.shape[1]} numbers: {seconds:.1f} s, fitting "
        f"{fitted - start:.1f} s; the frame holds {held:.2f} GB, with encoding {(held + grown) / held:.2f} x that"
    )


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adult", type=Path, default=Path("../shared/data/adult/adult.data.gz"))
    parser.add_argument("--rossmann", type=Path, default=Path("../shared/data/rossmann"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="of kinds")
    parser.add_argument(
        "--kinds", nargs="+", choices=("network", "tabm", "boosting", "blend"), default=["blend", "tabm"]
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fastai", help="a Python that has fastai, to train beside it")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--set", action="append", default=[], help="section.key=value of config.toml, as `tlkit train`")
    options = parser.parse_args()
    options.adult, options.rossmann = options.adult.resolve(), options.rossmann.resolve()
    options.overrides = [word for override in options.set for word in ("--set", override)]
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        if "kinds" in options.parts:
            from bench_kinds import compare_kinds

            compare_kinds(options, scratch)
        if "encoding" in options.parts:
            encoding(options)
        if "throughput" in options.parts:
            throughput(options)
        if "adult" in options.parts:
            adult(options, scratch)
        if "rossmann" in options.parts:
            rossmann(options, scratch)


if __name__ == "__main__":
    main()
