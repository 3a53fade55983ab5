"""Metrics of predicted numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlkit.errors import DataError
from tlkit.report import table_plots

HEADINGS = {
    "rmse": "RMSE",
    "mae": "MAE",
    "rmspe": "RMSPE",
    "r2": "R²",
    "median_absolute_error": "median absolute error",
}


@dataclasses.dataclass(frozen=True, eq=False)
class RegressionMetrics:
    """Metrics of predicted numbers on a split.

    Attributes:
        name: of the target.
        rmse: root of the mean squared error, in the target's unit.
        mae: mean absolute error, in the target's unit.
        rmspe: root of the mean squared error as a part of the true value, over the rows whose true value is not 0;
            None where there is none.
        r2: part of the variance that is explained; None where all true values are equal.
        median_absolute_error: half of the rows are nearer than that, in the target's unit.
        zeros: rows whose true value is 0, which `rmspe` leaves out.
        n: number of rows.
        predictions: float64 [n].
        values: the truth, float64 [n].
    """

    name: str
    rmse: float
    mae: float
    rmspe: float | None
    r2: float | None
    median_absolute_error: float
    zeros: int
    n: int
    predictions: npt.NDArray[np.float64] = dataclasses.field(repr=False)
    values: npt.NDArray[np.float64] = dataclasses.field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON: `metrics`, an empty `per_class`, `zeros` and `n`; undefined metrics are None."""
        figures = {name: getattr(self, name) for name in HEADINGS}
        return {"metrics": figures, "per_class": {}, "zeros": self.zeros, "n": self.n}

    def __getitem__(self, name: str) -> Any:
        """Return a figure, `zeros`, `n`, `predictions` or `values` by name."""
        if name not in {field.name for field in dataclasses.fields(self)}:
            raise KeyError(name)
        return getattr(self, name)

    def plot_predictions(self, path: str | Path) -> Path:
        """Draw predicted against true values, and the errors, as one picture; returns the path.

        Of many rows some thousands are drawn, chosen at random.
        """
        return table_plots.plot_predictions(self.name, self.values, self.predictions, Path(path))

    plot = plot_predictions

    def table(self) -> Any:
        """Return the figures as a rich renderable."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(f"{self.name}   n {self.n}"), min_width=44)
        table.add_column("metric")
        table.add_column("value", justify="right")
        for key, heading in HEADINGS.items():
            table.add_row(heading, figure(getattr(self, key)))
        if self.zeros:
            table.caption = f"RMSPE excludes {self.zeros} rows with a true value of 0"
        return table

    def __str__(self) -> str:
        parts = [f"{heading} {figure(getattr(self, key))}" for key, heading in HEADINGS.items()]
        return "   ".join([f"{self.name}:", *parts, f"n {self.n}"])


def regression_metrics(predictions: npt.ArrayLike, values: npt.ArrayLike, name: str) -> RegressionMetrics:
    """Compare predicted numbers with true ones.

    Example:
        >>> regression_metrics([2.0, 4.0], [1.0, 4.0], "price").mae
        0.5

    Args:
        predictions: float [n], or [n, 1], in the target's own unit.
        values: the truth, float [n], or [n, 1].
        name: of the target.

    Returns:
        A `RegressionMetrics`.

    Raises:
        DataError: there are no rows, the shapes do not fit, or a number is missing or infinite.
    """
    from sklearn.metrics import r2_score

    guessed, true = _column(predictions), _column(values)
    if guessed.ndim != 1 or guessed.shape != true.shape or not len(true):
        raise DataError(
            f"the shapes of predictions and values of {name!r} do not match",
            received=(np.shape(predictions), np.shape(values)),
            allowed="[n] for both, n from 1",
        )
    for what, numbers in (("predictions", guessed), ("values", true)):
        rows = np.flatnonzero(~np.isfinite(numbers))
        if len(rows):
            raise DataError(
                f"{len(rows)} {what} of {name!r} are not finite numbers, the first in row {rows[0] + 1}",
                received=float(numbers[rows[0]]),
            )
    errors = guessed - true
    other = true != 0
    largest = max(np.abs(true).max(), np.abs(guessed).max())
    return RegressionMetrics(
        name=name,
        rmse=_root_mean_square(errors),
        mae=float(np.abs(errors).mean()),
        rmspe=_root_mean_square(errors[other] / true[other]) if other.any() else None,
        # Scaled so that squares of very large numbers stay finite; the result is the same.
        r2=float(r2_score(true / largest, guessed / largest)) if (true != true[0]).any() else None,
        median_absolute_error=float(np.median(np.abs(errors))),
        zeros=int((~other).sum()),
        n=len(true),
        predictions=guessed,
        values=true,
    )


def figure(value: float | None) -> str:
    """Write a number of any size with about four digits; "-" for None.

    >>> figure(0.12345), figure(1234567.8), figure(None)
    ('0.1235', '1,234,568', '-')
    """
    if value is None:
        return "-"
    if value == 0 or 1e-3 <= abs(value) < 1e9:
        return f"{value:,.{max(0, 3 - _exponent(value))}f}"
    return f"{value:.3e}"


def _exponent(value: float) -> int:
    return 0 if value == 0 else min(int(np.floor(np.log10(abs(value)))), 3) if abs(value) >= 1 else -1


def _root_mean_square(errors: npt.NDArray[np.float64]) -> float:
    largest = np.abs(errors).max()
    # Squares of very large numbers would be infinite.
    return float(largest * np.sqrt(np.square(errors / largest).mean())) if largest else 0.0


def _column(numbers: npt.ArrayLike) -> npt.NDArray[np.float64]:
    array = np.asarray(numbers, np.float64)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
