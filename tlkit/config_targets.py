"""The sections of config.toml that declare what is predicted and how its numbers are written."""
# ruff: noqa: RUF012 - pydantic copies a default for each object

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from tlkit.config_sections import LabelledDataSection, PretrainedConfig, Section
from tlkit.errors import ConfigError, did_you_mean
from tlkit.targets.survival_columns import SurvivalColumns

Transform = Literal["none", "log", "log1p", "yeo_johnson"]
AutoTransform = Literal["auto", "none", "log", "log1p", "yeo_johnson"]
Kind = Literal["auto", "regression", "single_label", "multi_label", "survival"]
KINDS: tuple[str, ...] = get_args(Kind)


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


def columns_or_none(value: object) -> object:
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


def _one_of_the_kinds(value: object) -> object:
    """Refuse what is no kind of target, and name the nearest ones."""
    if value in KINDS:
        return value
    near = did_you_mean(str(value), KINDS)
    raise ValueError(f"unknown kind; allowed: {', '.join(KINDS)}{'; ' + near if near else ''}")


class TargetTable(Section):
    """[target.NAME]: the kind, transform, range and loss weight of one target."""

    kind: Annotated[Kind, BeforeValidator(_one_of_the_kinds)] = "auto"
    transform: AutoTransform | None = None
    range: Annotated[list[float], BeforeValidator(one_or_by_name("a range must be [lowest, highest]", _is_range))] = []
    weight: Annotated[float, Field(gt=0)] | None = None

    #: key -> the key of [target] that has it by the name of the target.
    OF_ALL: ClassVar[Mapping[str, str]] = {
        "kind": "kinds", "transform": "transform", "range": "y_range", "weight": "weights",
    }  # fmt: skip

    @property
    def set_keys(self) -> list[str]:
        """The keys that have a value of their own."""
        return [key for key, field in type(self).model_fields.items() if getattr(self, key) != field.default]


