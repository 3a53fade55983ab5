"""Plant faults into clean data and print how many `tlkit check` finds, and its false alarms; beside cleanlab.

    python tools/bench_check.py ../shared/data                   # hymenoptera, SST-2 and Adult
    python tools/bench_check.py ../shared/data --only images

Needs cleanlab (an extra of development), and weights: `tlkit weights pull` efficientnet-lite0 and bge-small-en-v1.5.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

import tlkit
from tlkit.inputs.row.examine import features_of
from tlkit.targets.base import Question
from tlkit.training.features import FeatureCache
from tlkit.training.probe import out_of_fold
from tlkit.trust.check import noise
from tlkit.trust.check.run import check, examine, questions_of
from tlkit.trust.check.seen import Seen
from tlkit.trust.check.statistics import reduced

FALSE_ALARMS = 0.05
FLIPPED = 0.02
COPIES = 10
NEAR = 60
SIZE = 320  # pixels, as in new projects
TEXTS, ROWS = 4000, 8000
Report = Callable[[str, str], None]


def checked(data: Any, kind: str, task: Any = None) -> Any:
    """Run all rules over a data set; features are computed with a task's network."""

    def network() -> np.ndarray:
        features = FeatureCache(task.features, data.ordered)
        return np.concatenate([features[name] for name in data.splits])

    levels = {"conflicting_labels": "warn"}
    return check(
        examine(data, kind), questions_of(data), fit=out_of_fold, levels=levels, network=network if task else None
    )


def found_by(result: Any, rule: str) -> list[set[str]]:
    """Return the items of each finding of a rule."""
    findings = next(outcome for outcome in result.outcomes if outcome.rule == rule).findings
    return [{result.names[item] for item in finding.items} or {finding.name} for finding in findings]


def pairs(result: Any, rule: str, planted: list[set[str]]) -> str:
    """Say how many planted sets of items a rule found, and what else it named."""
    found = found_by(result, rule)
    hits = sum(any(pair <= one for one in found) for pair in planted)
    false = sum(not any(pair <= one for pair in planted) for one in found)
    return f"{hits} of {len(planted)} found, {false} false alarms"


def flips(report: Report, x: np.ndarray, y: np.ndarray, runs: int) -> None:
    """Flip labels, and compare the ranking with cleanlab's on predictions of one regression."""
    from cleanlab.rank import get_label_quality_scores

    classes, rows, width = int(y.max()) + 1, np.arange(len(y)), reduced(x)
    examined = Seen(None, [], out_of_fold)  # type: ignore[arg-type]
    examined.__dict__["together"] = rows
    ours, theirs, noted, false = [], [], [], []
    for seed in range(runs):
        draw = np.random.default_rng(seed)
        flipped = draw.choice(rows, round(FLIPPED * len(y)), replace=False)
        labels = y.astype(np.int64).copy()
        labels[flipped] = (labels[flipped] + draw.integers(1, classes, len(flipped))) % classes
        is_flipped = np.isin(rows, flipped)
        question = Question("label", labels, tuple(map(str, range(classes))))
        logits = noise.cleaned_logits(examined, width, question, rows)
        assert logits is not None
        first, mean = noise.softmax(logits.first), noise.softmax(logits.ranking)
        ours.append(recall(mean[rows, labels], is_flipped))
        theirs.append(recall(get_label_quality_scores(labels, first), is_flipped))
        listed: np.ndarray = np.zeros(0, np.int64)
        if noise.stand_out(logits, labels):
            found = noise._findings(question, rows, logits, noise.suspects(mean, labels), "")
            listed = np.array([finding.items[0] for finding in found], np.int64)
        noted.append(np.isin(flipped, listed).mean())
        false.append((~is_flipped)[listed].sum() / (~is_flipped).sum())
    at = f"recall at {FALSE_ALARMS:.0%} false alarms {np.mean(ours):.3f}, cleanlab {np.mean(theirs):.3f}"
    report(
        f"label flips ({FLIPPED:.0%}, {runs} runs)", f"{at}; listed: {np.mean(noted):.3f}, {np.mean(false):.1%} false"
    )


