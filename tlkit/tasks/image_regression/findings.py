"""What `tlkit new` finds out about a table of photos and their values, and says."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.inputs.row.first_look import read_answered, say_survival

if TYPE_CHECKING:
    from tlkit.tasks.commands import Asked

_log = logging.getLogger("tlkit")


def look_at(answers: dict[str, str], data: Path, asked: Asked) -> None:
    """Read a table of photos; say what the labels are, and how many photos are not there.

    Args:
        answers: to the template: target, path_column, separator and encoding. A separator that was not given is added
            where it is not that of the file's suffix.
        data: the table.
        asked: whether there is a survival target.

    Raises:
        DataError: the table, a column or the labels cannot be used.
    """
    from tlkit.errors import missing_column
    from tlkit.inputs.files.fields import reading_of
    from tlkit.inputs.row.target_kinds import check_varies, describe_target, guess_target
    from tlkit.inputs.row.targets import read_targets

    path_column, target = answers.get("path_column", "path"), answers.get("target", "target")
    survival = asked.survival
    named = survival.names if survival is not None else asked.settings.get("target.columns") or [target]
    names = [named] if isinstance(named, str) else list(named)
    times = {} if survival is None else {survival.time: "continuous"}
    written = {key: asked.settings[f"data.{key}"] for key in ("decimal", "thousands", "missing")
               if f"data.{key}" in asked.settings}  # fmt: skip
    reading = reading_of(kinds=times, **written).changed(text_columns=frozenset({path_column}))
    source, _ = read_answered(data, answers, reading)
    further = [asked.settings.get(f"data.{key}") for key in ("group_column", "split_column")]
    for name in (path_column, *names, *filter(None, further)):
        if name not in source.frame.columns:
            raise missing_column(name, source.frame.columns, source.origin)
    if survival is not None:
        say_survival(source, survival)
    kinds = asked.settings.get("target.kind", "auto")
    for name in () if survival is not None else names:
        guess = guess_target(source.frame[name], name, source.place)
        check_varies(source.frame[name], name)
        kind: Any = asked.settings.get("target.kinds", {}).get(name, guess.kind if kinds == "auto" else kinds)
        if kind in ("regression", "single_label"):
            rows = source.frame[name].notna().to_numpy(bool).nonzero()[0]
            places = lambda own, rows=rows: source.place(rows[own])  # noqa: E731
            read_targets(source.frame.iloc[rows], [name], places, target_kinds={name: kind})
        unit = source.forms[name].unit if name in source.forms else ""
        question = f" ({guess.why} Set `kind` in [target] of config.toml)" if guess.is_question else ""
        _log.info("%s", f"target {name!r}: {describe_target(source.frame[name], kind, unit)}{question}")
    folder = data.parent
    paths = source.frame[path_column].dropna()
    gone = [str(path) for path in paths if not (folder / str(path)).is_file()]
    if gone:
        _log.info(
            "%s",
            f"training will stop with an error: {len(gone)} of {len(paths)} photos in this table do not exist, "
            f"such as {gone[0]}",
        )
    else:
        _log.info("%s", f"{data}: {len(paths)} photos")
