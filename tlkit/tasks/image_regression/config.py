"""config.toml of projects that predict values or risks from photos."""
# ruff: noqa: RUF012 - pydantic copies a default for each object

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from tlkit.config_sections import (
    DataSection,
    ImageFields,
    ImageModelSection,
    ImageTrainSection,
    PretrainedConfig,
    ProjectSection,
)
from tlkit.config_targets import Decimal, FormatSection, TargetSection, Thousands
from tlkit.targets.survival_columns import SurvivalColumns


class ImageRegressionProjectSection(ProjectSection):
    """[project] where values or risks are predicted from photos."""

    task: Literal["image_regression"]


class ImageTargetDataSection(DataSection, ImageFields):
    """[data]: the table of photos and labels, and how both are read."""

    augment: Literal["none", "side_on", "top_down", "strong"] = "none"
    decimal: Decimal = "."
    thousands: Thousands = ""
    missing: list[str] = []

    @model_validator(mode="after")
    def _is_usable(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are the same: {self.decimal!r}")
        return self


class ImageRegressionTargetSection(TargetSection):
    """[target] of images with values, classes side by side with values, or a risk."""

    can_be: ClassVar[tuple[str, ...]] = ("regression", "single_label", "survival")
    otherwise: ClassVar[str] = (
        "for multi-label classification use the task image_classification (label_columns, or a list of target.columns)"
    )


class ImageRegressionConfig(PretrainedConfig):
    """config.toml of a project that predicts values, risks or several targets from photos."""

    not_shown: ClassVar[frozenset[str]] = frozenset({"target.separator"})

    project: ImageRegressionProjectSection
    data: ImageTargetDataSection
    formats: dict[str, FormatSection] = {}
    target: ImageRegressionTargetSection
    model: ImageModelSection = ImageModelSection()
    train: ImageTrainSection = ImageTrainSection()

    @property
    def targets(self) -> list[str] | SurvivalColumns:
        """The columns to predict, or those of times and events."""
        return self.target.survival or self.target.names

    @property
    def reading(self) -> dict[str, Any]:
        """How the table is read: arguments of `images_with_targets`."""
        data = self.data
        formats = {name: form.in_table(data.decimal, data.thousands) for name, form in self.formats.items()}
        return {
            "path_column": data.path_column,
            "separator": data.separator or None,
            "encoding": data.encoding,
            "decimal": data.decimal,
            "thousands": data.thousands,
            "missing": data.missing,
            "formats": formats,
        }

    @property
    def table_options(self) -> dict[str, Any]:
        """How the table is read and divided: arguments of `images_with_targets` and `training_photos`."""
        return self.reading | {
            "group_column": self.data.group_column or None,
            "split_column": self.data.split_column or None,
            "val_fraction": self.data.val_fraction,
            "seed": self.data.seed,
            "target_kinds": self.target.options(self.target.names)["target_kinds"],
        }

    @property
    def options(self) -> dict[str, Any]:
        """All arguments of `images_with_targets` but the table and the targets."""
        size = {"size": self.model.image_size, "resize": self.model.resize}
        return (
            self.data.options
            | size
            | {"exclude": self.exclude}
            | self.target.options(self.target.names)
            | self.table_options
        )

    @model_validator(mode="after")
    def _targets_are_named(self) -> Self:
        if not self.target.columns and not self.target.survival:
            raise ValueError("target.columns is missing")
        self.target.check_names(self.target.names, "target.columns")
        if self.target.survival and self.data.mix != "none":
            raise ValueError('mix cannot be combined with kind = "survival"')
        return self
