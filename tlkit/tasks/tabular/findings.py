"""What `tlkit new` finds out about a table, asks, says, and writes into the project's config.toml."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tlkit.errors import ConfigError, missing_column
from tlkit.inputs.row.first_look import read_answered, say_survival
from tlkit.one_line import one_line

if TYPE_CHECKING:
    from tlkit.inputs.files.fields import FormNote
    from tlkit.inputs.files.source import FrameSource
    from tlkit.inputs.row.column_kinds import Finding
    from tlkit.inputs.row.date_inference import DateGuess
    from tlkit.inputs.row.number_forms import NumberForm
    from tlkit.inputs.row.target_kinds import TargetGuess
    from tlkit.targets.survival_columns import SurvivalColumns
    from tlkit.tasks.commands import Ask

_COLUMNS = "[columns]\n"
_FORMATS = "[formats]\n"
_DATES = "[dates]\n"
_KIND_WORDS = {"single_label": "classes"}  # as questions call them
_AT_ONCE = 8  # columns that one line names
_log = logging.getLogger("tlkit")


@dataclasses.dataclass(frozen=True)
class TableFindings:
    """What goes into config.toml.

    Attributes:
        columns: the lines of [columns].
        formats: the lines of [formats].
        dates: the lines of [dates].
        decimal: the decimal mark of the table.
        target_kinds: the value and the comment of `kinds` in [target]; empty to leave it.
        transform: the line of `transform` in [target]; empty to leave it.
    """

    columns: str
    formats: str = ""
    dates: str = ""
    decimal: str = "."
    target_kinds: str = ""
    transform: str = ""

    def into(self, config: str) -> str:
        """Return the text of a config.toml with what was found.

        Raises:
            ConfigError: the template lacks a place for it.
        """
        sections = {_FORMATS: self.formats, _DATES: self.dates}
        if not config.endswith(_COLUMNS) or any(config.count(f"\n{section}") != 1 for section in sections):
            raise ConfigError(
                f"the template's config.toml must have {' and '.join(section.strip() for section in sections)}, "
                f"and end with {_COLUMNS.strip()}"
            )
        for section, lines in sections.items():
            config = config.replace(f"\n{section}", f"\n{section}{lines}")
        if self.decimal != ".":
            config = re.sub(r'^decimal = "\."', 'decimal = ","', config, count=1, flags=re.MULTILINE)
        if self.target_kinds:
            config = re.sub(r"^kinds = \{\}.*$", lambda _: self.target_kinds, config, count=1, flags=re.MULTILINE)
        if self.transform:
            config = re.sub(r'^transform = "none".*$', lambda _: self.transform, config, count=1, flags=re.MULTILINE)
        return config + self.columns


def look_at(
    answers: dict[str, str],
    data: Path,
    ask: Ask | None = None,
    force_columns: bool = False,
    survival: SurvivalColumns | None = None,
    further: Sequence[str] = (),
) -> TableFindings:
    """Read a table and find out how numbers are written, what columns are and what the target is.

    Args:
        answers: to the template: target, separator, encoding, time_column and group_column. A separator that was not
            given is added where it is not that of the file's suffix.
        data: the table.
        ask: asks a person; None where nobody is there, and what is open is said.
        force_columns: write columns that cannot be used as ignored, with the reason, in place of an error.
        survival: the columns of times and events, in place of the target.
        further: more columns to predict.

    Raises:
        DataError: the table, a column or the target cannot be used.
    """
    from tlkit.inputs.row.check import check_target_columns
    from tlkit.inputs.row.column_kinds import Finding, infer_kinds
    from tlkit.inputs.row.problems import Problems
    from tlkit.inputs.row.target_kinds import check_varies, guess_target

    target = answers.get("target", "target")
    source, options = read_answered(data, answers)
    targets = survival.names if survival is not None else [target, *further]
    check_target_columns(source.frame, targets, source.origin)
    for question in ("time_column", "group_column"):
        if answers.get(question) and answers[question] not in source.frame.columns:
            raise missing_column(answers[question], source.frame.columns, source.origin)
    forms = {found.column: found for found in source.form_notes}
    source, chosen = _choose_forms(source, forms, ask, data, options)
    problems = Problems()
    with problems.of(target):
        if survival is not None:
            say_survival(source, survival)
        else:
            guess_target(source.frame[target], target, source.place)
            check_varies(source.frame[target], target)
    for name in further:
        with problems.of(name):
            guess_target(source.frame[name], name, source.place)
            check_varies(source.frame[name], name)
    found = infer_kinds(source.frame, targets, place=source.place, problems=problems)
    if not force_columns:
        problems.raise_all("or create the project with --force-columns, and correct the columns in its config.toml")
    kinds: dict[str, str] = {**found.kinds}
    dates = _choose_dates(found.dates, ask)
    open_kinds = [finding for finding in found.questions if not _is_of_form(finding, found.dates)]
    if ask:
        kinds |= {one.column: ask(f"{one.column}: {one.why}", one.guess, _kinds()) for one in open_kinds}
    notes = {finding.column: finding for finding in (*found.warnings, *found.questions)}
    notes |= {
        name: Finding(name, "ignore", str(error)) for name, error in problems.found.items() if name not in targets
    }
    group = answers.get("group_column", "")
    if kinds.get(group) in ("categorical", "continuous"):
        kinds[group] = "ignore"  # held-out groups are never seen; of a date, month and weekday are
    decimal = _decimal_of(source, chosen)
    _say_forms(forms, chosen, decimal, ask is not None)
    for column, finding in notes.items():
        if not (finding.is_question and ask):
            _log.info("%s", f"column {column!r}: {finding.why}; used as {kinds[column]}")
    _say_marks(source, target, kinds)
    if notes:
        _log.info("%s", "check the column types under [columns] in config.toml before you train")
    lines = "".join(_line(column, kind, notes.get(column)) for column, kind in kinds.items())
    formats = "".join(_format_line(form, decimal, forms[column]) for column, form in chosen.items())
    used = [column for column in dates if kinds[column] == "date" or column == answers.get("time_column")]
    written = "".join(_date_line(column, dates[column], found.dates[column].why) for column in used)
    transform = ""
    if target in problems.found:
        _log.info("%s", f"target {target!r}: {problems.found[target]}")
        of_target = f"{'kinds = {}':<29} # {one_line(str(problems.found[target]))}"
    elif survival is not None:
        of_target = ""
    else:
        of_target, kind = _target(source, target, ask)
        transform = _transform(source, target) if kind == "regression" and not further else ""
    for name in further:
        if name not in problems.found:
            _target(source, name, ask=None)
    return TableFindings(lines, formats, written, decimal, of_target, transform)


def _is_of_form(finding: Finding, dates: Mapping[str, DateGuess]) -> bool:
    """Return whether a question is how dates are written, and not whether they are dates."""
    return finding.column in dates and bool(dates[finding.column].other)


def _choose_dates(dates: Mapping[str, DateGuess], ask: Ask | None) -> dict[str, str]:
    """Ask how dates are written where day and month cannot be told apart."""
    chosen = {}
    for column, guess in dates.items():
        chosen[column] = guess.form
        if guess.other and ask:
            days = guess.readings()
            if ask(f"{column}: which day is {guess.sample}: {_either(days)}", days[0], days) == days[1]:
                chosen[column] = guess.other
    return chosen


def _date_line(column: str, form: str, why: str) -> str:
    entry = f"{toml_key(column)} = {json.dumps(form, ensure_ascii=False)}"
    return f"{entry:<29} # {one_line(why)}\n"


def _choose_forms(
    source: FrameSource, forms: dict[str, FormNote], ask: Ask | None, data: Path, options: Mapping[str, Any]
) -> tuple[FrameSource, dict[str, NumberForm]]:
    """Ask which of two forms a column has where its values do not say; read the table again where it is the second."""
    from tlkit.inputs.files.fields import Reading
    from tlkit.inputs.files.source import read_source
    from tlkit.inputs.row.check import check_formats

    chosen = {column: found.form for column, found in forms.items()}
    other = {}
    for column, found in forms.items():
        readings = found.readings()
        if ask and found.other is not None and readings is not None:
            words = [f"{value:.12g}" for value in readings]
            if ask(f"{column}: which number is {found.sample}: {_either(words)}", words[0], words) == words[1]:
                other[column] = found.other
    if other:
        chosen |= other
        source = read_source(data, **options, reading=Reading(formats=other))
        check_formats(source.frame, other, {}, source.place)
    return source, chosen


def _decimal_of(source: FrameSource, chosen: Mapping[str, NumberForm]) -> str:
    """Return the decimal mark of the whole table: a comma where some column has it and no other has a point."""
    commas = {column for column, form in chosen.items() if form.decimal == ","}
    points = [name for name in source.frame.columns if source.frame[name].dtype.kind == "f" and name not in commas]
    return "," if commas and not points else "."


def _say_forms(forms: Mapping[str, FormNote], chosen: Mapping[str, NumberForm], decimal: str, asks: bool) -> None:
    """Say how numbers were read, columns of one form in one line."""
    from tlkit.inputs.files.fields import bare_words
    from tlkit.inputs.row.check import form_words

    groups: dict[tuple[str, ...], list[FormNote]] = {}
    for column, found in forms.items():
        if found.other is not None and asks:
            continue
        into = "[formats]" if _format_line(chosen[column], decimal, found) else f"[data] decimal = {decimal!r}"
        words = form_words(found) if found.other is not None else dataclasses.replace(found.seen, missing=()).describe()
        groups.setdefault((words, into, *sorted(found.marks)), []).append(found)
    for (words, into, *_), found_in in groups.items():
        columns = [found.column for found in found_in]
        counts: dict[str, int] = {}
        for mark, count in (item for found in found_in for item in found.marks.items()):
            counts[mark] = counts.get(mark, 0) + count
        parts = [f"{words}, as in {found_in[0].example!r}" if words and found_in[0].other is None else words]
        if (bare := sum(found.bare for found in found_in)) and found_in[0].other is None:
            parts.append(bare_words(bare))
        if counts and found_in[0].other is None:
            parts.append(f"missing: {', '.join(f'{count} x {mark!r}' for mark, count in counts.items())}")
        many = f"columns {_listed(columns)}" if len(columns) > 1 else f"column {columns[0]!r}"
        _log.info("%s", f"{many}: {'; '.join(filter(None, parts))}; written into {into} of config.toml")
    if decimal != "." and not any("[data]" in into for _, into, *_ in groups):
        _log.info("%s", f"decimal = {decimal!r} under [data] in config.toml applies to all columns")


def _say_marks(source: FrameSource, target: str, kinds: Mapping[str, str]) -> None:
    """Say in one line which columns of text hold usual missing marks as values."""
    shown = [
        f"{column} ({', '.join(f'{count} x {mark!r}' for mark, count in marks.items())})"
        for column, marks in source.marks.items()
        if column != target and kinds.get(column) not in ("id", "ignore")
    ]
    if shown:
        more = f" and {len(shown) - _AT_ONCE} more" if len(shown) > _AT_ONCE else ""
        _log.info(
            "%s",
            "these values of text columns are treated as categories, not as missing: "
            f"{', '.join(shown[:_AT_ONCE])}{more}; "
            "list missing values in missing = [...] under [data] in config.toml",
        )


def _transform(source: FrameSource, name: str) -> str:
    """Say which transform the values of the target call for; returns the line for [target], or nothing."""
    from tlkit.tasks.tabular.target_advice import advise_transform

    advice = advise_transform(source.frame[name].to_numpy("float64", na_value=float("nan")))
    if not advice.why:
        return ""
    entry = f"transform = {json.dumps(advice.transform)}"
    _log.info("%s", f"target {name!r}: {advice.why}; {entry} in [target] of config.toml")
    return f"{entry:<29} # {one_line(advice.why)}"


def _target(source: FrameSource, name: str, ask: Ask | None) -> tuple[str, str]:
    """Say what the target is taken for, or ask.

    Returns:
        The line for [target] where the values leave it open, else nothing; and the kind.
    """
    from tlkit.inputs.row.target_kinds import class_called_missing, describe_target, guess_target

    column = source.frame[name]
    guess: TargetGuess = guess_target(column, name, source.place)
    kind: str = guess.kind
    if guess.is_question and ask:
        default = _KIND_WORDS.get(guess.kind, guess.kind)
        said = ask(f"the target {name}: {guess.why}", default, ["regression", "classes", "single_label"])
        kind = "single_label" if said == "classes" else said
    unit = source.forms[name].unit if name in source.forms else ""
    described = describe_target(column, kind, unit)  # type: ignore[arg-type]
    question = f" ({guess.why} Set `kinds` in [target] of config.toml)" if guess.is_question and not ask else ""
    if not guess.why.endswith("?"):
        question = f" ({guess.why})" if guess.is_question else ""
    _log.info("%s", f"target {name!r}: {described}{question}")
    for mark, count in source.marks.get(name, {}).items():
        _log.info("%s", f"target {class_called_missing(name, mark, count, len(column))}, under [data] of config.toml")
    if not guess.is_question:
        return "", kind
    entry = f"kinds = {{ {toml_key(name)} = {json.dumps(kind)} }}"
    return f"{entry:<29} # {one_line(guess.why)}", kind


def _either(values: Sequence[str]) -> str:
    return " or ".join(values)


def _kinds() -> tuple[str, ...]:
    from tlkit.inputs.row.columns import ColumnKind

    return get_args(ColumnKind)


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(repr(column) for column in columns[:_AT_ONCE])
    return shown + (f" and {len(columns) - _AT_ONCE} more" if len(columns) > _AT_ONCE else "")


def _format_line(form: NumberForm, decimal: str, found: FormNote) -> str:
    """Write one column of [formats]: what differs from the rest of the table, and what was seen behind it."""
    plain = form.to_dict()
    plain.pop("decimal", None)
    if form.decimal != decimal:
        plain = {"decimal": form.decimal, **plain}
    if not plain:
        return ""
    values = ", ".join(f"{key} = {_toml(value)}" for key, value in plain.items())
    entry = f"{toml_key(found.column)} = {{ {values} }}"
    return f"{entry:<29} # {one_line(found.why)}\n"


def _toml(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _line(column: str, kind: str, finding: Finding | None) -> str:
    """Write one column of [columns], what was noticed about it behind it."""
    entry = f"{toml_key(column)} = {json.dumps(kind)}"
    return f"{entry}\n" if finding is None else f"{entry:<29} # {one_line(finding.comment())}\n"


def toml_key(name: str) -> str:
    """Write a name as a key of TOML, quoted where it must be.

    >>> toml_key("wind_speed"), toml_key("wind.speed")
    ('wind_speed', '"wind.speed"')
    """
    if re.fullmatch(r"[A-Za-z0-9_-]+", name):
        return name
    return json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")
