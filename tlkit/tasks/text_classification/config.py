"""config.toml of projects that classify texts."""

from __future__ import annotations

from typing import ClassVar

from tlkit.config_sections import (
    TextDataSection,
    TextModelSection,
    TextProjectSection,
    TextStepSection,
    TextTrainSection,
)
from tlkit.config_targets import LabelledConfig, LabelTargetSection


class TextTargetSection(LabelTargetSection):
    """[target] of texts: a class, or several labels."""

    otherwise: ClassVar[str] = "texts have classes or labels"


class TextConfig(LabelledConfig):
    """config.toml of a project that classifies texts."""

    project: TextProjectSection
    data: TextDataSection
    target: TextTargetSection = TextTargetSection()
    model: TextModelSection = TextModelSection()
    train: TextTrainSection = TextTrainSection()
    step: TextStepSection = TextStepSection()

    @property
    def encoder(self) -> str:
        """`model.encoder`; a folder, which is written with a slash, is spelt out as a full path."""
        return self._full(self.model.encoder) if "/" in self.model.encoder else self.model.encoder
