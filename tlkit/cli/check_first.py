"""The part of `tlkit check` that takes seconds, at the start of `tlkit train`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tlkit.errors import CheckError

if TYPE_CHECKING:
    from tlkit.cli.project import Code, Project
    from tlkit.inputs.examined import Examined
    from tlkit.trust.check.outcome import Outcome, Result
    from tlkit.trust.check.seen import Probed

_MORE = "run `tlkit check` for the report"


@contextlib.contextmanager
def checking_first(project: Project, code: Code) -> Iterator[None]:
    """While open, check what the project's train.py loads, once, and its labels when a linear probe has been fitted.

    Example:
        with checking_first(project, code):
            code.train.main(config)

    Raises:
        CheckError: inside, where a rule failed and config.toml has a section [check].
    """
    from tlkit.training import feed

    module: Any = code.train
    load: Callable[..., Any] = module.load_data
    first = _First(project)

    def load_and_check(*arguments: Any, **options: Any) -> Any:
        data = load(*arguments, **options)
        first.loaded(data)
        return data

    module.load_data = load_and_check
    feed.PROBE_WATCHERS.append(first.probed)
    try:
        yield
    finally:
        module.load_data = load
        feed.PROBE_WATCHERS.remove(first.probed)


class _First:
    """Checks data once."""

    def __init__(self, project: Project):
        self._project = project
        self._examined: Examined | None = None
        self._data: Any = None
        self._probed = False

    def loaded(self, data: Any) -> None:
        """Check data that were loaded, without their features."""
        from tlkit.cli.check import columns_of
        from tlkit.tasks.base import spec_of
        from tlkit.trust.check.run import examine

        if self._examined is not None or data is None:
            return
        config = self._project.config
        self._data = data
        self._examined = examine(data, spec_of(config.project.task).input, columns_of(config), quick=True)
        self._judge(self._run(None), say_fine=True)

    def probed(self, data: Any, probe: Any, features: Any) -> None:
        """Look for wrong labels in what a probe of some features predicts out of fold of the training data."""
        import numpy as np

        from tlkit.trust.check.seen import Probed

        examined, own = self._examined, self._data
        if examined is None or self._probed or not probe.folds:
            return
        if not np.array_equal(data.labels("train"), own.labels("train")):
            return  # a part of the data
        self._probed = True
        items = np.flatnonzero(examined.splits == "train")[probe.rows]
        self._judge(self._run(Probed(items, probe.logits.astype(np.float64), features[probe.rows])))

    def _run(self, probed: Probed | None) -> Result:
        from tlkit.cli.check import handled_by
        from tlkit.training.probe import out_of_fold
        from tlkit.trust.check.rules import RULES
        from tlkit.trust.check.run import check, questions_of

        assert self._examined is not None  # narrows the type
        config = self._project.config
        levels: dict[str, Any] = {str(name): level for name, level in config.check_levels.items()}
        if probed is not None:
            levels = dict.fromkeys(RULES, "off") | {"label_noise": levels.get("label_noise", "warn")}
        return check(
            self._examined,
            questions_of(self._data),
            fit=out_of_fold,
            levels=levels,
            probed=probed,
            quick=True,
            allowed=getattr(config.data, "allow", ()),
            handled=handled_by(config),
            seed=config.data.seed,
        )

    def _judge(self, result: Result, say_fine: bool = False) -> None:
        """Print what was found in one line for each rule, and stop where a rule failed."""
        from tlkit.cli.output import note

        found = [outcome for outcome in result.outcomes if outcome.status in ("fail", "warn")]
        for outcome in found:
            note(f"check: {_line(outcome)}")
        if found:
            note(f"check: {_MORE}")
        elif say_fine:
            note(f"check: {sum(result.counts.values()):,} {result.items}, nothing found; `tlkit check` looks closer")
        failed = result.failed
        if failed and "check" in self._project.config.model_fields_set:
            raise CheckError(
                f"the data check failed: {', '.join(failed)}",
                fix=f'{_MORE}, correct or exclude the items, or set {failed[0]} = "warn" under [check] in config.toml',
            )


def _line(outcome: Outcome) -> str:
    handled = f" ({outcome.handled})" if outcome.handled else ""
    return f"{outcome.status}  {outcome.title}: {outcome.summary}{handled}"
