"""The pipeline's one step of work: a shard goes in, its files are written, a report and its bad items come out."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared

from tlkit.inputs.items import Shard, Source
from tlkit.predicting.engine import written
from tlkit.predicting.table_writer import CellRules
from tlkit.scoring.shard_writer import ShardWriter
from tlkit.scoring.shards import ShardStore

NAMESPACE = "tlkit.score"
BAD = "bad"  # the side output


@dataclasses.dataclass(frozen=True)
class Job:
    """What a worker must know; Beam pickles it, so it holds names and numbers but no model.

    Attributes:
        export: a version folder that every worker can read.
        source: the input, at a place that every worker can read.
        folder: of the shards, which every worker can write to.
        suffix: of the shards' files.
        schema: Arrow schema of the rows.
        plan: the id of the plan.
        options: arguments of `Scorer`.
        threads: that TensorFlow may use in a worker; 0 for as many as it likes.
        rules: for the cells of a CSV or TSV.
    """

    export: Path
    source: Source
    folder: Path
    suffix: str
    schema: Any
    plan: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    threads: int = 0
    rules: CellRules | None = None


class ScoreShard(beam.DoFn):
    """Scores shards.

    The export is loaded once per worker process, whatever the number of threads. A shard that Beam runs twice is
    written twice with the same content, each time as a whole.

    Args:
        job: what to do.
    """

    def __init__(self, job: Job):
        self._job = job
        self._shared = Shared()
        self._scorer: Any = None
        self._counters = {name: Metrics.counter(NAMESPACE, name) for name in ("shards", "read", "scored", "failed")}

    def setup(self) -> None:
        """Load the export, unless another thread of this process has."""
        self._scorer = self._shared.acquire(self._load)

    def process(self, element: Shard) -> Iterator[Any]:
        """Score one shard.

        Args:
            element: the shard.

        Yields:
            The shard's report as a dictionary; and in the side output `bad`, for each item that failed, its number
            (from 1), item, place and reason.
        """
        shard = Shard(*element)
        job = self._job
        files = ShardStore(job.folder, job.suffix).files(shard.number)
        with ShardWriter(files, shard, job.schema, plan=job.plan, rules=job.rules) as out:
            for one in written(self._scorer.score(job.source.read(shard)), out.write):
                if one.reason:
                    yield beam.pvalue.TaggedOutput(BAD, out.fail(one.item, one.reason))
                elif one.damage:
                    out.note_damage(one.item, one.damage)
            report = out.commit()
        for name in ("read", "scored", "failed"):
            self._counters[name].inc(getattr(report, name))
        self._counters["shards"].inc()
        yield report._asdict()

    def _load(self) -> Any:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import tensorflow as tf

        from tlkit.predicting.exported import Scorer

        if self._job.threads:
            with contextlib.suppress(RuntimeError):  # TensorFlow is awake already: it keeps the threads that it has
                tf.config.threading.set_intra_op_parallelism_threads(self._job.threads)
        job = self._job
        return Scorer(job.export, **job.options)


class CountBad(beam.DoFn):
    """Counts the side output, so that what left by it can be compared with what the shards say."""

    def __init__(self) -> None:
        self._counter = Metrics.counter(NAMESPACE, "bad")

    def process(self, element: Any) -> None:
        """Count one bad item."""
        self._counter.inc()