class TargetSection(Section):
    """[target]: what is predicted, how values are transformed, and how much each target counts in the loss.

    `columns` names the columns to predict. `kind` is that of all of them; a table [target.NAME] has what differs for
    one of them. What is left out is inferred from the values. A survival target has `time` and `event` instead of
    `columns`. `separator` separates several labels in one column.

    Every task has this section. What a task cannot predict is refused: see `can_be`.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, TargetTable] = Field(init=False)

    #: The model of [target.NAME].
    of_one: ClassVar[type[Section]] = TargetTable
    #: Kinds of targets that the task has.
    can_be: ClassVar[tuple[str, ...]] = ("regression", "single_label", "multi_label", "survival")
    #: What to do about another kind.
    otherwise: ClassVar[str] = ""
    #: Whether a column may hold several labels.
    has_separator: ClassVar[bool] = False
    #: Whether `transform = "auto"` is possible.
    has_auto: ClassVar[bool] = False

    columns: Annotated[str | list[str], BeforeValidator(columns_or_none)] = []
    kind: Annotated[Kind, BeforeValidator(_one_of_the_kinds)] = "auto"
    separator: str = ""
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
    def tables(self) -> dict[str, TargetTable]:
        """The tables of single targets, by name."""
        return dict(self.__pydantic_extra__ or {})

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
        kinds = self._of_tables("kind")
        return {
            "transform": self._with_tables("transform"),
            "y_range": self._with_tables("range") or None,
            "target_kinds": of_all | self.kinds | kinds,
            "loss_weights": self.weights | self._of_tables("weight"),
        }

    def _of_tables(self, key: str) -> dict[str, Any]:
        """Return what the tables of single targets set, by target."""
        return {name: getattr(own, key) for name, own in self.tables.items() if key in own.set_keys}

    def _with_tables(self, key: str) -> Any:
        """Return a value for all targets, or by target where tables set it; `check_names` refuses both."""
        of_all, own = getattr(self, TargetTable.OF_ALL[key]), self._of_tables(key)
        return (of_all | own if isinstance(of_all, dict) else own) if own else of_all

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
        for name, own in self.tables.items():
            if name not in names:
                near = did_you_mean(name, [*names, *type(self).model_fields])
                raise ValueError(f"[target.{name}] is about no target; {place}: {names}{'; ' + near if near else ''}")
            for key in set(own.set_keys) - {"kind"}:
                other = TargetTable.OF_ALL[key]
                of_all = getattr(self, other)
                if name in of_all if isinstance(of_all, dict) else of_all not in ([], "none"):
                    raise ValueError(f"{key} in [target.{name}] and target.{other} are both set: remove one of them")
            if own.kind != "auto" and name in self.kinds:
                raise ValueError(f"kind in [target.{name}] and target.kinds are both set: remove one of them")
        if (self.weights or self._of_tables("weight")) and len(names) == 1:
            raise ValueError("target.weights needs several targets")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        kinds = {"kind": self.kind, **{f"kinds.{name}": kind for name, kind in self.kinds.items()}}
        kinds |= {f"{name}.kind": own.kind for name, own in self.tables.items()}
        for key, kind in kinds.items():
            if kind != "auto" and kind not in self.can_be:
                advice = f"; {self.otherwise}" if self.otherwise else ""
                raise ValueError(f'{key} = "{kind}" is not possible; allowed: auto, {", ".join(self.can_be)}{advice}')
        if "survival" in (own.kind for own in self.tables.values()):
            raise ValueError('a survival target is the only one: set kind = "survival", time and event in [target]')
        if not self.has_auto and "auto" in (own.transform for own in self.tables.values()):
            raise ValueError('transform = "auto" is for tables; allowed: none, log, log1p, yeo_johnson')
        if self.separator and not self.has_separator:
            raise ValueError("separator is for images and texts with several labels in one column")
        return self

    @model_validator(mode="after")
    def _survival_has_its_columns(self) -> Self:
        if self.kind == "survival":
            if not self.time or not self.event:
                raise ValueError('kind = "survival" needs the columns time and event')
            if self.columns:
                raise ValueError('kind = "survival" uses time and event instead of columns')
            others = [key for key in ("kinds", "weights", "y_range", "separator") if getattr(self, key)]
            others += ["transform"] * (self.transform != "none") + [f"[target.{name}]" for name in self.tables]
            if others:
                raise ValueError(f'{others[0]} cannot be combined with kind = "survival"')
            try:
                SurvivalColumns(self.time, self.event, self.method, tuple(self.times))
            except ConfigError as error:
                raise ValueError(str(error)) from None
        elif self.time or self.event or self.times or self.method != "hazard":
            raise ValueError('time, event, times and method need kind = "survival"')
        return self


class LabelTargetSection(TargetSection):
    """[target] if an item has a class, or several labels.

    One column has the classes, or several labels with a `separator` between them. A list of columns of 0 and 1 has a
    label each.
    """

    can_be: ClassVar[tuple[str, ...]] = ("single_label", "multi_label")
    has_separator: ClassVar[bool] = True

    @property
    def is_multi_label(self) -> bool:
        """Whether an item may have several labels, or none."""
        return bool(self.separator) or len(self.names) > 1

    @property
    def label_keys(self) -> dict[str, Any]:
        """The keys of [data] that this section stands for."""
        found: dict[str, Any] = {"label_separator": self.separator} if self.separator else {}
        if len(self.names) == 1:
            found["label_column"] = self.names[0]
        elif self.names:
            found["label_columns"] = self.names
        return found

    @model_validator(mode="after")
    def _is_about_labels(self) -> Self:
        set_ = [key for key in ("kinds", "y_range", "weights") if getattr(self, key)]
        set_ += ["transform"] * (self.transform != "none") + [f"[target.{name}]" for name in self.tables]
        if set_:
            advice = f"; {self.otherwise}" if self.otherwise else ""
            raise ValueError(f"{set_[0]} is for values or several targets, and this task has classes or labels{advice}")
        if self.separator and len(self.names) > 1:
            raise ValueError("separator and a list of columns cannot be combined")
        if self.kind == "single_label" and self.is_multi_label:
            what = "separator" if self.separator else "a list of columns"
            raise ValueError(f'{what} needs kind = "multi_label" (or "auto")')
        if self.kind == "multi_label" and self.names and not self.is_multi_label:
            raise ValueError('kind = "multi_label" needs a list of columns of 0 and 1, or a separator')
        return self


class LabelledConfig(PretrainedConfig):
    """config.toml of a project whose items have a class, or several labels.

    [target] and the earlier keys of [data] (`label_column`, `label_separator`, `label_columns`) declare the same. Once
    read, `data` has what [target] declares.
    """

    not_shown: ClassVar[frozenset[str]] = frozenset(
        {
            "data.label_column", "data.label_separator", "data.label_columns", "target.kinds", "target.transform",
            "target.y_range", "target.weights", "target.time", "target.event", "target.method", "target.times",
        }
    )  # fmt: skip

    data: LabelledDataSection
    target: LabelTargetSection = LabelTargetSection()

    @property
    def several_labels(self) -> bool:
        """Whether an item may have several labels."""
        return self.data.multi_label or self.target.is_multi_label

    @classmethod
    def replaced_keys(cls, name: str, value: object, tree: Mapping[str, Any]) -> Sequence[str]:
        """Return the other spelling of a key."""
        columns = tree.get("target", {}).get("columns") if isinstance(tree.get("target"), Mapping) else None
        if name == "data.label_columns":  # an empty list replaces only a list
            return ["target.columns"] if value or isinstance(columns, list) else []
        return {
            "data.label_column": ["target.columns"],
            "data.label_separator": ["target.separator"],
            "target.columns": ["data.label_column", "data.label_columns"],
            "target.separator": ["data.label_separator"],
        }.get(name, [])

    @model_validator(mode="after")
    def _labels_are_declared_once(self) -> Self:
        own, data = self.target.label_keys, self.data
        earlier = {key: getattr(data, key) for key in ("label_columns", "label_separator") if getattr(data, key)}
        if "label_column" in data.model_fields_set and "label_column" in own:
            earlier["label_column"] = data.label_column
        for key, value in earlier.items():
            new = "separator" if key == "label_separator" else "columns"
            is_set = bool(self.target.separator if new == "separator" else self.target.columns)
            if is_set and own.get(key) != value:
                raise ValueError(f"target.{new} and data.{key} are both set: remove one of them")
        merged = {key: getattr(data, key) for key in ("label_column", "label_separator", "label_columns")} | own
        if merged["label_separator"] and merged["label_columns"]:
            raise ValueError("a separator and a list of label columns cannot be combined")
        if self.target.kind == "single_label" and data.multi_label:
            raise ValueError('target.kind = "single_label" and several labels in [data] cannot be combined')
        if self.target.kind == "multi_label" and not self.several_labels:
            raise ValueError('target.kind = "multi_label" needs a list of columns of 0 and 1, or a separator')
        self.__dict__["data"] = data.model_copy(update=own)
        return self
