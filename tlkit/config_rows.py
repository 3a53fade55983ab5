"""The sections of config.toml that projects with rows of tables share, whatever they predict."""
# ruff: noqa: RUF012 - pydantic copies a default for each object

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from tlkit.config_sections import DataSection, ProjectConfig, TrainSection
from tlkit.config_targets import column_names


class RowDataSection(DataSection):
    """[data] of tables: how their files are written, and what they are joined with."""

    separator: Annotated[str, Field(max_length=1)] = ""
    encoding: Annotated[str, Field(min_length=1)] = "utf-8"
    join: dict[str, Annotated[str | list[str], BeforeValidator(column_names)]] = {}


class OneStageTrainSection(TrainSection):
    """[train] of networks that are trained in one stage, in which everything learns."""

    schedule: Literal["one_cycle", "slanted_triangular", "constant"] = "one_cycle"

    @property
    def stages(self) -> dict[str, Any]:
        """The further arguments of `Learner.fit`."""
        return super().stages or {"schedule": self.schedule}


class RowConfig(ProjectConfig):
    """config.toml of a project with rows of tables."""

    data: RowDataSection

    @property
    def reading(self) -> dict[str, Any]:
        """How any table of the project is read: arguments of `table_to_evaluate`."""
        data = self.data
        joined = [
            (self.root / Path(file).expanduser(), [on] if isinstance(on, str) else on) for file, on in data.join.items()
        ]
        own = {"separator": data.separator or None, "encoding": data.encoding, "batch_size": data.batch_size}
        return {"join": joined, **own}

    @property
    def field_options(self) -> dict[str, Any]:
        """How the fields of the project's files are read, where it is not as usual: arguments of `table_from_file`."""
        return {}

    @property
    def events(self) -> Sequence[str]:
        """Columns that mark days, about which further columns are made; none unless the task has them."""
        return ()
