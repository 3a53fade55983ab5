"""`tlkit check`: the data before it is trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.one_line import one_line

if TYPE_CHECKING:
    from tlkit.cli.project import Code, Project
    from tlkit.inputs.examined import Examined
    from tlkit.trust.check.outcome import Outcome, Result

_SHOWN = 3  # findings of a rule on a terminal
_ITEMS = 4
LIST = "exclude.csv"
RESULT = "check.json"  # in the folder of reports


def check(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: failed, warned, items, rules, notes, report.")
    ] = False,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix", help="Add unreadable items, copies and conflicting labels to the list that data.exclude reads."
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Where to write the HTML report; reports/check.html by default.", metavar="PATH"),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a value of config.toml for this run.", metavar="SECTION.KEY=VALUE"),
    ] = None,
) -> None:
    r"""Check the data before training: damage, copies, leaks, wrong labels, balance, shift, outliers.

    \[check] in config.toml says which rules fail, warn or are off. The exit code is 1 if a rule failed.

    Example:  tlkit check --fix
    """
    from tlkit.cli.output import import_tensorflow, native_noise_filtered, note, print_json, stdout_to_stderr
    from tlkit.cli.project import find_project
    from tlkit.files import atomic_write
    from tlkit.report.html import check_place

    given = find_project(overrides=overrides or ())
    project, asked = find_project(overrides=[*(overrides or ()), *reading_settings(given)]), given.config
    page = report if report is not None else project.reports / "check.html"
    check_place(page, fix="choose another --report PATH")
    with native_noise_filtered(), stdout_to_stderr(as_json):
        import_tensorflow()
        with project.code() as code:
            examined, result = _checked(project, code, asked)
        from tlkit.trust.check.page import write_check_page

        written = write_check_page(page, result, examined.show, asked.project.name)
        with atomic_write(project.reports / RESULT) as file:  # for `tlkit report` and `tlkit card`
            json.dump(result.to_dict(), file)
    listed = _add_to_list(project, examined, result) if fix else None
    if as_json:
        more = {} if listed is None else {"exclude": {"path": str(listed[0]), "added": listed[1], "items": listed[2]}}
        print_json({**result.to_dict(), **more, "report": str(written)})
    else:
        show(result)
        print(f"report: {written}")
        if listed is not None:
            print(f"exclusions: {listed[0]} ({listed[1]} added, {listed[2]} in all)")
    if listed is not None and not project.config.data.exclude and listed[2]:
        note(f'to leave these items out, set exclude = "{LIST}" under [data] in config.toml')
    if result.failed:
        raise typer.Exit(1)


def reading_settings(project: Project) -> list[str]:
    """Return the settings with which data are read to be checked: what is wrong is found instead of refused."""
    from tlkit.config import known_keys
    from tlkit.inputs.base import input_spec
    from tlkit.tasks.base import spec_of

    task = project.config.project.task
    known = {name for name, _ in known_keys(task)}
    wanted = input_spec(spec_of(task).input).check_settings
    return [setting for setting in wanted if setting.partition("=")[0] in known]


def show(result: Result, quick: bool = False) -> None:
    """Print what a check found: findings first, then what was fine in one line each."""
    counts = ", ".join(f"{name} {count:,}" for name, count in result.counts.items())
    print(f"{sum(result.counts.values()):,} {result.items} ({counts})")
    for outcome in result.outcomes:
        if outcome.status in ("fail", "warn"):
            _show_found(outcome, result)
    for outcome in result.outcomes if not quick else ():
        if outcome.status == "ok":
            print(f"ok    {outcome.title}: {outcome.summary}")
    for outcome in result.outcomes if not quick else ():
        if outcome.status == "skipped":
            print(f"-     {outcome.title}: not checked, {outcome.skipped}")


def _show_found(outcome: Outcome, result: Result) -> None:
    from tlkit.trust.check.rules import RULES

    handled = f" ({outcome.handled})" if outcome.handled else ""
    print(f"{outcome.status}  {outcome.title}: {outcome.summary}{handled}")
    for finding in outcome.findings[:_SHOWN]:
        named = [f"{result.names[item]} ({result.labels[item]})" for item in finding.items[:_ITEMS]]
        more = f", and {len(finding.items) - _ITEMS} more" if len(finding.items) > _ITEMS else ""
        print(f"        {one_line(finding.text)}{': ' if named else ''}{one_line(', '.join(named))}{more}")
    if len(outcome.findings) > _SHOWN:
        print(f"        and {len(outcome.findings) - _SHOWN:,} more")
    print(f"        {RULES[outcome.rule].advice}")


def _checked(project: Project, code: Code, asked: Any) -> tuple[Examined, Result]:
    """Load the project's data and check them."""
    import numpy as np

    from tlkit.tasks.base import spec_of
    from tlkit.training.features import fast_forward
    from tlkit.training.probe import out_of_fold
    from tlkit.trust.check.run import check as check_data
    from tlkit.trust.check.run import examine, questions_of

    config = project.config
    data = code.train.load_data(config)
    examined = examine(data, spec_of(config.project.task).input, columns_of(config))

    def network() -> np.ndarray:
        """Compute the features of the frozen network that training starts from; half precision is enough."""
        forward = fast_forward(project.kind.build_task(code, config, data).features)
        kept = np.empty((0, 0), np.float16)
        end = 0
        for batch in (batch for name in data.splits for batch in data.ordered(name)):
            rows = forward(batch[0]).numpy()
            if not end:
                kept = np.empty((len(examined.splits), rows.shape[1]), np.float16)
            kept[end : end + len(rows)] = np.clip(rows, -65_000, 65_000)
            end += len(rows)
        return kept

    result = check_data(
        examined,
        questions_of(data),
        fit=out_of_fold,
        levels={str(name): level for name, level in config.check_levels.items()},
        network=network,
        allowed=getattr(config.data, "allow", ()),
        handled=handled_by(asked),
        seed=config.data.seed,
    )
    return examined, result


def columns_of(config: Any) -> dict[str, str]:
    """Return the columns of groups and times that config.toml names."""
    return {name: getattr(config.data, name, "") for name in ("group_column", "time_column")}


def handled_by(config: Any) -> dict[str, str]:
    """Say which findings training deals with already."""
    found: dict[str, str] = {}
    if getattr(config.data, "on_duplicate", "") == "drop":
        words = 'training drops them: on_duplicate = "drop"'
        found |= {"copies": words, "copies_across_splits": words}
    if getattr(config.data, "on_error", "") == "skip":
        found["unreadable"] = 'training skips them: on_error = "skip"'
    return found


def _add_to_list(project: Project, examined: Examined, result: Result) -> tuple[Path, int, int]:
    """Write what a check found to the list of exclusions: its path, how many were added, and how many it has."""
    from tlkit.inputs.exclusions import Exclusion, add_exclusions

    path = project.config.exclude or project.root / LIST
    reasons: dict[int, str] = {}  # of the first rule that lists an item, as in `excluded`
    for finding in (finding for outcome in result.outcomes for finding in outcome.findings):
        for item in finding.exclude:
            reasons.setdefault(item, finding.text)
    new: Sequence[Exclusion] = [
        Exclusion(examined.names[item], examined.digest(item), rule, reasons[item])
        for item, rule in sorted(result.excluded().items())
    ]
    unread = next(outcome for outcome in result.outcomes if outcome.rule == "unreadable")
    names = set(examined.names)
    new = [
        *new,
        *(Exclusion(one.name, "", "unreadable", one.text) for one in unread.findings if one.name not in names),
    ]
    added, total = add_exclusions(path, new)
    return path, added, total
