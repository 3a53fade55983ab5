"""fastai's side of `bench_tabular.py --parts throughput`, run by an interpreter that has fastai.

    PYTHON peer_fastai.py train.csv val.csv TARGET BATCH

Trains one epoch of a tabular_learner (hidden layers 200 and 100, no dropout) for every line on stdin, with validation,
and prints the seconds.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time

import pandas as pd
from fastai.tabular.core import Categorify, CategoryBlock, FillMissing, Normalize, TabularPandas
from fastai.tabular.learner import tabular_config, tabular_learner


def main() -> None:
    """Train one epoch per line of stdin."""
    train, val, target, batch = sys.argv[1:]
    frame = pd.concat([pd.read_csv(train), pd.read_csv(val)], ignore_index=True)
    rows = len(pd.read_csv(train))
    inputs = frame.columns.drop(target)
    numbers = [name for name in inputs if pd.api.types.is_numeric_dtype(frame[name])]
    texts = [name for name in inputs if name not in numbers]
    table = TabularPandas(
        frame,
        procs=[Categorify, FillMissing, Normalize],
        cat_names=texts,
        cont_names=numbers,
        y_names=target,
        y_block=CategoryBlock(),
        splits=(list(range(rows)), list(range(rows, len(frame)))),
    )
    loaders = table.dataloaders(bs=int(batch))
    learn = tabular_learner(loaders, layers=[200, 100], config=tabular_config(ps=0.0, embed_p=0.0))
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.monotonic()
        with contextlib.redirect_stdout(io.StringIO()):
            learn.fit(1, 1e-3)
        print(time.monotonic() - start, flush=True)


if __name__ == "__main__":
    main()
