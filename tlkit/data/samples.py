"""Sample data made from photographs that Python packages ship: real pictures without a download."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from tlkit.errors import ConfigError, DataError, ProjectError, did_you_mean

_CROP = 112
_SEAM = 16
_COUNTS = {"train": 24, "val": 12}
_SURFACES = {
    "brick": "brick",
    "grass": "grass",
    "gravel": "gravel",
    "stars": "hubble_deep_field",
    "tissue": "immunohistochemistry",
}


def names() -> dict[str, str]:
    """Give the samples there are: name -> what it holds."""
    crops = sum(_COUNTS.values()) * len(_SURFACES)
    return {"surfaces": f"{crops} crops of scikit-image's photographs: {', '.join(_SURFACES)}; needs tlkit[samples]"}


def get(name: str, directory: str | Path) -> Path:
    """Write a sample as `DIRECTORY/{train,val}/class/photo.jpg`.

    Training and validation crops come from different regions of each photograph, with a seam between them, so that
    no pixel is in both.

    Example:
        >>> get("surfaces", "photos")
        PosixPath('photos')

    Args:
        name: a key of `names()`.
        directory: where to write; must not exist, or be empty.

    Returns:
        The directory.

    Raises:
        ConfigError: there is no such sample.
        ProjectError: the directory is not empty or cannot be written.
        DataError: scikit-image is not installed.
    """
    if name not in names():
        raise ConfigError("unknown sample", received=name, allowed=names(), fix=did_you_mean(name, names()) or None)
    target = Path(directory)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ProjectError("the folder for the sample exists and is not empty", received=str(target))
    try:
        from skimage import data as photographs
    except ImportError as error:
        raise DataError("this sample needs scikit-image", fix='pip install "tlkit[samples]"') from error
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".tmp-{os.getpid()}-{target.name}")
    try:
        for label, (class_name, source) in enumerate(_SURFACES.items()):
            _write_crops(_as_rgb(getattr(photographs, source)()), temporary, class_name, seed=label)
        if target.exists():
            target.rmdir()
        temporary.replace(target)
    except OSError as error:
        raise ProjectError(f"the sample cannot be written: {error.strerror}", received=str(target)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def regions(width: int) -> dict[str, tuple[int, int]]:
    """Divide the columns of a photograph: the left part for training, the right part for validation, a seam between."""
    border = max(round(width * 0.62), _CROP)
    return {"train": (0, border), "val": (border + _SEAM, width)}


def _write_crops(photograph: np.ndarray, target: Path, class_name: str, seed: int) -> None:
    import tensorflow as tf

    random = np.random.default_rng(seed)
    for split, (left, right) in regions(photograph.shape[1]).items():
        folder = target / split / class_name
        folder.mkdir(parents=True)
        for number in range(_COUNTS[split]):
            x = random.integers(left, right - _CROP + 1)
            y = random.integers(0, photograph.shape[0] - _CROP + 1)
            crop = photograph[y : y + _CROP, x : x + _CROP]
            content = tf.io.encode_jpeg(crop, quality=92).numpy()
            (folder / f"{class_name}_{number:02d}.jpg").write_bytes(content)


def _as_rgb(photograph: np.ndarray) -> np.ndarray:
    return np.repeat(photograph[..., None], 3, axis=-1) if photograph.ndim == 2 else photograph[..., :3]
