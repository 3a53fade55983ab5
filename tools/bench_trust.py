"""Measure calibration, conformal sets and the distance to the training data: `tools/bench_trust.py ../shared/data`.

Coverage: a network or a linear probe is trained once. Its validation data is split at random twenty times into a half
that calibrates and a half that is measured. Printed are log loss and calibration error before and after, and how often
sets at level 0.9 hold the truth, with their mean size.

Distance: how well the distance to the training data separates validation data from other data, as the area under the
ROC curve, and how much of the validation data and of the other data is called an outlier. Photos of ants and bees
against surfaces and hand signs; film reviews against sentences about flights and reviews with shuffled words; Adult
against rows whose columns were shuffled apart.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.metrics import roc_auc_score

import tlkit
from tlkit.samples.registry import get
from tlkit.training.calibrating import figures, fit_calibration
from tlkit.training.novelty import fit_novelty

LEVEL, SPLITS = 0.9, 20


def coverage(name: str, learn: tlkit.Learner) -> None:
    """Print what calibration on a half of the validation data gives on the other half."""
    objective = learn.task.objective
    outputs, labels = learn.logits("val"), learn.data.labels("val")
    true = objective.encode(labels)
    rows: list[dict[str, float]] = []
    for split in range(SPLITS):
        order = np.random.default_rng(split).permutation(len(outputs))
        fit, held = order[: len(order) // 2], order[len(order) // 2 :]
        objective.calibration = None
        found = fit_calibration(objective, outputs[fit], labels[fit], "val")
        objective.calibration = found
        (region,) = objective.regions(outputs[held], LEVEL)
        row: dict[str, float] = {}
        if "in_set" in region:
            chosen = region["in_set"].numpy()
            row |= {"coverage": (chosen * true[held]).sum(1).mean(), "size": chosen.sum(1).mean()}
            before, after = (figures(objective, o, true[held]) for o in (outputs[held], found(outputs[held])))
            row |= {f"{key} before": value for key, value in before.items()}
            row |= {f"{key} after": value for key, value in after.items()}
        else:
            values = labels[held].reshape(-1)
            low, high = region["lower"].numpy(), region["upper"].numpy()
            row |= {"coverage": ((low <= values) & (values <= high)).mean(), "width": np.median(high - low)}
        rows.append(row)
    objective.calibration = None
    print(f"{name}: " + ", ".join(f"{key} {np.mean([r[key] for r in rows]):.4f}" for key in rows[0]), flush=True)


def distances(name: str, task: Any, data: Any, others: dict[str, np.ndarray]) -> None:
    """Print how well other inputs are told from the validation data."""
    novelty = fit_novelty(task, data)
    val = np.concatenate([novelty(task.features(batch[0], training=False)).numpy() for batch in data.ordered("val")])
    for what, inputs in others.items():
        other = np.concatenate(
            [novelty(task.features(inputs[start : start + 64], training=False)) for start in range(0, len(inputs), 64)]
        )
        auroc = roc_auc_score(np.repeat([0, 1], [len(val), len(other)]), np.concatenate([val, other]))
        share = [float((own > novelty.threshold).mean()) for own in (val, other)]
        print(f"{name} against {what}: AUROC {auroc:.4f}; outliers {share[0]:.1%} and {share[1]:.1%}", flush=True)


def inputs_of(data: Any) -> np.ndarray:
    """Return the inputs of both splits."""
    return np.concatenate([batch[0].numpy() for split in ("train", "val") for batch in data.ordered(split)])


def images(shared: Path, work: Path) -> None:
    """Measure photos of ants and bees."""
    data = tlkit.images_from_folder(shared / "hymenoptera", size=224)
    learn = tlkit.Learner(tlkit.image_classifier("efficientnet-lite0", data.class_names, size=224), data)
    learn.fit_probe(verbose=False)
    coverage("hymenoptera", learn)
    get("surfaces", work / "surfaces")
    others = {
        "surfaces": inputs_of(tlkit.images_from_folder(work / "surfaces", size=224)),
        "hand signs": inputs_of(tlkit.images_from_folder(shared / "sign_digits", size=224))[:400],
    }
    distances("hymenoptera", learn.task, data, others)


def texts(shared: Path, work: Path) -> None:
    """Measure sentences of film reviews."""
    frame = pd.read_csv(shared / "sst2" / "train.tsv", sep="\t").sample(3000, random_state=0)
    frame.to_csv(work / "reviews.csv", index=False)
    encoder = "all-minilm-l6-v2"
    data = tlkit.texts_from_table(
        work / "reviews.csv", text_column="sentence", label_column="label", encoder=encoder, val_fraction=0.3
    )
    learn = tlkit.Learner(tlkit.text_classifier(encoder, data.class_names), data)
    learn.fit_probe(verbose=False)
    coverage("SST-2", learn)
    get("flights", work / "flights")
    flights = pd.read_csv(next((work / "flights").rglob("*.csv")), nrows=400)
    draw = np.random.default_rng(0)
    described = [", ".join(f"{key} {value}" for key, value in row.items()) for row in flights.to_dict("records")]
    shuffled = [" ".join(draw.permutation(text.split())) for text in frame["sentence"][:400]]
    batch = learn.task.preprocessing.batch
    others = {
        "rows of flights": batch(tf.constant(described)).numpy(),
        "shuffled reviews": batch(tf.constant(shuffled)).numpy(),
    }
    distances("SST-2", learn.task, data, others)


def tables(shared: Path, work: Path) -> None:
    """Measure Adult and a regression on the same columns."""
    frame = pd.read_csv(shared / "adult" / "adult.data.gz", skipinitialspace=True).sample(12000, random_state=0)
    draw = np.random.default_rng(0)
    apart = pd.DataFrame({name: draw.permutation(frame[name].to_numpy()) for name in frame})
    for target in (frame.columns[-1], "hours-per-week"):
        data = tlkit.table_from_file(frame, target)
        learn = tlkit.Learner(tlkit.tabular_model(data.preprocessing, data.targets), data)
        learn.fit(6, 5e-3, verbose=False)
        coverage(f"Adult, {target}", learn)
        other = data.preprocessing.encode_frame(apart[:2000])
        distances(f"Adult, {target}", learn.task, data, {"columns shuffled apart": other})


PARTS = {"images": images, "texts": texts, "tables": tables}


def main() -> None:
    """Measure the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    options = parser.parse_args()
    for part in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[part](options.shared, Path(folder))


if __name__ == "__main__":
    main()
