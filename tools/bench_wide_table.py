"""Seconds of preparing a wide table: read, inferred, checked, split, fitted and encoded.

    python tools/bench_wide_table.py [--rows 200] [--columns 2000] [--kinds numbers mixed] [--per-column 50]

A table of numbers, and one in which a fifth of the columns each are numbers, texts, whole numbers, booleans and dates.
Beside it stands what encoding costs where every column has a traced function of its own, as it had up to 0.1.0:
measured on `--per-column` columns, and scaled up.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd


def table(kind: str, rows: int, columns: int) -> pd.DataFrame:
    """Make a table of random values and a target that none of them tells."""
    rng = np.random.default_rng(0)

    def column(number: int) -> np.ndarray | pd.Series:
        if kind == "numbers" or number % 5 == 0:
            return rng.normal(size=rows)
        if number % 5 == 1:
            return rng.choice(["red", "green", "blue"], rows)
        if number % 5 == 2:
            return rng.integers(0, 9, rows)
        if number % 5 == 3:
            return rng.random(rows) < 0.5
        days = pd.Timestamp("2013-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), unit="D")
        return days.strftime("%Y-%m-%d").to_numpy()

    found = {f"column {number}": column(number) for number in range(columns)}
    return pd.DataFrame(found | {"y": rng.normal(size=rows)})


def per_column(frame: pd.DataFrame, preprocessing: object, columns: int) -> float:
    """Give the seconds of encoding column by column, a traced function for each, as if there were all columns."""
    from tlkit.inputs.row.preprocessing import TablePreprocessing

    chosen = preprocessing.columns[:columns]  # type: ignore[attr-defined]
    start = time.monotonic()
    for column in chosen:
        TablePreprocessing((column,)).encode_frame(frame)
    return (time.monotonic() - start) * len(preprocessing.columns) / len(chosen)  # type: ignore[attr-defined]


def main() -> None:
    """Print seconds for each kind of table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--columns", type=int, default=2000)
    parser.add_argument("--kinds", nargs="+", choices=("numbers", "mixed"), default=["numbers", "mixed"])
    parser.add_argument("--per-column", type=int, default=50)
    options = parser.parse_args()

    import tlkit

    tlkit.table_from_file(table("mixed", 50, 5), "y")  # imports, which every command needs
    for kind in options.kinds:
        frame = table(kind, options.rows, options.columns)
        start = time.monotonic()
        data = tlkit.table_from_file(frame, "y")
        seconds = time.monotonic() - start
        start = time.monotonic()
        data.preprocessing.encode_frame(frame)
        encoding = time.monotonic() - start
        alone = per_column(frame, data.preprocessing, options.per_column)
        print(
            f"{options.rows} rows x {options.columns} columns ({kind}): {seconds:.1f} s for everything; encoding again "
            f"{encoding:.2f} s, with a traced function for each column {alone:.0f} s ({alone / encoding:.0f} x)"
        )


if __name__ == "__main__":
    main()
