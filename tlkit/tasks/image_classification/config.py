"""config.toml of projects that classify images."""

from __future__ import annotations

from typing import ClassVar

from tlkit.config_sections import ImageDataSection, ImageLabelsTrainSection, ImageModelSection, ImageProjectSection
from tlkit.config_targets import LabelledConfig, LabelTargetSection


class ImageTargetSection(LabelTargetSection):
    """[target] of images: a class, or several labels."""

    otherwise: ClassVar[str] = 'for values and risks of images, use the task "image_regression"'


class ImageConfig(LabelledConfig):
    """config.toml of a project that classifies images."""

    project: ImageProjectSection
    data: ImageDataSection
    target: ImageTargetSection = ImageTargetSection()
    model: ImageModelSection = ImageModelSection()
    train: ImageLabelsTrainSection = ImageLabelsTrainSection()
