"""Items per second of `tlkit score` against a plain loop over `SavedModelPredictor`, on the same items in one run.

    python tools/bench_scoring.py --model saved_models/photos --input photos/ --repeat 3

Both begin with TensorFlow imported; both load the export, answer every item and write nothing but `tlkit score`'s own
files. The two take turns, and the medians of their ratios are printed. `--copies N` repeats the rows of a CSV.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def plain_loop(source, export: Path) -> tuple[int, float, float]:
    """Answer all items without Beam, shards, checks or output; gives items, seconds to load and seconds to answer."""
    from tlkit.export.predictor import SavedModelPredictor
    from tlkit.inputs.base import input_spec
    from tlkit.inputs.row.typed_rows import TypedRows

    began = time.perf_counter()
    predictor = SavedModelPredictor(export)
    loaded = time.perf_counter()
    items = [item for shard in source.shards(1 << 20) for item in source.read(shard)]
    if not predictor.manifest.interface.columns:
        predictor.predict([item.content for item in items])
        return len(items), loaded - began, time.perf_counter() - loaded
    table, size = TypedRows(predictor.manifest.preprocessing), input_spec("row").batch
    for start in range(0, len(items), size):
        part = items[start : start + size]
        predictor.predict_frame(table.frame(part), rows_at_once=size)
    return len(items), loaded - began, time.perf_counter() - loaded


def copied(table: Path, folder: Path, copies: int) -> Path:
    """Write a CSV with its rows several times."""
    header, *lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    out = folder / table.name
    out.write_text(header + "".join(lines) * copies, encoding="utf-8")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--text")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--copies", type=int, default=1, help="of the rows of a CSV without line breaks in its fields")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()

    from tlkit.cli.output import import_tensorflow

    import_tensorflow()
    import apache_beam  # noqa: F401 - the plain loop does not pay for the import, so neither does the pipeline

    from tlkit.export.manifest import Manifest, resolve_export
    from tlkit.scoring.open_source import open_source
    from tlkit.scoring.run import Options, run_scoring

    @contextlib.contextmanager
    def silent(todo: int, reused: int):
        yield lambda count: None

    folder = Path(tempfile.mkdtemp(prefix="tlkit-bench-"))
    try:
        path = copied(asked.input, folder, asked.copies) if asked.copies > 1 else asked.input
        export = resolve_export(asked.model)
        kept = folder / "listing"
        kept.mkdir()
        source = open_source(path, Manifest.read(export), text=asked.text).placed(kept)
        ratios, inside = [], []
        for turn in range(asked.repeat + 1):
            items, loading, seconds = plain_loop(source, export)
            out = folder / f"{turn}.csv"
            summary = run_scoring(Options(path, out, export, text=asked.text, workers=asked.workers), begun=silent)
            if summary["scored"] != items:
                raise SystemExit(f"{summary['failed']} items failed: a bench needs good ones")
            shards = sum(shard["seconds"] for shard in summary["shards"])
            if turn:  # the first turn warms both up
                ratios.append((loading + seconds) / summary["seconds"])
                inside.append(seconds / shards)
            print(
                f"{'warm-up' if not turn else f'turn {turn}'}: {items:,} items; "
                f"loop: load {loading:.2f} s, answer {seconds:.2f} s = {items / seconds:,.0f}/s; "
                f"score: whole run {summary['seconds']:.2f} s = {items / summary['seconds']:,.0f}/s, "
                f"inside the shards {shards:.2f} s = {items / shards:,.0f}/s"
            )
        print(f"speed of the whole run over loading and looping (median): {statistics.median(ratios):.2f}")
        print(f"speed inside the shards over the loop alone (median):     {statistics.median(inside):.2f}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
