"""Makes small photo collections for tests: coloured noise, one hue for each class, so that a tiny network can learn."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image


def photo(seed: int = 0, hue: int = 0, width: int = 48, height: int = 40) -> Image.Image:
    """A smooth random picture in which colour channel `hue` is bright."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 110, (5, 6, 3))
    small[..., hue % 3] += 140
    return Image.fromarray(small.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_folder(root: Path, counts: dict[str, int], **options) -> Path:
    """Write `root/class/number.jpg`, `counts[class]` photos each."""
    for hue, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            content = encode(photo(100 * hue + number, hue, **options), "JPEG", quality=92)
            (root / name / f"{number:02d}.jpg").write_bytes(content)
    return root
