"""The Beam pipeline: shards in, reports and bad items out, on whichever runner."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tlkit.errors import ConfigError, ScoringError, TlkitError
from tlkit.inputs.items import Shard

DIRECT = "DirectRunner"
# Beam's own DirectRunner tries to download a program ("Prism") first; this is the one that it falls back to.
_IN_PROCESS = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
FIX = 'pip install "tlkit[beam]"'


def check_beam() -> None:
    """Refuse to begin without Apache Beam, and keep its log to errors.

    Raises:
        ConfigError: it is not installed.
    """
    import importlib.util

    if importlib.util.find_spec("apache_beam") is None:
        raise ConfigError("`tlkit score` needs Apache Beam, which is not installed", fix=FIX)
    _quiet()


def beam_flags(runner: str, workers: int, flags: Sequence[str]) -> list[str]:
    """Give Beam's own flags.

    Example:
        >>> beam_flags("FlinkRunner", 1, ["--flink_master=localhost:8081"])
        ['--runner=FlinkRunner', '--flink_master=localhost:8081']

    Args:
        runner: any of Beam's, by name or as a dotted path; `"DirectRunner"` is the one inside this process.
        workers: processes of the DirectRunner; other runners have flags of their own.
        flags: what is passed on as it is.

    Raises:
        ConfigError: the flags name a runner, are no flags, or `workers` does not go with the runner.
    """
    if flags and not flags[0].startswith("-"):
        raise ConfigError("Beam flags must start with --", received=flags[0], fix="check for an extra path")
    if any(flag.split("=")[0] == "--runner" for flag in flags):
        raise ConfigError("the runner must be given before the --", fix="--runner NAME")
    if runner != DIRECT:
        if workers > 1:
            raise ConfigError(f"--workers is an option for the {DIRECT}; for {runner}, pass its own flag after --")
        return [f"--runner={runner}", *flags]
    several = [f"--direct_num_workers={workers}", "--direct_running_mode=multi_processing"]
    return [f"--runner={_IN_PROCESS}", *(several if workers > 1 else []), *flags]


def run_shards(job: Any, shards: Sequence[Shard], flags: Sequence[str]) -> dict[str, int]:
    """Score shards and wait for the last one.

    Args:
        job: a `tlkit.scoring.model_fn.Job`.
        shards: those to score.
        flags: as `beam_flags` gives them.

    Returns:
        Beam's own counts of this run: shards, read, scored, failed, and bad, which counts the side output; empty where
        the runner has none.

    Raises:
        ConfigError: there is no such runner, or it refuses the flags.
        ScoringError: the pipeline failed.
    """
    import apache_beam as beam
    from apache_beam.metrics import MetricsFilter
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineState

    from tlkit.scoring.model_fn import NAMESPACE

    try:
        options = PipelineOptions([*flags])
        pipeline = beam.Pipeline(options=options)
    except (ValueError, SystemExit, ImportError, AttributeError) as error:
        raise ConfigError(f"Beam cannot start: {error}", received=" ".join(flags)) from error
    try:
        score_shards(pipeline, job, shards)
        result = pipeline.run()
        state = result.wait_until_finish()
        state = state or result.state
    except KeyboardInterrupt:
        raise
    except Exception as error:  # whatever the code of a DoFn, a runner or a remote service raises
        raise _failed(error) from error
    if state != PipelineState.DONE:
        raise ScoringError("the pipeline failed", received=state, fix="finished shards are kept: run the command again")
    try:
        found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]
    except (NotImplementedError, AttributeError):
        return {}
    return {metric.key.metric.name: int(metric.result) for metric in found if metric.result is not None}


def score_shards(pipeline: Any, job: Any, shards: Sequence[Shard]) -> Mapping[str, Any]:
    """Add the steps to a pipeline, one's own or that of `run_shards`.

    Args:
        pipeline: a `beam.Pipeline`.
        job: a `tlkit.scoring.model_fn.Job`.
        shards: those to score.

    Returns:
        Two PCollections of dictionaries: "reports", one for each shard, and "bad", one for each item that failed.
    """
    import apache_beam as beam

    from tlkit.scoring.model_fn import BAD, CountBad, ScoreShard

    scored = (
        pipeline
        | "Shards" >> beam.Create([tuple(shard) for shard in shards])
        | "Spread" >> beam.Reshuffle()  # else a runner may give all of them to one worker
        | "Score" >> beam.ParDo(ScoreShard(job)).with_outputs(BAD, main="reports")
    )
    scored[BAD] | "CountBad" >> beam.ParDo(CountBad())
    return {"reports": scored.reports, "bad": scored[BAD]}


def threads_of(workers: int) -> int:
    """Say how many threads TensorFlow gets in each of several processes; 0 is its own choice, for one."""
    return 0 if workers == 1 else max(1, (os.cpu_count() or 1) // workers)


def with_threads(job: Any, workers: int) -> Any:
    """Give a job for so many processes on this machine."""
    return dataclasses.replace(job, threads=threads_of(workers))


def _failed(error: Exception) -> TlkitError:
    if isinstance(error, TlkitError):
        return ScoringError(f"the pipeline failed: {error}", fix="finished shards are kept: run the command again")
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    # A remote traceback ends with what happened.
    told = next((line for line in reversed(lines) if "Error" in line), lines[0])
    return ScoringError(
        f"the pipeline failed: {type(error).__name__}: {told.strip()[:500]}",
        fix="finished shards are kept: run the command again; use --debug to see the traceback",
    )


def _quiet() -> None:
    """Keep Beam's log to errors: a warning on the root logger would otherwise install a handler for all of them."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.NullHandler())
    for name in ("apache_beam", "apitools", "__main__"):
        logging.getLogger(name).setLevel(logging.ERROR)
