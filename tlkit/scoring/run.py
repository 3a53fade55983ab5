"""A whole run: plan, shards, counts that add up, and the output in its place."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock

from tlkit.errors import ConfigError, DataError, ScoringError
from tlkit.export.manifest import Manifest, not_calibrated, resolve_export
from tlkit.files import atomic_write
from tlkit.inputs.base import input_spec
from tlkit.inputs.items import Source, readable
from tlkit.lazy import loaded
from tlkit.predicting.answer_columns import AnswerColumns, trust_signatures
from tlkit.predicting.bad_items import errors_path
from tlkit.predicting.table_writer import SUFFIXES, CellRules
from tlkit.scoring import pipeline
from tlkit.scoring.open_source import open_source
from tlkit.scoring.plan import Plan
from tlkit.scoring.shard_writer import DAMAGED_NAMED, ShardReport
from tlkit.scoring.shards import SUMMARY_NAME, ShardStore

_LOOK = 0.5  # seconds between two looks at how far the shards are


@dataclasses.dataclass(frozen=True)
class Options:
    """What a run is asked for.

    Attributes:
        input: a folder of photos, or a table of texts or rows.
        output: a .csv, .tsv, .jsonl, .ndjson or .parquet file, or a folder of shards.
        model: an export, or the folder of its versions.
        form: of the shards where `output` is a folder: "parquet", "csv" or "jsonl".
        text, path_column, label, separator, encoding: as for `open_source`.
        top, target, score_columns, trust: as for `AnswerColumns.of`.
        escape_formulas: as for `CellRules`.
        batch_size: items that are run together; None takes what `tlkit predict` does.
        shards: how many; or `shard_size`, how many items each; None for both takes what the input's spec says.
        restart: begin again where an earlier run was left unfinished, instead of going on.
        force: replace an output.
        runner, workers, flags: as for `pipeline.beam_flags`.
    """

    input: Path
    output: Path
    model: Path
    form: str = "parquet"
    text: str | None = None
    path_column: str | None = None
    label: str | None = None
    separator: str = ""
    encoding: str = "utf-8"
    top: int | None = None
    target: str | None = None
    score_columns: bool = True
    trust: bool = False
    escape_formulas: bool = False
    batch_size: int | None = None
    shards: int | None = None
    shard_size: int | None = None
    restart: bool = False
    force: bool = False
    runner: str = pipeline.DIRECT
    workers: int = 1
    flags: tuple[str, ...] = ()

    @property
    def is_folder(self) -> bool:
        """Whether the output is a folder of shards."""
        return self.output.suffix.lower() not in SUFFIXES

    @property
    def suffix(self) -> str:
        """Of the shards."""
        return f".{self.form}" if self.is_folder else self.output.suffix.lower()

    @property
    def folder(self) -> Path:
        """Where the shards lie."""
        return self.output if self.is_folder else self.output.with_name(f"{self.output.name}.shards")

    @property
    def errors(self) -> Path:
        """Where the bad items go: a file, or a folder of them."""
        if self.is_folder:
            return self.output / "_errors"
        return errors_path(self.output)


def run_scoring(
    options: Options, *, begun: Callable[[int, int], contextlib.AbstractContextManager[Callable[[int], None]]]
) -> dict[str, Any]:
    """Score an input; see `tlkit score`.

    Args:
        options: what is asked for.
        begun: is called with the number of items to score and of those that an earlier run has scored, and gives a
            context whose value is called with numbers of items as they are finished.

    Returns:
        The summary: output, errors (None where no item failed), items, scored, failed, reused (items of shards that an
        earlier run had finished), damaged (scored items that decode although they are damaged) and damaged_items (the
        first of them), entries (of a folder: found, used, and left out by reason), shards (for each its number, read,
        scored, failed, seconds and whether it is reused), beam (Beam's own counts of this run), seconds,
        items_per_second (of this run), runner and model.

    Raises:
        ConfigError: an option is not usable, the output exists, or an unfinished run had other settings.
        DataError: the input cannot be read or has no item.
        ExportError: the model cannot be read.
        ScoringError: the pipeline failed, or its counts do not add up.
    """
    began = time.monotonic()
    options = dataclasses.replace(options, output=options.output.expanduser())
    flags = pipeline.beam_flags(options.runner, options.workers, options.flags)
    export = resolve_export(options.model).absolute()
    manifest = Manifest.read(export)
    if options.trust and not trust_signatures(manifest):
        raise not_calibrated(export)
    about: dict[str, Any] = {"top": options.top, "target": options.target}
    about |= {"score_columns": options.score_columns, "trust": options.trust}
    answers = AnswerColumns.of(manifest, **about)
    quoted = input_spec(manifest.interface.content).files.quoted_tsv  # as `open_source` reads it
    rules = CellRules(quoted_tsv=quoted, escape_formulas=options.escape_formulas)
    rules.check(options.suffix)
    source = open_source(
        options.input,
        manifest,
        text=options.text,
        path_column=options.path_column,
        label=options.label,
        separator=options.separator,
        encoding=options.encoding,
    )
    for name in answers.names:
        if name in source.columns:
            raise DataError(
                f"{options.input} already has a column {name!r}",
                fix="rename it: the output has a column with this name",
            )
    _check_output(options)
    pipeline.check_beam()
    store = ShardStore(options.folder, options.suffix, rules)
    try:
        options.folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{options.folder} cannot be created: {error.strerror}", fix="write the output to another folder"
        ) from error
    with _alone(options.folder), _tidied(store):
        source, plan = _plan(options, store, source, manifest, export)
        plan_id = plan.id
        had = [store.report(shard.number, plan_id) for shard in plan.shards]
        todo = [shard for shard, report in zip(plan.shards, had, strict=True) if report is None]
        reused = sum(report.read for report in had if report is not None)
        counts: dict[str, int] = {}
        if todo:
            from tlkit.scoring.model_fn import Job

            job = Job(
                export=export,
                source=source,
                folder=options.folder.absolute(),
                suffix=options.suffix,
                schema=_schema(source, answers, options),
                plan=plan_id,
                options={"batch_size": options.batch_size, **about},
                rules=rules,
            )
            for shard in todo:
                store.files(shard.number).report.unlink(missing_ok=True)
            with begun(plan.items - reused, reused) as advance, _watching(store, plan, advance, todo):
                counts = pipeline.run_shards(pipeline.with_threads(job, options.workers), todo, flags)
        reports = _checked(store, plan, [shard.number for shard in todo], counts)
        failed = sum(report.failed for report in reports)
        seconds = time.monotonic() - began
        fresh = plan.items - reused
        summary = {
            "output": readable(str(options.output)),
            "errors": readable(str(options.errors)) if failed else None,
            "model": readable(str(export)),
            "runner": options.runner,
            "items": plan.items,
            "scored": plan.items - failed,
            "failed": failed,
            "reused": reused,
            "seconds": round(seconds, 3),
            "items_per_second": round(fresh / seconds, 1) if fresh else None,
            "damaged": sum(report.damaged for report in reports),
            "damaged_items": [item for report in reports for item in report.damaged_items][:DAMAGED_NAMED],
            "entries": getattr(source, "counts", None),
            "beam": counts,
            "shards": [
                {
                    "number": report.number,
                    "read": report.read,
                    "scored": report.scored,
                    "failed": report.failed,
                    "seconds": report.seconds,
                    "reused": had[report.number] is not None,
                }
                for report in reports
            ],
        }
        names = [*source.columns, *answers.names]
        _finish(options, store, len(plan.shards), names, summary)
    if not options.is_folder:
        _remove(options.folder)
    return summary


def _check_output(options: Options) -> None:
    """Refuse an output that would be overwritten unasked, or cannot be written."""
    out = options.output
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"the folder {out.parent} for {out.name} does not exist")
    if options.shards is not None and options.shard_size is not None:
        raise ConfigError("--shards and --shard-size cannot be combined", fix="remove one of them")
    if options.input.exists() and out.exists() and out.samefile(options.input):
        raise ConfigError("the output is the same file as the input", received=str(out), fix="choose another output")
    if options.input.exists() and options.errors.exists() and options.errors.samefile(options.input):
        raise ConfigError(f"{options.errors} is the file for the failed items of {out}", fix="choose another output")
    if options.is_folder:
        if out.is_file():
            raise ConfigError(f"{out} is a file", allowed=f"a folder, or a file with {', '.join(SUFFIXES)}")
        if out.suffix:
            raise ConfigError("unknown table format", received=str(out), allowed=[*SUFFIXES, "a folder (no suffix)"])
        done = (out / SUMMARY_NAME).exists()
    else:
        if out.is_dir():
            raise ConfigError(f"{out} is a folder", fix="pass the path of a file")
        done = out.exists() or options.errors.exists()
    if done and not options.force:
        there = out if out.exists() else options.errors
        raise ConfigError(f"{there} already exists", fix="choose another name, or overwrite it with --force")
    if options.folder.is_dir() and not ShardStore(options.folder, options.suffix).is_ours():
        raise ConfigError(
            f"{options.folder} contains other files", fix="choose a new folder: existing files are not removed"
        )


def _plan(options: Options, store: ShardStore, source: Source, manifest: Manifest, export: Path) -> tuple[Source, Plan]:
    """Make the plan and see whether an earlier run had the same one."""
    before = None if options.restart else Plan.read(options.folder)
    if options.restart or (options.force and (options.folder / SUMMARY_NAME).exists()) or before is None:
        store.clear()
        before = None
    store.make()
    store.sweep()
    source = source.placed(store.input_folder)
    size = options.shard_size or input_spec(manifest.interface.content).shard
    if options.shards is not None:
        size = max(1, math.ceil(sum(shard.items for shard in source.shards(1 << 20)) / options.shards))
    shards = list(source.shards(size))
    if not shards:
        raise loaded(input_spec(manifest.interface.content).nothing)(options.input)
    settings = {
        # Photos are called in the output as the folder is called here.
        "INPUT": str(options.input) if options.input.is_dir() else None,
        "--text": options.text,
        "--top": options.top,
        "--target": options.target,
        "--separator": options.separator,
        "--encoding": options.encoding,
        "--format": options.suffix,
        "the size of a shard": size,
    }
    if options.path_column is not None:
        settings["--path-column"] = options.path_column
    further = {"--escape-formulas": options.escape_formulas, "--trust": options.trust}
    further["--no-score-columns"] = not options.score_columns
    settings |= {name: True for name, is_set in further.items() if is_set}
    plan = Plan.make(source.digest(), options.input, export, settings, shards)
    if before is not None:
        before.check_same(plan, options.folder)
    plan.write(options.folder)
    return source, plan


def _schema(source: Source, answers: AnswerColumns, options: Options) -> Any:
    import pyarrow as pa

    types = {**(source.types() if options.suffix == ".parquet" else {}), **answers.types()}
    return pa.schema([pa.field(name, types.get(name, pa.string())) for name in [*source.columns, *answers.names]])


def _checked(store: ShardStore, plan: Plan, fresh: Sequence[int], beam: dict[str, int]) -> list[ShardReport]:
    """Give the reports of all shards; what they count must add up, and be what Beam has counted."""
    reports = []
    for shard in plan.shards:
        report = store.report(shard.number, plan.id)
        if report is None:
            raise ScoringError(
                f"shard {shard.number} is missing although the pipeline reported success",
                fix=f"check that every worker can write to {store.folder.absolute()}",
            )
        if report.read != shard.items or report.scored + report.failed != report.read:
            raise ScoringError(
                f"the counts of shard {shard.number} do not add up",
                received=f"{report.scored} scored + {report.failed} failed of {shard.items} items",
            )
        reports.append(report)
    ours = {name: sum(getattr(reports[number], name) for number in fresh) for name in ("read", "scored", "failed")}
    ours |= {"shards": len(fresh), "bad": ours["failed"]}
    # A counter that was never touched is not reported; a runner without metrics reports none.
    different = {
        name: (beam.get(name, 0), count) for name, count in ours.items() if beam and beam.get(name, 0) != count
    }
    if different:
        told = ", ".join(
            f"{name}: {theirs:,} by Beam, {own:,} in the shards" for name, (theirs, own) in different.items()
        )
        raise ScoringError("the counts do not add up", received=told, fix="run the command with --restart")
    return reports


def _finish(options: Options, store: ShardStore, count: int, names: Sequence[str], summary: dict[str, Any]) -> None:
    """Put the output in its place."""
    if options.is_folder:
        with atomic_write(options.folder / SUMMARY_NAME) as file:
            file.write(json.dumps(summary, ensure_ascii=False) + "\n")
        return
    # The bad items first: when the output is there, everything is.
    store.merge_errors(range(count), options.errors)
    store.merge(range(count), options.output, names)


@contextlib.contextmanager
def _tidied(store: ShardStore) -> Iterator[None]:
    """Leave no folder behind where a run fails before its first shard is finished."""
    try:
        yield
    except BaseException:
        if not store.count():
            _remove(store.folder)
        raise


def _remove(folder: Path) -> None:
    ShardStore(folder, "").clear()
    (folder / ".lock").unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it is not empty: a worker is still writing
        folder.rmdir()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder, so that two runs do not write the same output; a run that is killed lets go of it."""
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ConfigError(f"another run is writing to {folder}", fix="wait until it has finished") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _watching(store: ShardStore, plan: Plan, advance: Callable[[int], None], todo: Sequence[Any]) -> Iterator[None]:
    """Tell how many items are finished, by the shards that are: every runner shows it, even one far away."""
    ended = threading.Event()
    open_shards = {shard.number: shard.items for shard in todo}

    def look() -> None:
        while True:
            last = ended.wait(_LOOK)
            for number in [number for number in open_shards if store.files(number).report.exists()]:
                advance(open_shards.pop(number))
            if last:
                return

    thread = threading.Thread(target=look, name="tlkit-score-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
