"""Values and risks from photos whose truth is known: `tools/bench_image_targets.py ../shared/data/hymenoptera`.

Photos on a dark table are turned by random angles within +-90 degrees, and photos are given times drawn from a hazard
that depends on their class and on how bright they are. Printed are, on photos that were held out: the mean absolute
error of the angle beside that of the mean angle, and the C-index beside the C-index of the true hazard. With --write
the two tables and their photos are left in a folder, for `tlkit new image-regression`.
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
    pd.DataFrame(angles).to_csv(folder / "angles.csv", index=False)
    pd.DataFrame(risks).to_csv(folder / "risks.csv", index=False)


def measure(folder: Path, seeds: int, policy: str) -> None:
    """Train on both tables and print the figures of the held-out photos."""
    import tlkit
    from tlkit.report.survival import survival_metrics

    for seed in range(seeds):
        start = time.perf_counter()
        options = {"split_column": "split", "size": SIDE, "seed": seed}
        data = tlkit.images_with_targets(folder / "angles.csv", "angle", group_column="photo", **options)
        learn = tlkit.Learner(tlkit.image_regressor("efficientnet-lite0", data.targets, size=SIDE), data)
        learn.fine_tune(None, policy=policy, finetune_lr=1e-3, verbose=False)
        found = learn.evaluate()
        mean = np.abs(data.labels("val")[:, 0] - data.labels("train")[:, 0].mean()).mean()
        seconds = time.perf_counter() - start
        print(
            f"angle, seed {seed}: MAE {found.mae:.2f}, of the mean {mean:.2f}: {mean / found.mae:.2f} x lower; "
            f"R2 {found.r2:.3f}; {seconds:.0f} s",
            flush=True,
        )
        truth = pd.read_csv(folder / "risks.csv").set_index("path")["hazard"]
        for method in ("hazard", "cox"):
            start = time.perf_counter()
            columns = tlkit.SurvivalColumns("days", "died", method)
            data = tlkit.images_with_targets(folder / "risks.csv", columns, **options)
            learn = tlkit.Learner(tlkit.image_regressor("efficientnet-lite0", data.targets, size=SIDE), data)
            learn.fine_tune(None, policy=policy, finetune_lr=1e-3, verbose=False)
            found = learn.evaluate()
            true = truth.loc[[str(path.relative_to(folder)) for path in data.paths("val")]]
            labels = data.labels("val")
            best = survival_metrics(true, labels[:, 0], labels[:, 1]).concordance
            seconds = time.perf_counter() - start
            print(
                f"survival ({method}), seed {seed}: C {found.concordance:.4f}, of the true hazard {best:.4f}: "
                f"{found.concordance / best:.3f} of it; {found.events} events of {found.n}; {seconds:.0f} s",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--write", type=Path, help="leave tables and photos in this new folder, and do not train")
    parser.add_argument("--copies", type=int, default=1, help="of each photo, turned by angles of their own")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--policy", default="measure", choices=("measure", "head", "all"))
    options = parser.parse_args()
    if options.write:
        make(options.photos, options.write, options.copies)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(options.photos, Path(folder), options.copies)
        measure(Path(folder), options.seeds, options.policy)


if __name__ == "__main__":
    main()
