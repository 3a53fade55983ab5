"""`tlkit score`: answers about whole folders and tables, as an Apache Beam pipeline that can be resumed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from tlkit.cli.column_options import Encoding, Label, PathColumn, Separator, Text, check_separator
from tlkit.cli.predict_options import EscapeFormulas, ScoreColumns


def score(
    input_: Annotated[
        Path,
        typer.Argument(
            help="Folder of photos, or a table (.csv, .tsv, .jsonl, .parquet; .txt with one text per line).",
            metavar="INPUT",
        ),
    ],
    output: Annotated[
        Path,
        typer.Argument(help="Output: a .csv, .tsv, .jsonl or .parquet file, or a folder of shards.", metavar="OUTPUT"),
    ],
    flags: Annotated[
        list[str] | None, typer.Argument(help="Flags of Beam and its runner, after --.", metavar="[-- BEAM_FLAGS]...")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="Export, or its folder of versions. Default: the project's export.")
    ] = None,
    text: Text = None,
    label: Label = None,
    path_column: PathColumn = None,
    top: Annotated[
        int | None, typer.Option("--top", help="Write the top N classes instead of a probability per class.", min=1)
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            help="For a table of rows: a target of the export, or a name for it if the export has none.",
            metavar="NAME",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Batch size. Default: 32 photos or texts, 4096 rows.", min=1)
    ] = None,
    shards: Annotated[int | None, typer.Option("--shards", help="Number of shards.", min=1)] = None,
    shard_size: Annotated[int | None, typer.Option("--shard-size", help="Items per shard.", min=1)] = None,
    form: Annotated[
        str, typer.Option("--format", help="File format of the shards: parquet, csv or jsonl.")
    ] = "parquet",
    separator: Separator = None,
    encoding: Encoding = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--restart", help="Keep the finished shards of an interrupted run, or score everything again."
        ),
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing output.")] = False,
    escape_formulas: EscapeFormulas = False,
    score_columns: ScoreColumns = True,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Add conformal sets or intervals, and the distance to the training data."),
    ] = False,
    max_bad_share: Annotated[
        float, typer.Option("--max-bad-share", help="Exit with 1 if a larger share of items failed.", min=0, max=1)
    ] = 0.5,
    runner: Annotated[
        str,
        typer.Option("--runner", help="DirectRunner, FlinkRunner, SparkRunner, DataflowRunner, PortableRunner, ..."),
    ] = "DirectRunner",
    workers: Annotated[int, typer.Option("--workers", help="Number of processes of the DirectRunner.", min=1)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Predict all photos of a folder or table, or all texts or rows of a table, with an export.

    The output is written in shards. Run the same command again to continue an interrupted run. Items that fail are
    written to OUTPUT.errors.* with the reason; the others are scored. Exits with 1 if more than --max-bad-share of the
    items failed; the output is still written. The --label column must exist. It is copied like other columns and not
    used.

    Example:  tlkit score photos/ scores.parquet --model saved_models/photos
              tlkit score photos.csv scored.csv --model saved_models/photos --path-column file
              tlkit score reviews.csv scored.csv --model saved_models/reviews --text review
              tlkit score rows.parquet scored/ --runner FlinkRunner -- --flink_master=localhost:8081
    """
    from tlkit.cli.output import native_noise_filtered, note, print_json, stdout_to_stderr
    from tlkit.cli.project import find_project
    from tlkit.errors import ConfigError, check_choice
    from tlkit.scoring.run import Options, run_scoring

    if str(output) == "-":
        raise ConfigError(
            "`tlkit score` cannot write to stdout", received="-", fix="pass a file, such as scored.csv, or a folder"
        )
    check_choice("--format", form, ("parquet", "csv", "jsonl"))
    check_separator(separator)
    options = Options(
        input=input_,
        output=output,
        model=model if model is not None else find_project().export_dir,
        form=form,
        text=text,
        path_column=path_column,
        label=label,
        separator=separator or "",
        encoding=encoding or "utf-8",
        top=top,
        target=target,
        escape_formulas=escape_formulas,
        score_columns=score_columns,
        trust=trust,
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
            note("stopped; finished shards are kept: run the same command again to continue")
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
        note(f"{reused:,} items are in finished shards; {todo:,} remain")
    import_tensorflow()  # here, where its greeting can be kept back
    with counting(todo, "items") as advance:
        yield advance


def _told(summary: dict[str, Any]) -> Iterator[str]:
    """Give the lines that a person reads."""
    from tlkit.inputs.items import counts_line

    rate = summary["items_per_second"]
    speed = f", {rate:,.1f} items/s" if rate else ""
    counts = f"{summary['scored']:,} of {summary['items']:,} items scored, {summary['failed']:,} failed"
    yield f"{summary['output']}: {counts}"
    if summary["damaged"]:
        names = "; ".join(summary["damaged_items"])
        yield f"{summary['damaged']:,} of them can be decoded but are damaged: {names}"
    if summary["entries"]:
        yield counts_line(summary["entries"])
    if summary["errors"]:
        yield f"{summary['errors']}: failed items with the reasons"
    reused = f" ({summary['reused']:,} items were scored before)" if summary["reused"] else ""
    shards = f"{len(summary['shards']):,} shard{'s' if len(summary['shards']) > 1 else ''}"
    yield f"{shards}, {summary['seconds']:.1f} s{speed}{reused}"
