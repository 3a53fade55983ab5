"""Values and risks from photos whose truth is known: `tools/bench_image_targets.py ../shared/data/hymenoptera`.

Photos on a dark table are turned by random angles within +-90 degrees, and photos are given times drawn from a hazard
that depends on their class and on how bright they are. Printed are, on photos that were held out: the mean absolute
error of the angle beside that of the mean angle, and the C-index beside the C-index of the true hazard. Photos pasted
side by side have the labels of both; printed is their mean average precision beside that of a logistic regression for
each label on the same features. With --write the tables and their photos are left in a folder, for `tlkit new`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

SIDE = 320


def turned(photo: Image.Image, angle: float) -> Image.Image:
    """Turn a photo of 3:2 as if it lay on a dark table.

    Its edges tell the angle: insects on leaves have no side that is up, and a square would look the same at 90 degrees.
    """
    wide = ImageOps.fit(photo.convert("RGB"), (SIDE * 4 // 5, SIDE * 8 // 15), Image.Resampling.LANCZOS)
    table = Image.new("RGB", (SIDE, SIDE))
    table.paste(wide, ((SIDE - wide.width) // 2, (SIDE - wide.height) // 2))
    return table.rotate(angle, Image.Resampling.BICUBIC)


def make(photos: Path, folder: Path, copies: int, seed: int = 0) -> None:
    """Write angles.csv and risks.csv with their photos; `hazard` in the latter is the truth."""
    rng = np.random.default_rng(seed)
    angles, risks = [], []
    (folder / "turned").mkdir(parents=True)
    (folder / "plain").mkdir()
    files = sorted(file for file in photos.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    for number, file in enumerate(files):
        photo = Image.open(file)
        split = "val" if "val" in file.parts else "train"
        for copy in range(copies):
            angle = round(float(rng.uniform(-90, 90)), 2)
            name = f"turned/{number:04d}_{copy}.jpg"
            turned(photo, angle).save(folder / name, quality=92)
            angles.append({"path": name, "angle": angle, "photo": file.name, "split": split})
        name = f"plain/{number:04d}.jpg"
        plain = turned(photo, 0)
        plain.save(folder / name, quality=92)
        brightness = float(np.asarray(plain, np.float64).mean())
        hazard = 1.6 * (file.parent.name == sorted({f.parent.name for f in files})[0]) + 0.02 * (brightness - 120)
        died = float(rng.exponential(1 / (0.002 * np.exp(hazard))))
        seen = min(float(rng.uniform(50, 1500)), 1000.0)
        risks.append(
            {
                "path": name, "days": round(max(min(died, seen), 0.01), 2), "died": int(died <= seen),
                "hazard": hazard, "split": split,
            }
        )  # fmt: skip
    pairs = []
    (folder / "pairs").mkdir()
    for number, file in enumerate(files):
        split = "val" if "val" in file.parts else "train"
        own = [other for other in files if ("val" in other.parts) == (split == "val")]
        other = own[int(rng.integers(len(own)))] if rng.random() < 0.7 else None
        both = Image.new("RGB", (2 * SIDE, SIDE), (128, 128, 128))
        both.paste(ImageOps.fit(Image.open(file).convert("RGB"), (SIDE, SIDE)), (0, 0))
        if other is not None:
            both.paste(ImageOps.fit(Image.open(other).convert("RGB"), (SIDE, SIDE)), (SIDE, 0))
        name = f"pairs/{number:04d}.jpg"
        both.save(folder / name, quality=92)
        labels = sorted({file.parent.name, *([other.parent.name] if other is not None else [])})
        pairs.append({"path": name, "label": ";".join(labels), "split": split})
    pd.DataFrame(pairs).to_csv(folder / "pairs.csv", index=False)
    pd.DataFrame(angles).to_csv(folder / "angles.csv", index=False)
    pd.DataFrame(risks).to_csv(folder / "risks.csv", index=False)


def angle(folder: Path, options: dict, policy: str) -> str:
    """Measure a value."""
    import tlkit

    data = tlkit.images_with_targets(folder / "angles.csv", "angle", group_column="photo", **options)
    learn = tlkit.Learner(tlkit.image_regressor("efficientnet-lite0", data.targets, size=SIDE), data)
    learn.fine_tune(None, policy=policy, finetune_lr=1e-3, verbose=False)
    found = learn.evaluate()
    mean = np.abs(data.labels("val")[:, 0] - data.labels("train")[:, 0].mean()).mean()
    return f"MAE {found.mae:.2f}, of the mean {mean:.2f}: {mean / found.mae:.2f} x lower; R2 {found.r2:.3f}"


def survival(folder: Path, options: dict, policy: str, method: str) -> str:
    """Measure a risk."""
    import tlkit
    from tlkit.report.survival import survival_metrics

    columns = tlkit.SurvivalColumns("days", "died", method)
    data = tlkit.images_with_targets(folder / "risks.csv", columns, **options)
    learn = tlkit.Learner(tlkit.image_regressor("efficientnet-lite0", data.targets, size=SIDE), data)
    learn.fine_tune(None, policy=policy, finetune_lr=1e-3, verbose=False)
    found = learn.evaluate()
    truth = pd.read_csv(folder / "risks.csv").set_index("path")["hazard"]
    true = truth.loc[[str(path.relative_to(folder)) for path in data.paths("val")]]
    labels = data.labels("val")
    best = survival_metrics(true, labels[:, 0], labels[:, 1]).concordance
    return (
        f"C {found.concordance:.4f}, of the true hazard {best:.4f}: {found.concordance / best:.3f} of it; "
        f"{found.events} events of {found.n}"
    )


def labels(folder: Path, options: dict, policy: str) -> str:
    """Measure several labels beside a logistic regression for each."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.metrics import average_precision_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import tlkit
    from tlkit.training.features import run

    data = tlkit.images_from_table(folder / "pairs.csv", label_separator=";", resize="squash", **options)
    task = tlkit.image_classifier("efficientnet-lite0", data.class_names, size=SIDE, resize="squash", multi_label=True)
    train, val = (run(task.features, data.ordered(split)) for split in ("train", "val"))
    truth = data.labels("val")
    precisions = []
    for place in range(len(data.class_names)):
        model = make_pipeline(
            StandardScaler(),
            LogisticRegressionCV(Cs=(1e-4, 1e-3, 1e-2, 1e-1), cv=5, max_iter=2000, scoring="neg_log_loss"),
        )
        model.fit(train, data.labels("train")[:, place])
        precisions.append(average_precision_score(truth[:, place], model.predict_proba(val)[:, 1]))
    learn = tlkit.Learner(task, data, label_smoothing=0.1)
    learn.fine_tune(None, policy=policy, finetune_lr=1e-3, verbose=False)
    found = learn.evaluate()
    return f"mAP {found.mean_average_precision:.4f}, of a regression for each label {np.mean(precisions):.4f}"


PARTS = {
    "angle": angle,
    "hazard": lambda *given: survival(*given, "hazard"),
    "cox": lambda *given: survival(*given, "cox"),
    "labels": labels,
}


def measure(folder: Path, seeds: int, policy: str, parts: list[str]) -> None:
    """Train and print the figures of the held-out photos."""
    for seed in range(seeds):
        for part in parts:
            start = time.perf_counter()
            found = PARTS[part](folder, {"split_column": "split", "size": SIDE, "seed": seed}, policy)
            print(f"{part}, seed {seed}: {found}; {time.perf_counter() - start:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--write", type=Path, help="leave tables and photos in this new folder, and do not train")
    parser.add_argument("--copies", type=int, default=1, help="of each photo, turned by angles of their own")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--policy", default="measure", choices=("measure", "head", "all"))
    options = parser.parse_args()
    if options.write:
        make(options.photos, options.write, options.copies)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(options.photos, Path(folder), options.copies)
        measure(Path(folder), options.seeds, options.policy, options.parts)


if __name__ == "__main__":
    main()