def recall(scores: np.ndarray, flipped: np.ndarray) -> float:
    """Return the share of flipped labels that come before 5 % of the others, in rising order of scores."""
    order = np.argsort(scores, kind="stable")
    others = np.cumsum(~flipped[order])
    return float(flipped[order][others <= FALSE_ALARMS * (~flipped).sum()].sum() / flipped.sum())


def clean(report: Report, result: Any) -> None:
    report("clean", f"warnings: {', '.join(result.warned) or 'none'}; {result.seconds:.1f} s")


def images(root: Path, report: Report, runs: int) -> None:
    """Ants and bees."""
    source = root / "hymenoptera"
    data = tlkit.images_from_folder(source, size=SIZE)
    task = tlkit.image_classifier("efficientnet-lite0", data.class_names, size=SIZE)
    began = time.monotonic()
    features = FeatureCache(task.features, data.ordered)
    x = np.concatenate([features[name] for name in data.splits])
    one_pass = time.monotonic() - began
    y = np.concatenate([data.labels(name) for name in data.splits])
    clean(report, checked(data, "image", task))
    began = time.monotonic()
    check(examine(data, "image"), questions_of(data), fit=out_of_fold, levels={}, network=lambda: x)
    more = time.monotonic() - began
    report("cost", f"one pass of the network {one_pass:.1f} s, all else {more:.1f} s: {1 + more / one_pass:.2f} passes")
    flips(report, x, y, runs)
    draw = np.random.default_rng(0)
    val = sorted((source / "val").rglob("*.jpg"))

    with copy_of(source) as folder:
        planted = []
        for number, path in enumerate(draw.choice(val, COPIES, replace=False)):
            name = f"train/{path.parent.name}/copy{number}x.jpg"
            shutil.copy(path, folder / name)
            planted.append({name, str(path.relative_to(source))})
        result = checked(tlkit.images_from_folder(folder, size=64), "image")
        report(f"{COPIES} copies across splits", pairs(result, "copies_across_splits", planted))
    with copy_of(source) as folder:
        planted = []
        for number, path in enumerate(draw.choice(val, COPIES, replace=False)):
            other = "bees" if path.parent.name == "ants" else "ants"
            shutil.copy(path, folder / f"val/{other}/copy{number}x.jpg")
            planted.append({f"val/{other}/copy{number}x.jpg", str(path.relative_to(source))})
        result = checked(tlkit.images_from_folder(folder, size=64), "image")
        report(f"{COPIES} copies with another label", pairs(result, "conflicting_labels", planted))
    with copy_of(source) as folder:
        kinds: dict[str, list[set[str]]] = {}
        for number, path in enumerate(draw.choice(val, NEAR, replace=False)):
            for kind, image, quality in changed(Image.open(path).convert("RGB")):
                name = f"train/{path.parent.name}/{kind}{number}x.jpg"
                image.save(folder / name, quality=quality)
                kinds.setdefault(kind, []).append({name, str(path.relative_to(source))})
        result = checked(tlkit.images_from_folder(folder, size=64), "image")
        found = found_by(result, "near_copies_across_splits")
        # What was made of one image is nearly the same, too.
        origin = {name: max(pair) for own in kinds.values() for pair in own for name in pair}
        every = [*found, *found_by(result, "near_copies")]
        false = sum(len({origin.get(name, name) for name in one}) > 1 for one in every)
        for kind, own in kinds.items():
            share = np.mean([any(pair <= one for one in found) for pair in own])
            report(f"{NEAR} near copies: {kind}", f"recall {share:.3f}")
        report("near copies", f"{false} false alarms")
    with copy_of(source, lambda path, image: marked(image) if path.parent.name == "bees" else image) as folder:
        result = checked(tlkit.images_from_folder(folder, size=64), "image")
        report("watermark on one class", named(result, "shortcuts"))
    with copy_of(source, brighter) as folder:
        shifted = tlkit.images_from_folder(folder, size=SIZE)
        report("val 30 % brighter", named(checked(shifted, "image", task), "shift"))


def brighter(path: Path, image: Image.Image) -> Image.Image:
    return image.point(lambda value: min(255, int(value * 1.3))) if path.parts[-3] == "val" else image


