"""Seconds of a linear probe with a thread for each fold, as tlkit fits it, against BLAS' own threads and folds in turn.

    python tools/bench_probe.py [--rounds N]

Features are random, with a spectrum that falls as that of a network's does. Both ways fit the same probes in one
process, in turn; printed are medians and the ratio, by rows, width and number of classes.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tlkit.training import probe

SHAPES = ((244, 2560, 2), (600, 2560, 10), (6000, 384, 3))


def main() -> None:
    """Fit each probe both ways and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    ways = {
        "own": (contextlib.nullcontext, lambda _: ThreadPoolExecutor(1)),
        "one": (probe.one_thread_each, ThreadPoolExecutor),
    }
    draw = np.random.default_rng(0)
    for rows, width, classes in SHAPES:
        mixing = draw.normal(size=(width, width)) / np.sqrt(width)
        features = (draw.normal(size=(rows, width)) / np.sqrt(np.arange(1, width + 1))) @ mixing
        logits = features @ draw.normal(size=(width, classes)) * 4
        targets = np.eye(classes)[(logits + draw.gumbel(size=logits.shape)).argmax(1)]
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, (limit, pool) in ways.items():
                probe.one_thread_each, probe.ThreadPoolExecutor = limit, pool
                start = time.perf_counter()
                probe.fit_probe(features, targets)
                seconds[way].append(time.perf_counter() - start)
        own, one = (statistics.median(seconds[way]) for way in ways)
        print(f"{rows} x {width}, {classes} classes: {one:.2f} s, BLAS' own threads {own:.2f} s, ratio {one / own:.2f}")


if __name__ == "__main__":
    main()
