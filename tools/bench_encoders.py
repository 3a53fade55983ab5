"""What the vectors of frozen text encoders are worth: logistic regression on them, accuracy and seconds.

    python tools/bench_encoders.py FOLDER [--encoders NAME ...] [--rows N] [--pooling MODE] [--normalize yes|no]

FOLDER holds train.tsv and test.tsv with the columns sentence and label (../shared/data/sst2 does). The first `--rows`
sentences of train.tsv are trained on, all of test.tsv are reported. Nothing of the encoder is trained: its vectors,
pooled and scaled as the catalogue says, are standardized, and scikit-learn's LogisticRegressionCV chooses C in five
folds of the training rows. The accuracies are the column `frozen` of `tlkit weights list`.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

STRENGTHS = np.logspace(-5, 1, 13)
BATCH = 32


def read(file: Path, rows: int | None = None) -> pd.DataFrame:
    """Read a TSV without quoting."""
    return pd.read_csv(file, sep="\t", quoting=3, keep_default_na=False, nrows=rows)


def vectors(task: Any, texts: list[str]) -> np.ndarray:
    """Compute the embedding of every text, texts of about the same length together."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    found = np.empty((len(texts), task.features.output_shape[-1]), np.float32)
    for start in range(0, len(texts), BATCH):
        chosen = order[start : start + BATCH]
        ids = task.preprocessing.batch([texts[place] for place in chosen])
        found[chosen] = task.features.predict_on_batch(ids)
    return found


def measure(name: str, options: argparse.Namespace) -> None:
    """Print a line for an encoder."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import tlkit

    train, test = read(options.folder / "train.tsv", options.rows), read(options.folder / "test.tsv")
    normalize = None if options.normalize is None else options.normalize == "yes"
    start = time.monotonic()
    task = tlkit.text_classifier(
        name, ["0", "1"], max_tokens=128, pooling=options.pooling, normalize=normalize, must_serve=False
    )
    loaded = time.monotonic()
    train_vectors, test_vectors = (vectors(task, frame["sentence"].tolist()) for frame in (train, test))
    computed = time.monotonic()
    regression = LogisticRegressionCV(
        Cs=STRENGTHS, cv=5, max_iter=5000, use_legacy_attributes=False, l1_ratios=(0.0,), scoring="accuracy"
    )
    model = make_pipeline(StandardScaler(), regression)
    model.fit(train_vectors, train["label"])
    accuracy = model.score(test_vectors, test["label"])
    fitted = time.monotonic()
    seconds = computed - loaded
    print(
        f"{name}: accuracy {accuracy:.4f} ({len(train)} training rows, {len(test)} test rows, C {regression.C_:.2g}); "
        f"loading {loaded - start:.1f} s, vectors {seconds:.1f} s ({(len(train) + len(test)) / seconds:.0f} texts a "
        f"second), regression {fitted - computed:.1f} s; weights {task.weights_source}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoders", nargs="+", default=["all-minilm-l6-v2", "bge-small-en-v1.5"])
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--pooling", choices=["mean", "cls", "max", "meanmax"])
    parser.add_argument("--normalize", choices=["yes", "no"])
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    for name in options.encoders:
        measure(name, options)


if __name__ == "__main__":
    main()
