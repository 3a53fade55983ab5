"""config.toml of projects with tables."""
# ruff: noqa: RUF012 - pydantic copies a default for each object

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from tlkit.config_rows import OneStageTrainSection, RowConfig, RowDataSection
from tlkit.config_sections import (
    Level,
    ModelSection,
    ProjectSection,
    RuleName,
    Section,
    StepSection,
    ThresholdSection,
    check_learning_rate,
)
from tlkit.config_targets import (
    AutoTransform,
    Decimal,
    FormatSection,
    TargetSection,
    Thousands,
    columns_or_none,
    is_number,
    one_or_by_name,
)
from tlkit.targets.survival_columns import SurvivalColumns


def _dropout(value: object) -> object:
    """Accept one rate, or a list with one for each dense layer."""
    items = value if isinstance(value, list) else [value]
    if all(isinstance(item, int | float) and not isinstance(item, bool) and 0 <= item < 1 for item in items):
        return value
    raise ValueError("a dropout is a number from 0 and below 1, or a list of them, one for each dense layer")


def _epochs(value: object) -> object:
    """Accept "auto" or a whole number."""
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError('a number of epochs is "auto" or a whole number from 1')


def _day(value: object) -> object:
    """Accept TOML's own dates as well as strings, and numbers where the times are numbers."""
    if is_number(value) and math.isfinite(value):  # type: ignore[arg-type]
        return value
    text = value.isoformat() if isinstance(value, datetime.date) else value
    if text != "":
        try:
            datetime.datetime.fromisoformat(text)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise ValueError("a day is written as 2015-06-19, a number as 2015") from None
    return text


Column = Annotated[str, Field(min_length=1)]
Day = Annotated[str | int | float, BeforeValidator(_day)]


def _date_format(value: object) -> object:
    """Accept what dates of a column can be read with."""
    from tlkit.errors import ConfigError
    from tlkit.inputs.row.date_form import check_date_form

    if not isinstance(value, str) or not value:
        raise ValueError('a date format is a string such as "%m/%d/%Y"; ISO 8601 needs none')
    try:
        return check_date_form(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None


DateFormat = Annotated[str, BeforeValidator(_date_format)]


class TabularProjectSection(ProjectSection):
    """[project] where values or classes of a table's rows are predicted."""

    task: Literal["tabular"]


Pair = Annotated[list[Column], Field(min_length=2, max_length=2)]


class FeaturesSection(Section):
    """[features]: numbers that are computed from columns; the fields of `FeatureOptions`."""

    counts: Literal["all"] | list[Column] = []
    target_means: Literal["all"] | list[Column] = []
    ratios: list[Pair] = []
    date_differences: list[Pair] = []


class TabularDataSection(RowDataSection):
    """[data]: which table, and how it is read, split and encoded."""

    targets: Annotated[str | list[str], BeforeValidator(columns_or_none)] = []
    decimal: Decimal = "."
    thousands: Thousands = ""
    missing: list[str] = []
    unreadable: Literal["error", "missing"] = "error"
    where: list[Annotated[str, Field(min_length=1)]] = []
    time_column: str = ""
    val_from: Day = ""
    test_from: Day = ""
    allow: list[Column] = []
    events: list[Column] = []
    event_group: str = ""
    scaling: Literal["standard", "quantile", "robust"] = "quantile"
    min_count: Annotated[int, Field(ge=1)] = 1
    hash_buckets: dict[str, Annotated[int, Field(ge=2)]] = {}
    cyclic: list[Column] = []
    class_weight: Literal["none", "balanced"] = "none"
    batch_size: Annotated[int, Field(ge=1)] = 256

    @model_validator(mode="after")
    def _dates_need_their_column(self) -> Self:
        for key, value in (("val_from", self.val_from), ("test_from", self.test_from)):
            if value != "" and not self.time_column:
                raise ValueError(f"{key} needs time_column")
        if self.event_group and not self.events:
            raise ValueError("event_group needs events")
        return self

    @model_validator(mode="after")
    def _marks_differ(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are the same: {self.decimal!r}")
        return self


class TabularTargetSection(TargetSection):
    """[target] of tables: `transform` may be chosen by cross-validation, too."""

    has_auto: ClassVar[bool] = True

    transform: Annotated[
        AutoTransform | dict[str, AutoTransform],
        BeforeValidator(
            one_or_by_name(
                "transform must be auto, none, log, log1p or yeo_johnson",
                lambda value: value in get_args(AutoTransform),
            )
        ),
    ] = "none"  # type: ignore[assignment]


class BoostingSection(Section):
    """`boosting` in [model]: how boosted trees are fitted; the fields of `BoostingOptions`."""

    iterations: Annotated[int, Field(ge=1, le=100_000)] = 1000
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    max_features: Annotated[float, Field(gt=0, le=1)] = 0.5
    leaves: Annotated[int, Field(ge=2, le=32)] = 31
    patience: Annotated[int, Field(ge=0)] = 20
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    bags: Annotated[int, Field(ge=1, le=100)] = 1


def _boosting(value: object) -> object:
    """Name the key that is wrong: `boosting` is a table within [model]."""
    try:
        return BoostingSection.model_validate(value)
    except ValidationError as error:
        found = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, found['loc']))}: {found['msg']}, not {found['input']!r}") from None


