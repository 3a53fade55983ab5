"""`tlkit drift`: later data against the validation data of an export."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.cli.column_options import Encoding, PathColumn, Separator, Text, check_separator
from tlkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tlkit.export.baseline import Baseline
    from tlkit.export.manifest import Manifest
    from tlkit.export.sketch import Sketch
    from tlkit.inputs.items import Item
    from tlkit.trust.drift.compare import Drift

_MOST = 20_000  # items of a data set
_SHARD = 4096
_DAYS = 7


def drift(
    export: Annotated[Path, typer.Argument(help="Version folder, or a model's folder of versions.")],
    data: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of photos, table, file of texts, or the directory of `tlkit serve --monitor`. "
            "Default: show what the export can be compared with.",
            metavar="[DATA|MONITOR_DIR]",
        ),
    ] = None,
    alpha: Annotated[
        float, typer.Option("--alpha", help="Level of significance, corrected for the number of tests.")
    ] = 0.05,
    psi: Annotated[float, typer.Option("--psi", help="Smallest population stability index that counts.")] = 0.02,
    days: Annotated[
        int, typer.Option("--days", help="Of a monitor directory: compare the newest N days that have counts.", min=1)
    ] = _DAYS,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Where to write the HTML report; drift.html by default.", metavar="PATH"),
    ] = None,
    text: Text = None,
    path_column: PathColumn = None,
    separator: Separator = None,
    encoding: Encoding = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare data, or what a server was asked, with the validation data of an export.

    Inputs, predictions and embeddings are tested. The exit code is 1 if a statistic is above both thresholds.

    Example:  tlkit drift saved_models/bees new_photos/
              tlkit drift saved_models/bees monitor/ --days 1
    """
    from tlkit.cli.output import note, print_json
    from tlkit.export.baseline import Baseline
    from tlkit.export.manifest import Manifest, resolve_export
    from tlkit.trust.drift.compare import check_thresholds, compare
    from tlkit.trust.drift.page import write_drift_page

    check_thresholds(alpha, psi)
    check_separator(separator)
    page = report if report is not None else Path("drift.html")
    if data is not None:
        from tlkit.report.html import check_place

        check_place(page, fix="choose another --report PATH")
    folder = resolve_export(export)
    manifest = Manifest.read(folder)
    baseline = Baseline.read(folder, manifest)
    if data is None:
        _show_baseline(folder, baseline, as_json)
        return
    facts = [("export", str(folder)), ("data", str(data))]
    counted = _monitored(data, baseline, days)
    if counted is not None:
        sketch, refused, period = counted
        for option, given in (("--text", text), ("--path-column", path_column)):
            if given is not None:
                raise ConfigError(f"{option} cannot be combined with a monitor directory", received=given)
        facts.append(("days", period))
    else:
        options = {"text": text, "path_column": path_column, "separator": separator or ""}
        sketch, refused = _observed(folder, manifest, baseline, data, {**options, "encoding": encoding or "utf-8"})
    found = compare(baseline, sketch, alpha=alpha, psi=psi, unusable=refused)
    if sketch.dropped:
        facts.append(("items that the monitor had no time for", f"{sketch.dropped:,}"))
    if refused:
        facts.append(("items that the export cannot take", f"{refused:,}"))
    written = write_drift_page(page, found, manifest.model_name, facts)
    if as_json:
        print_json({**found.to_dict(), "report": str(written)})
    else:
        _show(found, baseline)
        print(f"report: {written}")
    if refused:
        note(f"warning: {refused:,} items cannot be used and are left out")
    if found.drifted:
        raise typer.Exit(1)


