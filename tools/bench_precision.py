"""What `precision="auto"` chooses, and whether the choice was right, for several networks.

    python tools/bench_precision.py FOLDER [--rounds N] [--size PIXELS] [--backbones NAME,NAME]

FOLDER holds class folders. For each network (random weights) and each stage (features of the frozen backbone; a
training step of everything) the Learner's own measurement chooses; then float32 and the choice are timed in turn.
Printed are the choices and the ratio of the seconds, choice to float32 (1 where float32 was chosen; the goal is at most
1.03).
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import time
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tlkit
from tlkit.training import precision
from tlkit.training.engine import Engine
from tlkit.training.options import TrainingOptions


def main() -> None:
    """Choose and time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--backbones", default="mobilenet-v2-0.35,efficientnet-b0,resnet50")
    options = parser.parse_args()
    logging.getLogger("tlkit").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    data = tlkit.images_from_folder(options.folder, size=options.size, cache="off")
    batch = next(iter(data.ordered("train")))
    for name in options.backbones.split(","):
        task = tlkit.image_classifier(name, data.class_names, size=options.size, weights="none")
        task.freeze_to(0)
        engine = Engine(task, TrainingOptions().loss(), TrainingOptions().maker(None))
        for stage in ("features", "training"):
            prepare = engine.trial(stage, batch)
            chosen, seconds = precision.fastest(precision.candidates(), prepare)
            ratio = 1.0
            if chosen != "float32":
                steps = {policy: prepare(policy) for policy in ("float32", chosen)}
                times: dict[str, list[float]] = {policy: [] for policy in steps}
                for policy, step in steps.items():
                    task.set_precision(policy)  # what a step computes in is settled when it is traced
                    step()
                for _ in range(options.rounds):
                    for policy, step in steps.items():
                        start = time.perf_counter()
                        step()
                        times[policy].append(time.perf_counter() - start)
                ratio = statistics.median(times[chosen]) / statistics.median(times["float32"])
            measured = ", ".join(f"{policy} {value * 1000:.0f} ms" for policy, value in seconds.items())
            print(f"{name:20} {stage:9} chose {chosen:14} ratio {ratio:.2f}   ({measured})", flush=True)


if __name__ == "__main__":
    main()