class TabularModelSection(ModelSection):
    """[model]: embeddings and dense layers, and what answers beside them."""

    kind: Literal["network", "tabm", "boosting", "blend"] = "network"  # that of projects which do not say it
    blend_network: Literal["network", "tabm"] = "network"
    members: Annotated[int, Field(ge=2, le=256)] = 32
    boosting: Annotated[BoostingSection, BeforeValidator(_boosting)] = BoostingSection()
    monotonic: dict[str, Literal["increasing", "decreasing"]] = {}
    hidden: Annotated[list[Annotated[int, Field(ge=1, le=65_536)]], Field(min_length=1)] = [200, 100]
    embedding_sizes: dict[str, Annotated[int, Field(ge=1, le=4096)]] = {}
    embedding_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    dropout: Annotated[float | list[float], BeforeValidator(_dropout)] = 0.2
    number_bins: Annotated[int, Field(ge=0, le=256)] = 16
    start_from: str = ""
    freeze_embeddings: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if isinstance(self.dropout, list) and len(self.dropout) != len(self.hidden):
            raise ValueError("dropout and hidden have different lengths: set one number, or one per dense layer")
        if self.freeze_embeddings and not self.start_from:
            raise ValueError("freeze_embeddings needs start_from: frozen random embeddings are useless")
        if self.monotonic and self.kind != "boosting":
            raise ValueError(
                f'monotonic needs kind = "boosting", not {self.kind!r}: boosted trees keep the constraint, a network '
                "does not"
            )
        return self