def _monitored(path: Path, baseline: Baseline, days: int) -> tuple[Sketch, int, str] | None:
    """Return the counts of a monitor directory and its days; None for anything else."""
    from tlkit.export.monitor_files import find_monitor, is_monitor
    from tlkit.export.sketch import Sketch

    if not path.is_dir() or not is_monitor(path):
        return None
    folder, sketch = find_monitor(path, baseline), Sketch()
    used = folder.days()[-days:]
    for day in used:
        sketch.merge(folder.read(day))
    if not used:
        raise DataError("the monitor directory has no counts yet", received=str(path))
    return sketch, 0, used[0] if len(used) == 1 else f"{used[0]} to {used[-1]}"


def _observed(
    folder: Path, manifest: Manifest, baseline: Baseline, data: Path, options: dict[str, Any]
) -> tuple[Sketch, int]:
    """Run the export on data: the counts, and how many items it cannot take."""
    from tlkit.cli.output import counting, import_tensorflow, native_noise_filtered, stdout_to_stderr
    from tlkit.scoring.open_source import open_source

    with native_noise_filtered(), stdout_to_stderr():
        source = open_source(data, manifest, **options)
        with tempfile.TemporaryDirectory() as place:
            items = _sample(source.placed(Path(place)))
            if not items:
                from tlkit.inputs.base import input_spec
                from tlkit.lazy import loaded

                raise loaded(input_spec(manifest.interface.content).nothing)(data)
            import_tensorflow()
            from tlkit.predicting.exported import Scorer
            from tlkit.trust.drift.observe import observe

            scorer = Scorer(folder)
            lost = 0

            def batches() -> Iterator[dict[str, Any]]:
                nonlocal lost
                for start in range(0, len(items), scorer.batch_size):
                    part = items[start : start + scorer.batch_size]
                    arguments = scorer.arguments(part)
                    lost += len(part) - len(next(iter(arguments.values())))
                    yield arguments

            with counting(len(items), "items") as advance:
                sketch, refused = observe(scorer.predictor, baseline, batches(), advance)
    return sketch, refused + lost


def _sample(source: Any) -> Sequence[Item]:
    """Return up to 20,000 items of an input in random order: a uniform sample (Vitter 1985, algorithm R)."""
    import random

    draw, kept = random.Random(0), []
    number = 0
    for shard in source.shards(_SHARD):
        for item in source.read(shard):
            if number < _MOST:
                kept.append(item)
            elif (place := draw.randrange(number + 1)) < _MOST:
                kept[place] = item
            number += 1
    draw.shuffle(kept)
    return kept


def _show(found: Drift, baseline: Baseline) -> None:
    """Print what drifted, and what did not in one line."""
    from tlkit.one_line import one_line
    from tlkit.trust.drift.page import p_text

    split = "validation" if baseline.split == "val" else baseline.split
    print(f"{found.items:,} items against {found.baseline_items:,} of the {split} data")
    for one in found.drifted:
        index = "" if one.psi is None else f"PSI {one.psi:.3f}, "
        print(f"drift  {one_line(one.name)}: {index}{one.method} p {p_text(one.adjusted)}; {one_line(one.change)}")
    for one in found.compared:
        if one.skipped:
            print(f"-      {one_line(one.name)}: {one.skipped}")
    rest = sum(not one.drifted and not one.skipped for one in found.compared)
    print(f"ok     {rest} other statistics" if found.drifted else f"ok     {rest} statistics, no drift")


def _show_baseline(folder: Path, baseline: Baseline, as_json: bool) -> None:
    """Print what an export can be compared with."""
    from tlkit.cli.output import print_json

    names = {source: [one.name for one in baseline.bins if one.source == source] for source in ("input", "prediction")}
    embedding = [one.name for one in baseline.bins if one.source == "embedding"]
    embedding += ["embedding"] if baseline.landmarks is not None else []
    if as_json:
        plain = {"export": str(folder), "split": baseline.split, "items": baseline.sketch.items}
        print_json({**plain, **names, "embedding": embedding})
        return
    print(f"{folder}: baseline of {baseline.sketch.items:,} items of {baseline.split}")
    for source, own in (*names.items(), ("embedding", embedding)):
        print(f"  {source}: {', '.join(own)}")
