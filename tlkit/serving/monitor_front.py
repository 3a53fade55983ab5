"""The monitor as the front of a server sees it: what is checked at the start, and what Prometheus reads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from tlkit.errors import ExportError, TlkitError
from tlkit.export.baseline import FEWEST, Baseline
from tlkit.export.manifest import Manifest, version_folders
from tlkit.export.monitor_files import MonitorFolder, folder_of, today
from tlkit.export.sketch import Sketch, coarser, grouped, stability_index
from tlkit.serving.metrics import escaped_label
from tlkit.serving.served_fleet import ServedFleet
from tlkit.serving.served_model import ServedModel

_DAYS = 2
_CACHE_SECONDS = 5.0
_HELP = {
    "tlkit_monitor_items": "Items that the monitor counted today and yesterday (UTC).",
    "tlkit_monitor_dropped_items": "Items that the monitor had no time for, today and yesterday (UTC).",
    "tlkit_monitor_psi": "Population stability index against the validation data, today and yesterday (UTC).",
}


def prepare_monitor(root: Path, models: Iterable[ServedModel]) -> list[str]:
    """Make the folders of the versions that will be served, before anything is started.

    Args:
        root: the monitor directory.
        models: what is served; versions that are found later are prepared when they are loaded.

    Returns:
        A line for each version that cannot be monitored because it has no baseline.

    Raises:
        ConfigError: the directory cannot be written, or belongs to another model.
        ExportError: no version has a baseline, or a baseline is damaged.
    """
    left_out: list[ExportError] = []
    prepared = 0
    for model in models:
        folders = version_folders(model.base_path)
        if model.folder is not None:
            folders = dict.fromkeys(model.specific, model.folder)
        for version in model.chosen(folders):
            export = folders[version]
            try:
                manifest = Manifest.read(export)
                baseline = Baseline.read(export, manifest)
            except ExportError as error:
                left_out.append(error)
                continue
            MonitorFolder.prepared(root, model.name, version, baseline)
            prepared += 1
    if left_out and not prepared:
        raise left_out[0]
    return [f"not monitored: {error}" for error in left_out]


class _Fleet(ServedFleet, Protocol):
    def path(self, name: str, version: int) -> Path: ...


class MonitorGauges:
    """Gauges of the models that are monitored, from the files that the workers write.

    Args:
        root: the monitor directory.
        fleet: the served models.
    """

    def __init__(self, root: Path, fleet: _Fleet):
        self._root = root
        self._fleet = fleet
        self._baselines: dict[Path, Baseline | None] = {}
        self._lines: list[str] = []
        self._read = -_CACHE_SECONDS

    def lines(self) -> list[str]:
        """Return the lines of the page of metrics; read from the files at most every 5 seconds."""
        if time.monotonic() - self._read >= _CACHE_SECONDS:
            self._read = time.monotonic()
            rows: dict[str, list[str]] = {name: [] for name in _HELP}
            for name, text in self._gauges():
                rows[name].append(text)
            self._lines = []
            for name, own in rows.items():
                self._lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} gauge", *own]
        return self._lines

    def _gauges(self) -> Iterator[tuple[str, str]]:
        for model, statuses in self._fleet.models().items():
            for status in statuses:
                if status.state == "AVAILABLE":
                    yield from self._of(model, status.version)

    def _of(self, model: str, version: int) -> Iterator[tuple[str, str]]:
        baseline = self._baseline(self._fleet.path(model, version))
        if baseline is None:
            return
        folder = MonitorFolder(folder_of(self._root, model, version), baseline)
        sketch = Sketch()
        for ago in range(_DAYS):
            try:
                sketch.merge(folder.read(today(ago)))
            except TlkitError:  # a worker moves it aside
                continue
        labels = f'model_name="{escaped_label(model)}",version="{version}"'
        yield "tlkit_monitor_items", f"tlkit_monitor_items{{{labels}}} {sketch.items}"
        yield "tlkit_monitor_dropped_items", f"tlkit_monitor_dropped_items{{{labels}}} {sketch.dropped}"
        for one in baseline.bins:
            counts = sketch.counts.get(one.name)
            if counts is not None and counts.sum() >= FEWEST:
                expected = baseline.sketch.counts[one.name]
                index = stability_index(*coarser(grouped(one, expected), expected, counts))
                own = f'{labels},source="{one.source}",statistic="{escaped_label(one.name)}"'
                yield "tlkit_monitor_psi", f"tlkit_monitor_psi{{{own}}} {index:.6g}"

    def _baseline(self, export: Path) -> Baseline | None:
        if export not in self._baselines:
            try:
                self._baselines[export] = Baseline.read(export, Manifest.read(export))
            except TlkitError:
                self._baselines[export] = None
        return self._baselines[export]