def named(result: Any, rule: str) -> str:
    """Say what a rule found, by the text of its findings."""
    outcome = next(outcome for outcome in result.outcomes if outcome.rule == rule)
    return "; ".join(finding.text for finding in outcome.findings) or f"not found: {outcome.summary}"


def changed(image: Image.Image) -> Iterator[tuple[str, Image.Image, int]]:
    """Yield an image resized, compressed again, and cropped by 5 % on all sides and on two."""
    width, height = image.size
    x, y = round(width * 0.05), round(height * 0.05)
    yield "resized", image.resize((width // 2, height // 2)), 90
    yield "recompressed", image, 30
    yield "cropped", image.crop((x, y, width - x, height - y)), 90
    yield "cropped on two sides", image.crop((0, 0, width - x, height - y)), 90


def marked(image: Image.Image) -> Image.Image:
    """Write a small label into a corner."""
    draw = ImageDraw.Draw(image)
    width, height = image.size
    draw.rectangle((width - 46, height - 18, width - 4, height - 4), fill=(255, 255, 255))
    draw.text((width - 42, height - 17), "(c) XY", fill=(0, 0, 0))
    return image


class copy_of:  # noqa: N801 - reads as a function
    """Copy a folder of images to a temporary one, perhaps changed."""

    def __init__(self, source: Path, change: Callable[[Path, Image.Image], Image.Image] | None = None):
        self._source, self._change = source, change
        self._place = tempfile.TemporaryDirectory()

    def __enter__(self) -> Path:
        folder = Path(self._place.name) / "images"
        for path in self._source.rglob("*.jpg"):
            target = folder / path.relative_to(self._source)
            target.parent.mkdir(parents=True, exist_ok=True)
            if self._change is None:
                shutil.copy(path, target)
            else:
                self._change(path, Image.open(path).convert("RGB")).save(target, quality=92)
        return folder

    def __exit__(self, *_: object) -> None:
        self._place.cleanup()


def texts(root: Path, report: Report, runs: int) -> None:
    """Sentences of film reviews."""
    whole = pd.read_csv(root / "sst2" / "train.tsv", sep="\t", quoting=3)
    whole["sentence"] = whole["sentence"].str.strip()
    whole = whole[whole["sentence"].str.len() > 30].drop_duplicates("sentence")
    frame = whole.sample(TEXTS, random_state=0).reset_index(drop=True)
    frame["split"] = np.where(np.arange(TEXTS) % 5, "train", "val")
    data = as_texts(frame)
    task = tlkit.text_classifier("bge-small-en-v1.5", data.class_names)
    features = FeatureCache(task.features, data.ordered)
    x = np.concatenate([features[name] for name in data.splits])
    y = np.concatenate([data.labels(name) for name in data.splits])
    clean(report, checked(data, "text", task))
    flips(report, x, y, runs)
    draw = np.random.default_rng(0)
    chosen = draw.choice(np.flatnonzero(frame["split"] == "val"), COPIES, replace=False)
    added = frame.loc[chosen].assign(split="train", sentence="  " + frame.loc[chosen, "sentence"].str.upper())
    planted = [{text(old), text(TEXTS + new)} for new, old in enumerate(chosen.tolist())]
    report(
        f"{COPIES} copies across splits",
        pairs(checked(as_texts(pd.concat([frame, added])), "text"), "copies_across_splits", planted),
    )
    clash = added.assign(label=1 - added["label"])
    report(
        f"{COPIES} copies with another label",
        pairs(checked(as_texts(pd.concat([frame, clash])), "text"), "conflicting_labels", planted),
    )
    long = frame["sentence"].str.split().str.len().between(12, 60) & (frame["split"] == "val")
    chosen = draw.choice(np.flatnonzero(long), NEAR, replace=False)
    added = frame.loc[chosen].assign(split="train", sentence=[reworded(frame["sentence"][place]) for place in chosen])
    planted = [{text(old), text(TEXTS + new)} for new, old in enumerate(chosen.tolist())]
    result = checked(as_texts(pd.concat([frame, added])), "text")
    before = {frozenset(one) for one in found_by(checked(data, "text"), "near_copies_across_splits")}
    found = [one for one in found_by(result, "near_copies_across_splits") if frozenset(one) not in before]
    hits = sum(pair in found for pair in planted)
    report(
        f"{NEAR} texts with a word changed", f"recall {hits / NEAR:.3f}; {len(before)} pairs were near copies before"
    )
    leak = frame.assign(sentence=frame["sentence"] + np.where(frame["label"] == 1, " !", " ."))
    report("a mark at the end of one class", named(checked(as_texts(leak), "text"), "shortcuts"))
    words = whole["sentence"].str.split().str.len()
    far = whole[words >= 18].sample(800, random_state=0).assign(split="val")
    shifted = as_texts(pd.concat([frame[frame["split"] == "train"], far]))
    report("val of long sentences alone", named(checked(shifted, "text", task), "shift"))


def as_texts(frame: pd.DataFrame) -> Any:
    return tlkit.texts_from_table(
        frame.reset_index(drop=True), text_column="sentence", split_column="split", encoder="bge-small-en-v1.5"
    )


def text(number: int) -> str:
    return f"the table data row {number + 1}"


def row(number: int) -> str:
    return f"data row {number + 1}"


def reworded(text: str) -> str:
    words = text.split()
    words[len(words) // 2] = "xylophone"
    return " ".join(words)


def rows(root: Path, report: Report, runs: int) -> None:
    """The census."""
    with gzip.open(root / "adult" / "adult.data.gz", "rt") as stream:
        whole = pd.read_csv(stream, sep=", ", engine="python", na_values="?")
    frame = whole.drop_duplicates().sample(ROWS, random_state=0).reset_index(drop=True)
    target = frame.columns[-1]
    frame["split"] = np.where(np.arange(ROWS) % 5, "train", "val")
    data = as_rows(frame, target)
    result = checked(data, "row")
    clean(report, result)
    flips(report, features_of(data)(np.arange(ROWS)), np.concatenate([data.labels(name) for name in data.splits]), runs)
    draw = np.random.default_rng(0)
    chosen = draw.choice(np.flatnonzero(frame["split"] == "val"), COPIES, replace=False)
    added = frame.loc[chosen].assign(split="train")
    planted = [{row(old), row(ROWS + new)} for new, old in enumerate(chosen.tolist())]
    report(
        f"{COPIES} copies across splits",
        pairs(checked(as_rows(pd.concat([frame, added]), target), "row"), "copies_across_splits", planted),
    )
    classes = sorted(frame[target].unique())
    clash = added.assign(**{target: np.where(added[target] == classes[0], classes[1], classes[0])})
    report(
        f"{COPIES} copies with another label",
        pairs(checked(as_rows(pd.concat([frame, clash]), target), "row"), "conflicting_labels", planted),
    )
    label = (frame[target] == classes[1]).to_numpy(float)
    leak = frame.assign(outcome=np.where(draw.random(ROWS) < 0.03, 1 - label, label) * 3 + draw.normal(0, 0.2, ROWS))
    report("a column that leaks (3 % noise)", named(checked(as_rows(leak, target), "row"), "target_leakage"))
    coded = frame.assign(code=np.where(label == 1, draw.choice(["A", "B"], ROWS), draw.choice(["C", "D", "E"], ROWS)))
    report("a category that leaks", named(checked(as_rows(coded, target), "row"), "target_leakage"))
    held = frame["split"] == "val"
    shifted = frame.assign(age=frame["age"] + np.where(held, 8, 0))
    report("val 8 years older", named(checked(as_rows(shifted, target), "row"), "shift"))


def as_rows(frame: pd.DataFrame, target: str) -> Any:
    return tlkit.table_from_file(frame.reset_index(drop=True), target, split_column="split")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with hymenoptera/, sst2/ and adult/")
    parser.add_argument("--only", choices=["images", "texts", "rows"])
    parser.add_argument("--runs", type=int, default=5, help="draws of flipped labels")
    parser.add_argument("--json", type=Path, help="write the results to this file as well")
    options = parser.parse_args()
    kept: dict[str, dict[str, str]] = {}
    for name, function in {"images": images, "texts": texts, "rows": rows}.items():
        if options.only in (None, name):
            print(f"{name}: {function.__doc__}")

            def report(what: str, text: str, name: str = name) -> None:
                print(f"  {what:34} {text}", flush=True)
                kept.setdefault(name, {})[what] = text

            function(options.data, report, options.runs)
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
