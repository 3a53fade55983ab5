"""`tlkit score`: answers about whole folders and tables, as an Apache Beam pipeline that can be resumed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from tlkit.cli.column_options import Encoding, Label, PathColumn, Separator, Text, check_separator
from tlkit.cli.predict_options import EscapeFormulas


def score(
    input_: Annotated[
        Path,
        typer.Argument(
            help="A folder of photos, or a table (.csv, .tsv, .jsonl, .parquet; .txt of texts).", metavar="INPUT"
        ),
    ],
    output: Annotated[
        Path, typer.Argument(help="A .csv, .tsv, .jsonl or .parquet file, or a folder of shards.", metavar="OUTPUT")
    ],
    flags: Annotated[
        list[str] | None, typer.Argument(help="Flags of Beam and its runner, after --.", metavar="[-- BEAM_FLAGS]...")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="An export, or its folder of versions; the project's by default.")
    ] = None,
    text: Text = None,
    label: Label = None,
    path_column: PathColumn = None,
    top: Annotated[
        int | None, typer.Option("--top", help="Write the best N classes instead of a score for each.", min=1)
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            help="For a table of rows: a target of the export, or its name where the export has none.",
            metavar="NAME",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Items run together; 32 photos or texts, 4096 rows.", min=1)
    ] = None,
    shards: Annotated[int | None, typer.Option("--shards", help="How many shards to make.", min=1)] = None,
    shard_size: Annotated[int | None, typer.Option("--shard-size", help="Items of a shard.", min=1)] = None,
    form: Annotated[
        str, typer.Option("--format", help="Of the shards of a folder: parquet, csv or jsonl.")
    ] = "parquet",
    separator: Separator = None,
    encoding: Encoding = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--restart", help="Keep the finished shards of an unfinished run, or score everything again."
        ),
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace an output that exists.")] = False,
    escape_formulas: EscapeFormulas = False,
    max_bad_share: Annotated[
        float, typer.Option("--max-bad-share", help="Exit with 1 when a larger share of items failed.", min=0, max=1)
    ] = 0.5,
    runner: Annotated[
        str,
        typer.Option("--runner", help="DirectRunner, FlinkRunner, SparkRunner, DataflowRunner, PortableRunner, ..."),
    ] = "DirectRunner",
    workers: Annotated[int, typer.Option("--workers", help="Processes of the DirectRunner.", min=1)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Score the photos of a folder or table, or the texts or rows of a table, with an export.

    The work is done in shards: what is interrupted goes on where it was when the same line is run again. An item that
    cannot be answered goes to OUTPUT.errors.* with its reason, and the others are scored. Exits with 1 when more than
    --max-bad-share of the items failed; the output is written all the same. The column that --label names must be there
    and is copied like every other; it is never read.

    Example:  tlkit score photos/ scores.parquet --model saved_models/photos
              tlkit score photos.csv scored.csv --model saved_models/photos --path-column file
              tlkit score reviews.csv scored.csv --model saved_models/reviews --text review
              tlkit score rows.parquet scored/ --runner FlinkRunner -- --flink_master=localhost:8081
    """
    from tlkit.cli.output import native_noise_filtered, note, print_json, stdout_to_stderr
    from tlkit.errors import ConfigError, check_choice
    from tlkit.scoring.run import Options, run_scoring

    if str(output) == "-":
        raise ConfigError(
            "scoring writes files, nothing to stdout", received="-", fix="name one, such as scored.csv, or a folder"
        )
    check_choice("--format", form, ("parquet", "csv", "jsonl"))
    check_separator(separator)
    options = Options(
        input=input_,
        output=output,
        model=model if model is not None else _project_export_dir(),
        form=form,
        text=text,
        path_column=path_column,
        label=label,
        separator=separator or "",
        encoding=encoding or "utf-8",
        top=top,
        target=target,
        escape_formulas=escape_formulas,
        batch_size=batch_size,
        shards=shards,
        shard_size=shard_size,
        restart=not resume,
        force=force,
        runner=runner,
        workers=workers,
        flags=tuple(flags or ()),
    )
    with native_noise_filtered(), stdout_to_stderr():
        try:
            summary = run_scoring(options, begun=_progress)
        except KeyboardInterrupt:
            note("stopped; finished shards are kept: the same line goes on with the others")
            raise
    share = summary["failed"] / summary["items"]
    too_bad = share > max_bad_share
    if as_json:
        print_json({**summary, "ok": not too_bad})
    else:
        print("\n".join(_told(summary)))
    if too_bad:
        note(f"error: {share:.0%} of the items failed, more than --max-bad-share {max_bad_share:g}")
        raise typer.Exit(1)


@contextlib.contextmanager
def _progress(todo: int, reused: int) -> Iterator[Callable[[int], None]]:
    from tlkit.cli.output import counting, import_tensorflow, note

    if reused:
        note(f"{reused:,} items are in finished shards; {todo:,} are left")
    import_tensorflow()  # here, where its greeting can be kept back
    with counting(todo, "items") as advance:
        yield advance


def _project_export_dir() -> Path:
    from tlkit.cli.project import find_project

    return find_project().export_dir


def _told(summary: dict[str, Any]) -> Iterator[str]:
    """Give the lines that a person reads."""
    from tlkit.inputs.image.walk import counts_line

    rate = summary["items_per_second"]
    speed = f", {rate:,.1f} items/s" if rate else ""
    counts = f"{summary['scored']:,} of {summary['items']:,} items scored, {summary['failed']:,} failed"
    yield f"{summary['output']}: {counts}"
    if summary["damaged"]:
        names = "; ".join(summary["damaged_items"])
        yield f"{summary['damaged']:,} of them decode, but are damaged: {names}"
    if summary["entries"]:
        yield counts_line(summary["entries"])
    if summary["errors"]:
        yield f"{summary['errors']}: what failed, and why"
    reused = f" ({summary['reused']:,} items were scored before)" if summary["reused"] else ""
    shards = f"{len(summary['shards']):,} shard{'s' if len(summary['shards']) > 1 else ''}"
    yield f"{shards}, {summary['seconds']:.1f} s{speed}{reused}"
