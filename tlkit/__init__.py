"""tlkit: application templates for transfer learning on Keras 3 and TensorFlow.

The names below load on first use (PEP 562), so that importing tlkit imports neither TensorFlow nor Keras.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tlkit.data.image_data import ImageData
    from tlkit.data.images import images_from_folder, images_from_table
    from tlkit.models.image import image_classifier
    from tlkit.models.task import Task
    from tlkit.training.learner import Learner

_HOMES = {
    "ImageData": "tlkit.data.image_data",
    "Learner": "tlkit.training.learner",
    "Task": "tlkit.models.task",
    "image_classifier": "tlkit.models.image",
    "images_from_folder": "tlkit.data.images",
    "images_from_table": "tlkit.data.images",
}

__all__ = [
    "ImageData",
    "Learner",
    "Task",
    "__version__",
    "image_classifier",
    "images_from_folder",
    "images_from_table",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'tlkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
