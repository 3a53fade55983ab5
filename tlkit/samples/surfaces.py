"""The sample `surfaces`: crops of photographs that scikit-image ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tlkit.errors import DataError

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


def describe() -> str:
    """Say in one line what the sample holds."""
    crops = sum(_COUNTS.values()) * len(_SURFACES)
    return f"{crops} crops of scikit-image's sample images: {', '.join(_SURFACES)}; needs tlkit[samples]"


def write(folder: Path) -> None:
    """Write `FOLDER/{train,val}/class/photo.jpg`.

    Training and validation crops come from different regions of each photograph, with a seam between them, so that
    no pixel is in both.

    Args:
        folder: where to write; made where it is missing.

    Raises:
        DataError: scikit-image is not installed.
    """
    try:
        from skimage import data as photographs
    except ImportError as error:
        raise DataError("this sample needs scikit-image", fix='pip install "tlkit[samples]"') from error
    for label, (class_name, source) in enumerate(_SURFACES.items()):
        _write_crops(_as_rgb(getattr(photographs, source)()), folder, class_name, seed=label)


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
