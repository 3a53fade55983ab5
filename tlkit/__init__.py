"""tlkit: application templates for transfer learning on Keras 3 and TensorFlow.

The names below load on first use (PEP 562), so that importing tlkit imports neither TensorFlow nor Keras.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.2.0.dev0"

if TYPE_CHECKING:
    from tlkit.callbacks.cyclical_lr import CyclicalLR
    from tlkit.callbacks.lr_schedule import LRSchedule
    from tlkit.callbacks.one_cycle import OneCycle
    from tlkit.callbacks.recorder import Recorder
    from tlkit.callbacks.time_budget import TimeBudget
    from tlkit.callbacks.warm_restarts import WarmRestarts
    from tlkit.inputs.image.data import ImageData
    from tlkit.inputs.image.options import ImageOptions, ImageReadOptions, ImageSplitOptions, LabelOptions
    from tlkit.inputs.image.preprocessing import ImagePreprocessing
    from tlkit.inputs.image.reading import images_from_folder, images_from_table
    from tlkit.inputs.image.target_data import ImageTargetData, images_with_targets
    from tlkit.inputs.options import NumberOptions, TargetOptions
    from tlkit.inputs.row.data import TabularData
    from tlkit.inputs.row.events import event_features
    from tlkit.inputs.row.large_tables import table_from_row_groups
    from tlkit.inputs.row.options import ColumnOptions, ReadOptions
    from tlkit.inputs.row.reading import table_from_file
    from tlkit.inputs.row.splits import SplitOptions
    from tlkit.inputs.text.data import TextData
    from tlkit.inputs.text.reading import texts_from_folder, texts_from_table
    from tlkit.models.grad_cam import grad_cam
    from tlkit.models.image import image_classifier, image_regressor
    from tlkit.models.task import LayerGroup, Task
    from tlkit.models.text import text_classifier
    from tlkit.targets.survival_columns import SurvivalColumns
    from tlkit.tasks.recommender.catalogue import catalogue_entries, fill_catalogue
    from tlkit.tasks.recommender.measure import measure_ratings
    from tlkit.tasks.recommender.model import recommender_model
    from tlkit.tasks.recommender.ratings import ratings_from_file
    from tlkit.tasks.tabular.boosted import with_boosting
    from tlkit.tasks.tabular.embedding_features import EmbeddingFeatures
    from tlkit.tasks.tabular.embedding_tables import read_embedding_tables
    from tlkit.tasks.tabular.model import tabular_model
    from tlkit.tasks.tabular.validate_network import ValidateNetwork
    from tlkit.tasks.text_classification.adapt import adapt_encoder
    from tlkit.training.learner import Learner
    from tlkit.training.lr_finder import find_lr
    from tlkit.training.options import TrainingOptions

_HOMES = {
    "ColumnOptions": "tlkit.inputs.row.options",
    "CyclicalLR": "tlkit.callbacks.cyclical_lr",
    "EmbeddingFeatures": "tlkit.tasks.tabular.embedding_features",
    "ImageData": "tlkit.inputs.image.data",
    "ImageOptions": "tlkit.inputs.image.options",
    "ImagePreprocessing": "tlkit.inputs.image.preprocessing",
    "ImageReadOptions": "tlkit.inputs.image.options",
    "ImageSplitOptions": "tlkit.inputs.image.options",
    "ImageTargetData": "tlkit.inputs.image.target_data",
    "LRSchedule": "tlkit.callbacks.lr_schedule",
    "LabelOptions": "tlkit.inputs.image.options",
    "LayerGroup": "tlkit.models.task",
    "Learner": "tlkit.training.learner",
    "NumberOptions": "tlkit.inputs.options",
    "OneCycle": "tlkit.callbacks.one_cycle",
    "ReadOptions": "tlkit.inputs.row.options",
    "Recorder": "tlkit.callbacks.recorder",
    "ServingClient": "tlkit.serving.client",
    "SplitOptions": "tlkit.inputs.row.splits",
    "SurvivalColumns": "tlkit.targets.survival_columns",
    "TabularData": "tlkit.inputs.row.data",
    "TargetOptions": "tlkit.inputs.options",
    "Task": "tlkit.models.task",
    "TextData": "tlkit.inputs.text.data",
    "TimeBudget": "tlkit.callbacks.time_budget",
    "TrainingOptions": "tlkit.training.options",
    "ValidateNetwork": "tlkit.tasks.tabular.validate_network",
    "WarmRestarts": "tlkit.callbacks.warm_restarts",
    "adapt_encoder": "tlkit.tasks.text_classification.adapt",
    "event_features": "tlkit.inputs.row.events",
    "find_lr": "tlkit.training.lr_finder",
    "grad_cam": "tlkit.models.grad_cam",
    "image_classifier": "tlkit.models.image",
    "image_regressor": "tlkit.models.image",
    "images_from_folder": "tlkit.inputs.image.reading",
    "images_from_table": "tlkit.inputs.image.reading",
    "images_with_targets": "tlkit.inputs.image.target_data",
    "read_embedding_tables": "tlkit.tasks.tabular.embedding_tables",
    "catalogue_entries": "tlkit.tasks.recommender.catalogue",
    "fill_catalogue": "tlkit.tasks.recommender.catalogue",
    "measure_ratings": "tlkit.tasks.recommender.measure",
    "ratings_from_file": "tlkit.tasks.recommender.ratings",
    "recommender_model": "tlkit.tasks.recommender.model",
    "table_from_file": "tlkit.inputs.row.reading",
    "table_from_row_groups": "tlkit.inputs.row.large_tables",
    "tabular_model": "tlkit.tasks.tabular.model",
    "text_classifier": "tlkit.models.text",
    "texts_from_folder": "tlkit.inputs.text.reading",
    "texts_from_table": "tlkit.inputs.text.reading",
    "with_boosting": "tlkit.tasks.tabular.boosted",
}

__all__ = [
    "ColumnOptions",
    "CyclicalLR",
    "EmbeddingFeatures",
    "ImageData",
    "ImageOptions",
    "ImagePreprocessing",
    "ImageReadOptions",
    "ImageSplitOptions",
    "ImageTargetData",
    "LRSchedule",
    "LabelOptions",
    "LayerGroup",
    "Learner",
    "NumberOptions",
    "OneCycle",
    "ReadOptions",
    "Recorder",
    "ServingClient",
    "SplitOptions",
    "SurvivalColumns",
    "TabularData",
    "TargetOptions",
    "Task",
    "TextData",
    "TimeBudget",
    "TrainingOptions",
    "ValidateNetwork",
    "WarmRestarts",
    "__version__",
    "adapt_encoder",
    "catalogue_entries",
    "event_features",
    "fill_catalogue",
    "find_lr",
    "grad_cam",
    "image_classifier",
    "image_regressor",
    "images_from_folder",
    "images_from_table",
    "images_with_targets",
    "measure_ratings",
    "ratings_from_file",
    "read_embedding_tables",
    "recommender_model",
    "table_from_file",
    "table_from_row_groups",
    "tabular_model",
    "text_classifier",
    "texts_from_folder",
    "texts_from_table",
    "with_boosting",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'tlkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
