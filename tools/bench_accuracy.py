"""Accuracy of the stages head and whole network (head = "epochs", policy = "all") over several seeds.

    python tools/bench_accuracy.py FOLDER [--seeds N] [--set KEY=VALUE]...

FOLDER holds train/ and val/ folders of class folders. A project is baked from the template and its own train.py runs,
with no further value changed but the seed (and what --set says).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tlkit.training.run_state import is_stage


def run(*arguments: str, cwd: Path) -> str:
    """Run the command line; its complaints stay visible."""
    command = [sys.executable, "-m", "tlkit", *arguments]
    return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    """Train once for each seed and print accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    stages_apart = ["train.head=epochs", "train.policy=all", "train.finetune_rate=0.0", "step.label_smoothing=0.0"]
    extra = [word for override in [*stages_apart, *options.overrides] for word in ("--set", override)]
    frozen, kept, last = [], [], []
    with tempfile.TemporaryDirectory() as temporary:
        project = Path(temporary) / "project"
        run("new", "image-classification", str(project), "--data", str(options.folder.resolve()), cwd=Path(temporary))
        for seed in range(options.seeds):
            start = time.monotonic()
            run("train", "--set", f"data.seed={seed}", *extra, cwd=project)
            seconds = time.monotonic() - start
            state = json.loads((project / "checkpoints" / "run.json").read_text())
            stages = [call["outcome"]["val_accuracy"] for call in state["calls"] if is_stage(call)]
            metrics = json.loads(run("evaluate", "--json", cwd=project))["metrics"]
            frozen.append(max(stages[0]))
            last.append(stages[-1][-1])
            kept.append(metrics["accuracy"])
            print(
                f"seed {seed}: frozen head {stages[0][-1]:.4f} (best epoch {frozen[-1]:.4f}), "
                f"unfrozen, last epoch {last[-1]:.4f}, model kept {kept[-1]:.4f}, {seconds:.0f} s",
                flush=True,
            )
    print(f"mean of {options.seeds} seeds: frozen head, best epoch {statistics.mean(frozen):.4f}")
    print(f"mean of {options.seeds} seeds: model kept after unfreezing {statistics.mean(kept):.4f}")
    print(f"mean of {options.seeds} seeds: last epoch after unfreezing {statistics.mean(last):.4f}")


if __name__ == "__main__":
    main()
