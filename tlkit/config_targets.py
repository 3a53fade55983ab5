"""The sections of config.toml that say what is predicted and how its numbers are written."""
# ruff: noqa: RUF012 - pydantic copies a default for each object

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from tlkit.config_sections import Section
from tlkit.errors import ConfigError
from tlkit.targets.survival_columns import SurvivalColumns

Transform = Literal["none", "log", "log1p", "yeo_johnson"]


Decimal = Literal[".", ","]
Thousands = Literal["", ",", ".", " ", "'"]


def one_or_by_name(what: str, usable: Callable[[object], bool]) -> Callable[[object], object]:
    """Accept one value for all targets, or a value for each by its name."""

    def check(value: object) -> object:
        values = list(value.values()) if isinstance(value, dict) else [value]
        if all(map(usable, values)):
            return value
        raise ValueError(f"{what}; or a table of them by target, such as {{ price = ... }}")

    return check


def is_number(value: object) -> bool:
    """Return whether a value is an int or a float, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_range(value: object) -> bool:
    if value == []:
        return True
    if not isinstance(value, list) or len(value) != 2 or not all(map(is_number, value)):
        return False
    return bool(value[0] < value[1])


def column_names(value: object) -> object:
    """Accept a name, or a list of different ones."""
    items = value if isinstance(value, list) else [value]
    if items and all(isinstance(item, str) and item for item in items) and len(set(items)) == len(items):
        return value
    raise ValueError("must be a column, or a list of different columns")


def _columns(value: object) -> object:
    """Accept nothing, a name, or a list of different ones."""
    return value if value == [] else column_names(value)


class FormatSection(Section):
    """[formats]: how the numbers of a column are written in files, where that differs from the rest of the table."""

    decimal: Decimal | None = None
    thousands: Thousands | None = None
    unit: Annotated[str, Field(pattern=r"^([^0-9()+\n\r\s]([^0-9()+\n\r]*[^0-9()+\n\r\s])?[23]?)?$")] = ""
    brackets: bool = False
    missing: list[str] = []

    def in_table(self, decimal: str, thousands: str) -> dict[str, Any]:
        """Return the fields of a `NumberForm`; what is left out is as in the rest of the table."""
        marks = {"decimal": self.decimal or decimal, "thousands": self.thousands}
        if self.thousands is None:  # that of the table, but where the decimal mark is the column's own
            marks["thousands"] = thousands if self.decimal in (None, decimal) else ""
        return {**marks, "unit": self.unit, "brackets": self.brackets, "missing": self.missing}


class TargetSection(Section):
    """[target]: what is predicted, how values are transformed, and how much each target counts in the loss.

    `columns` names the columns to predict. `kind` is that of all of them, `kinds` that of single ones; what is left out
    is inferred from the values. A survival target has `time` and `event` in place of `columns`.
    """

    columns: Annotated[str | list[str], BeforeValidator(_columns)] = []
    kind: Literal["auto", "regression", "single_label", "multi_label", "survival"] = "auto"
    kinds: dict[str, Literal["regression", "single_label", "multi_label"]] = {}
    transform: Annotated[
        Transform | dict[str, Transform],
        BeforeValidator(
            one_or_by_name(
                "transform must be none, log, log1p or yeo_johnson", lambda value: value in get_args(Transform)
            )
        ),
    ] = "none"
    y_range: Annotated[
        list[float] | dict[str, list[float]],
        BeforeValidator(one_or_by_name("a range must be [lowest, highest]", _is_range)),
    ] = []
    weights: dict[str, Annotated[float, Field(gt=0)]] = {}
    time: str = ""
    event: str = ""
    method: Literal["hazard", "cox"] = "hazard"
    times: list[Annotated[float, Field(gt=0)]] = []

    @property
    def survival(self) -> SurvivalColumns | None:
        """The columns of a survival target; None for other targets."""
        if self.kind != "survival":
            return None
        return SurvivalColumns(self.time, self.event, self.method, tuple(self.times))

    @property
    def names(self) -> list[str]:
        """`columns` as a list."""
        return [self.columns] if isinstance(self.columns, str) else list(self.columns)

    def options(self, names: list[str]) -> dict[str, Any]:
        """Return the arguments of `table_from_file` and `images_with_targets` about these targets."""
        of_all = {} if self.kind in ("auto", "survival") else dict.fromkeys(names, self.kind)
        return {
            "transform": self.transform,
            "y_range": self.y_range or None,
            "target_kinds": of_all | self.kinds,
            "loss_weights": self.weights,
        }

    def check_names(self, names: list[str], place: str) -> None:
        """Refuse options that name no target, or that have nothing to be about.

        Raises:
            ValueError: naming the key.
        """
        for key in ("kinds", "transform", "y_range", "weights"):
            named = getattr(self, key)
            for name in named if isinstance(named, dict) else ():
                if name not in names:
                    raise ValueError(f"target.{key} names {name!r}, which is not in {place}: {names}")
        if self.weights and len(names) == 1:
            raise ValueError("target.weights needs several targets")

    @model_validator(mode="after")
    def _survival_has_its_columns(self) -> Self:
        if self.kind == "survival":
            if not self.time or not self.event:
                raise ValueError('kind = "survival" needs the columns time and event')
            if self.columns:
                raise ValueError('kind = "survival" uses time and event instead of columns')
            others = [key for key in ("kinds", "weights", "y_range") if getattr(self, key)]
            others += ["transform"] * (self.transform != "none")
            if others:
                raise ValueError(f'{others[0]} cannot be combined with kind = "survival"')
            try:
                SurvivalColumns(self.time, self.event, self.method, tuple(self.times))
            except ConfigError as error:
                raise ValueError(str(error)) from None
        elif self.time or self.event or self.times or self.method != "hazard":
            raise ValueError('time, event, times and method need kind = "survival"')
        return self
