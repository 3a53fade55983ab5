"""config.toml of projects that recommend items to users."""
# ruff: noqa: RUF012 - pydantic copies a default for each object

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tlkit.config_rows import OneStageTrainSection, RowConfig, RowDataSection
from tlkit.config_sections import Level, ModelSection, ProjectSection, RuleName, StepSection, check_learning_rate

Column = Annotated[str, Field(min_length=1)]


class RecommenderProjectSection(ProjectSection):
    """[project] where items are recommended to users."""

    task: Literal["recommender"]


class RatingsDataSection(RowDataSection):
    """[data]: which ratings, and how they are read and split; arguments of `ratings_from_file`."""

    user: Column
    item: Column
    rating: Column
    time: str = ""
    user_columns: list[Column] = []
    item_columns: list[Column] = []
    split: Literal["random", "last", "user"] = "random"
    rating_range: Annotated[list[float], Field(max_length=2)] = []
    least_of_user: Annotated[int, Field(ge=1)] = 1
    least_of_item: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=1)] = 512

    @model_validator(mode="after")
    def _columns_agree(self) -> Self:
        if self.group_column:
            raise ValueError('group_column is not used: set split = "user" to keep the ratings of a user together')
        if self.exclude:
            raise ValueError("exclude is not used for ratings: leave the rows out of the file")
        if len(self.rating_range) == 1:
            raise ValueError("rating_range is empty, or a lowest and a highest rating")
        return self


class RecommenderModelSection(ModelSection):
    """[model]: the vectors; arguments of `recommender_model`."""

    factors: Annotated[int, Field(ge=1, le=1024)] = 20
    members: Annotated[int, Field(ge=1, le=64)] = 8
    hidden: list[Annotated[int, Field(ge=2, le=65_536)]] = []
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2


class RecommenderTrainSection(OneStageTrainSection):
    """[train] for ratings: strong weight decay, few epochs."""

    learning_rate: Annotated[float | str, BeforeValidator(check_learning_rate)] = 1e-2
    epochs: Annotated[int, Field(ge=1)] = 8
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.3

    @model_validator(mode="after")
    def _cycles_where_needed(self) -> Self:
        self._check_cycles(1, "epochs")
        return self


class RecommenderStepSection(StepSection):
    """[step] for ratings: the network is small, so several steps go in one call."""

    optimizer: Literal["adamw"] = "adamw"
    steps_per_call: Annotated[int, Field(ge=1)] = 16


class RecommenderConfig(RowConfig):
    """config.toml of a project that recommends items to users."""

    not_shown: ClassVar[frozenset[str]] = frozenset(
        {"data.group_column", "data.exclude", "step.optimizer", "step.label_smoothing"}
    )
    project: RecommenderProjectSection
    data: RatingsDataSection
    columns: dict[str, Literal["categorical", "continuous", "date", "boolean"]] = {}
    model: RecommenderModelSection = RecommenderModelSection()
    train: RecommenderTrainSection = RecommenderTrainSection()
    step: RecommenderStepSection = RecommenderStepSection()

    @property
    def check_levels(self) -> dict[RuleName, Level]:
        """As for other projects, but users and items are on both sides of the split, and rate differently."""
        own: dict[RuleName, Level] = {"conflicting_labels": "off", "group_leakage": "off"}
        return super().check_levels | own | self.check

    @property
    def ratings(self) -> dict[str, Any]:
        """The arguments of `ratings_from_file` but the file."""
        data = self.data
        names = (
            "user", "item", "rating", "user_columns", "item_columns", "split", "val_fraction", "least_of_user",
            "least_of_item", "seed",
        )  # fmt: skip
        return (
            self.reading
            | {name: getattr(data, name) for name in names}
            | {
                "time": data.time or None,
                "split_column": data.split_column or None,
                "rating_range": data.rating_range or None,
                "kinds": self.columns,
            }
        )

    @property
    def sides(self) -> dict[str, Any]:
        """Which columns are the user's and which the item's: arguments of `recommender_model`."""
        data = self.data
        return {"user": data.user, "item": data.item, "item_columns": data.item_columns}

    @model_validator(mode="after")
    def _columns_are_used(self) -> Self:
        used = {*self.data.user_columns, *self.data.item_columns}
        for name in self.columns:
            if name not in used:
                raise ValueError(f"columns.{name} is neither in user_columns nor in item_columns")
        return self
