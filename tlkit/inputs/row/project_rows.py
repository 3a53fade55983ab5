"""The rows of a file as the network of a project reads them: what the file lacks is looked up, as in training."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tlkit.errors import Advice, ConfigError, DataError, missing_column
from tlkit.inputs.items import Item
from tlkit.inputs.row.row_file import RowFile
from tlkit.inputs.row.typed_rows import TypedRows, joined, like

if TYPE_CHECKING:
    import pandas as pd

    from tlkit.inputs.files.fields import Reading

ROWS = 4096  # that are in memory at once while columns about events are made


class ProjectRows(TypedRows):
    """Makes the columns that a network reads of the rows of a file.

    Columns that the file lacks are looked up in the tables that the training joined; those about events look back into
    the project's own data.

    Args:
        config: of the project.
        preprocessing: of the network, or of a manifest as plain data.
        names: the columns of the file.
        rows: of the file.

    Raises:
        ConfigError: what config.toml says of events does not suffice.
        DataError: the file lacks a column that cannot be looked up.
    """

    def __init__(self, config: Any, preprocessing: Any, names: Sequence[str], rows: RowFile):
        from tlkit.inputs.files.source import read_source
        from tlkit.inputs.row.events import event_columns

        super().__init__(preprocessing)
        own = self.preprocessing
        self._lacking = [column.name for column in own.columns if column.name not in names]
        self._made = [name for event in config.events for name in event_columns(event) if name in self._lacking]
        keys = _event_keys(config, own) if self._made else []
        self._reading = _reading(config, own)
        # What the file has not itself is looked up: inputs, and what events are known by.
        wanted = list(dict.fromkeys([*self._lacking, *(name for name in keys if name not in names)]))
        self._tables = []
        for other, on in config.reading["join"] if wanted else []:
            if all(name in names for name in on):
                options = {"separator": config.reading["separator"], "encoding": config.reading["encoding"]}
                self._tables.append((read_source(other, **options, reading=self._reading).frame, on))
        found = {name for table, _ in self._tables for name in table.columns}
        missing = [name for name in wanted if name not in found and name not in self._made]
        if missing:
            raise lacks_columns(rows, names, missing)
        self._undated: dict[int, str] = {}  # rows of the file about which no events can be made
        if self._made:
            self._events = _events(config, own, rows, names, keys, self._tables, self._undated)[self._made]

    def frame(self, items: Sequence[Item], problems: dict[int, str] | None = None) -> pd.DataFrame:
        """Return the columns of rows; see `typed`."""
        frame = super().frame(items, problems)
        if self._lacking:
            frame = joined(frame, items, self._tables, self._lacking, self._reading, problems)
        if not self._made:
            return frame
        numbers = [item.number for item in items]
        if problems is not None:
            for place, number in enumerate(numbers):
                if number in self._undated:
                    problems.setdefault(place, self._undated[number])
        own = self._events.iloc[numbers].reset_index(drop=True)
        return frame.assign(**{name: own[name] for name in self._made})


def lacks_columns(rows: RowFile, names: Sequence[str], missing: Sequence[str]) -> DataError:
    """Return the error about columns that a file lacks; another separator may show them."""
    from tlkit.inputs.files.frames import SEPARATORS

    fix: str | Advice | None = None
    if len(missing) > 1:
        fix = f"{len(missing)} columns are missing: {', '.join(missing)}"
        header = (rows.separator or ",").join(names)
        others = [mark for mark in SEPARATORS if len({*missing} & {*header.split(mark)}) > 1]
        if others:
            fix = Advice("check the separator: {}", "separator", others[0])
    return DataError(
        f"{rows.path} has no column {missing[0]!r}, which the model needs",
        received=f"columns {', '.join(names)}",
        fix=fix,
    )


def _reading(config: Any, preprocessing: Any) -> Reading:
    """Read the project's further tables as training did: as config.toml says, and as was found of the columns."""
    from tlkit.inputs.files.fields import reading_of, reading_of_fitted

    if preprocessing.forms is None:
        return reading_of_fitted(preprocessing.columns, None, preprocessing.missing)
    found = reading_of(**config.field_options)
    return found.changed(formats={**found.formats, **preprocessing.forms})


