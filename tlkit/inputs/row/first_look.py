"""A table as the answers to a template name it, before there is a project."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlkit.inputs.files.fields import Reading
    from tlkit.inputs.files.source import FrameSource
    from tlkit.targets.survival_columns import SurvivalColumns

_log = logging.getLogger("tlkit")


def read_answered(
    data: Path, answers: dict[str, str], reading: Reading | None = None
) -> tuple[FrameSource, dict[str, Any]]:
    """Read a table as the answers to a template say; a separator that they lack is found, said and added to them.

    Returns:
        The table, and the options that it was read with.
    """
    from tlkit.inputs.files.frames import OtherSeparatorError
    from tlkit.inputs.files.source import read_source

    options: dict[str, Any] = {
        "separator": answers.get("separator") or None,
        "encoding": answers.get("encoding", "utf-8"),
    }
    try:
        return read_source(data, **options, reading=reading), options
    except OtherSeparatorError as error:
        if options["separator"]:
            raise
        answers["separator"] = options["separator"] = error.separator
        _log.info(
            "%s", f"detected separator {error.separator!r}: separator = {json.dumps(error.separator)} in config.toml"
        )
    return read_source(data, **options, reading=reading), options


def say_survival(source: FrameSource, columns: SurvivalColumns) -> None:
    """Say how many events there are; refuses times and events that cannot be read, and a table without an event."""
    from tlkit.errors import DataError
    from tlkit.inputs.row.targets import read_survival

    given = source.frame[columns.names].notna().all(axis=1).to_numpy(bool)
    rows = given.nonzero()[0]
    values = read_survival(source.frame.iloc[rows], columns, lambda own: source.place(rows[own])).values
    if not values[:, 1].any():
        raise DataError(
            f"no row has an event in {columns.event!r}: there is nothing to learn",
            received=f"{len(rows)} censored rows",
            fix="check which value means event",
        )
    _log.info(
        "%s",
        f"survival: {int(values[:, 1].sum())} events in {len(rows)} rows, times from {values[:, 0].min():g} to "
        f"{values[:, 0].max():g}; {len(given) - len(rows)} rows without time or event",
    )