class TabularTrainSection(ThresholdSection, OneStageTrainSection):
    """[train] for tables: one stage, in which everything learns. With `cycle_len`, epochs are cycles."""

    learning_rate: Annotated[float | str, BeforeValidator(check_learning_rate)] = 5e-3
    epochs: Annotated[int | str, BeforeValidator(_epochs)] = 6
    budget_minutes: Annotated[float, Field(gt=0, allow_inf_nan=True)] = math.inf

    def epochs_for(self, data: Any) -> int:
        """Return the epochs for data: "auto" is 6, or as many, up to 40, as make 500 steps."""
        return min(max(6, -(-500 // data.steps_per_epoch)), 40) if self.epochs == "auto" else int(self.epochs)

    @property
    def ending(self) -> dict[str, Any]:
        """The arguments of `Learner.finish` beside `keep`."""
        return super().ending | {"thresholds": self.thresholds}

    @model_validator(mode="after")
    def _cycles_where_needed(self) -> Self:
        self._check_cycles(1, "epochs")
        if self.cycle_len and self.epochs == "auto":
            raise ValueError('epochs = "auto" cannot be combined with cycles: set a number')
        return self


class TabularStepSection(StepSection):
    """[step] for tables: weights are averaged, and as the networks are small, several steps go in one call."""

    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    steps_per_call: Annotated[int, Field(ge=1)] = 16


class TabularConfig(RowConfig):
    """config.toml of a project that predicts columns of a table.

    `columns` says what columns are; those that it leaves out are looked at when the data is read.
    """

    not_shown: ClassVar[frozenset[str]] = frozenset({"data.targets", "target.separator"})

    project: TabularProjectSection
    data: TabularDataSection
    columns: dict[str, Literal["categorical", "continuous", "date", "boolean", "id", "ignore"]] = {}
    formats: dict[str, FormatSection] = {}
    dates: dict[str, DateFormat] = {}
    target: TabularTargetSection = TabularTargetSection()
    features: FeaturesSection = FeaturesSection()
    model: TabularModelSection = TabularModelSection()
    train: TabularTrainSection = TabularTrainSection()
    step: TabularStepSection = TabularStepSection()

    @property
    def check_levels(self) -> dict[RuleName, Level]:
        """As for other projects, but two rows may agree in every column and differ in the target."""
        own: dict[RuleName, Level] = {"conflicting_labels": "warn"}
        return super().check_levels | own | self.check

    @classmethod
    def replaced_keys(cls, name: str, value: object, tree: Mapping[str, Any]) -> Sequence[str]:
        """Return the other spelling of a key."""
        return {"data.targets": ["target.columns"], "target.columns": ["data.targets"]}.get(name, [])

    @property
    def for_part(self) -> Self:
        """The config for a network that learns from a part of the rows, to weigh a blend: it is not calibrated."""
        train = self.train.model_copy(update={"calibrate": False, "thresholds": "half"})
        return self.model_copy(update={"train": train})

    @property
    def targets(self) -> list[str] | SurvivalColumns:
        """The columns to predict, or those of times and events."""
        return self.target.survival or self.target_names

    @property
    def target_names(self) -> list[str]:
        """The columns to predict; none with a survival target."""
        own = [self.data.targets] if isinstance(self.data.targets, str) else list(self.data.targets)
        return own or self.target.names

    @property
    def several_labels(self) -> bool:
        """Whether the columns of the target are labels of which several can be true."""
        return self.target.kind == "multi_label"

    @property
    def reading(self) -> dict[str, Any]:
        """How any table of the project is read: arguments of `table_from_file` and `table_to_evaluate`."""
        return super().reading | {
            "where": self.data.where,
            "time_column": self.data.time_column or None,
            "events": self.events,
            "event_group": self.data.event_group or None,
            "date_formats": self.dates,
        }

    @property
    def events(self) -> list[str]:
        """Columns that mark days."""
        return self.data.events

    @property
    def field_options(self) -> dict[str, Any]:
        """How the fields of the project's files are read: arguments of `table_from_file`."""
        data = self.data
        formats = {name: form.in_table(data.decimal, data.thousands) for name, form in self.formats.items()}
        return {"decimal": data.decimal, "thousands": data.thousands, "missing": data.missing, "formats": formats}

    @property
    def table_options(self) -> dict[str, Any]:
        """All arguments of `table_from_file` but the table and the targets."""
        data, target = self.data, self.target
        return (
            self.reading
            | self.field_options
            | {
                "kinds": self.columns,
                "unreadable": data.unreadable,
                "split_column": data.split_column or None,
                "group_column": data.group_column or None,
                "val_fraction": data.val_fraction,
                "val_from": None if data.val_from == "" else data.val_from,
                "test_from": None if data.test_from == "" else data.test_from,
                "scaling": data.scaling,
                "min_count": data.min_count,
                "hash_buckets": data.hash_buckets,
                "cyclic": data.cyclic,
                **target.options(self.target_names),
                "seed": data.seed,
                "class_weight": data.class_weight,
                "allow": data.allow,
                "features": self.features.model_dump(),
                "exclude": self.exclude,
            }
        )

    @property
    def members(self) -> int:
        """Members of the network: those of TabM, 0 where it is a single one."""
        model = self.model
        is_tabm = model.kind == "tabm" or (model.kind == "blend" and model.blend_network == "tabm")
        return model.members if is_tabm else 0

    @property
    def boosting_options(self) -> dict[str, Any]:
        """What [model] says of boosted trees: arguments of `with_boosting`."""
        from tlkit.tasks.tabular.tree_fit import BoostingOptions

        return {
            "kind": self.model.kind,
            "options": BoostingOptions(
                **self.model.boosting.model_dump(), seed=self.data.seed, monotonic=self.model.monotonic
            ),
            "time_column": self.data.time_column or None,
            "group_column": self.data.group_column or None,
            "date_formats": self.dates,
        }

    def minutes_for(self, data: Any) -> float:
        """Return the minutes that one of the networks may train: `train.budget_minutes` is of all of a blend together.

        Args:
            data: what it is trained on.
        """
        from tlkit.tasks.tabular.blend_shares import fits_for

        weighed = self.model.kind == "blend" and not self.target.survival
        fits = 1 + fits_for(len(data.labels("train")), bool(self.data.time_column)) if weighed else 1
        return self.train.budget_minutes / fits

    @property
    def start_from(self) -> Path | None:
        """The folder of embeddings that `model.start_from` means: itself, or what another project has exported."""
        if not self.model.start_from:
            return None
        folder = self.root / Path(self.model.start_from).expanduser()
        return folder / "embeddings" if (folder / "config.toml").is_file() else folder

    @model_validator(mode="after")
    def _names_of_targets(self) -> Self:
        names = self.target_names
        if self.data.targets and (self.target.columns or self.target.survival):
            raise ValueError("data.targets and [target] are both set: remove one of them")
        if not names and not self.target.survival:
            raise ValueError("target.columns is missing (or data.targets)")
        self.target.check_names(names, "data.targets" if self.data.targets else "target.columns")
        if self.model.kind == "boosting" and self.target.survival:
            raise ValueError('model.kind = "boosting" has no loss for survival: use "network" or "tabm"')
        for name, form in self.field_options["formats"].items():
            if form["decimal"] == form["thousands"]:
                raise ValueError(f"formats.{name}: decimal and thousands are the same: {form['decimal']!r}")
        for name in self.target.survival.names if self.target.survival else names:
            if name in self.columns:
                raise ValueError(f"columns.{name} is a target: set its kind in [target] kinds")
        return self