def _event_keys(config: Any, preprocessing: Any) -> list[str]:
    """Name the columns that tell events: first that of the days, then the events, then that of the groups."""
    from tlkit.inputs.row.columns import Date

    dates = [column.name for column in preprocessing.columns if isinstance(column, Date)]
    if not config.data.time_column and len(dates) != 1:
        raise ConfigError("event columns need a date column", received=dates, fix="set data.time_column")
    group = [config.data.event_group] if config.data.event_group else []
    return [config.data.time_column or dates[0], *config.events, *group]


def _events(
    config: Any,
    preprocessing: Any,
    rows: RowFile,
    names: Sequence[str],
    keys: Sequence[str],
    tables: Sequence[tuple[Any, list[str]]],
    undated: dict[int, str],
) -> pd.DataFrame:
    """Make the columns about events of all rows, which look back into the project's own data as in `evaluate --data`.

    Only the columns that tell events are held of the whole file. Where `rows` is lenient, `undated` gets the reason of
    each row of the file about which no events can be made.
    """
    import pandas as pd

    from tlkit.inputs.files.source import join_tables, read_source
    from tlkit.inputs.row.events import as_moments, event_columns, with_earlier_events

    reading, date = config.reading, keys[0]
    if not config.data_path.exists():
        raise DataError(
            f"{rows.path} has no event columns, and the training data needed to compute them is missing",
            received=f"{config.data_path} does not exist",
            fix="restore the training data, or add the columns to the table with tlkit.event_features",
        )
    fields = _reading(config, preprocessing)
    options: dict[str, Any] = {"separator": reading["separator"], "encoding": reading["encoding"], "reading": fields}
    history = join_tables(read_source(config.data_path, **options), reading["join"], **options).frame
    for name in keys:
        if name not in history.columns:
            raise missing_column(name, history.columns, str(config.data_path))
    history = history[list(keys)]
    form = _form_of(date, config, preprocessing, history[date])
    history = history.assign(**{date: as_moments(history[date], form)})
    parts = []
    left = iter(rows)
    while items := list(itertools.islice(left, ROWS)):
        problems = {place: item.problem for place, item in enumerate(items) if item.problem} if rows.lenient else None
        types = {name: history[name].dtype for name in keys}
        part = pd.DataFrame({name: like(items, name, dtype, fields, problems, form) for name, dtype in types.items()})
        further = [name for name in keys if name not in names]
        part = joined(part, items, tables, further, fields, problems)
        part[date] = as_moments(part[date])
        for number in part[date].isna().to_numpy().nonzero()[0].tolist():
            reason = f"{items[number].place} has no {date!r}, which the event columns need"
            if problems is None:
                raise DataError(reason)
            problems.setdefault(number, reason)
        undated |= {items[place].number: reason for place, reason in (problems or {}).items()}
        parts.append(part)
    whole = pd.concat(parts, ignore_index=True)
    dated = whole.drop(index=list(undated))
    if dated.empty:
        names = [name for event in config.events for name in event_columns(event)]
        return pd.DataFrame(columns=names, index=whole.index, dtype="float64")
    group = config.data.event_group or None
    made = with_earlier_events(dated.reset_index(drop=True), history, date, config.events, group)
    return made.set_index(dated.index).reindex(whole.index)


def _form_of(date: str, config: Any, preprocessing: Any, known: pd.Series) -> str:
    """Say how the days of events are written: as the model reads them, as config.toml says, or as the values say."""
    from tlkit.inputs.row.columns import Date
    from tlkit.inputs.row.date_inference import find_date_form

    for column in preprocessing.columns:
        if column.name == date and isinstance(column, Date):
            return column.form
    if date in config.dates:
        return str(config.dates[date])
    guess = find_date_form(known, date, lambda rows: f"row {rows[0] + 1}")
    return guess.form if guess is not None and guess.kind == "date" else ""
