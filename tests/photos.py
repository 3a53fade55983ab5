"""Makes small photo collections for tests: coloured noise, one hue for each class, so that a tiny network can learn."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
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


def write_tagged(root: Path, tags: Sequence[str], count: int) -> pd.DataFrame:
    """Write `count` photos and return a table of their paths and labels, with ";" between these.

    Photo n has the tags whose bits n has: each tag brightens a colour channel.
    """
    root.mkdir(parents=True)
    rows = []
    for number in range(count):
        own = [place for place in range(len(tags)) if number >> place & 1]
        pixels = np.random.default_rng(number).integers(0, 110, (5, 6, 3))
        pixels[..., own] += 140
        image = Image.fromarray(pixels.astype(np.uint8)).resize((48, 40), Image.Resampling.BICUBIC)
        (root / f"{number:02d}.png").write_bytes(encode(image))
        rows.append({"path": f"{number:02d}.png", "label": ";".join(tags[place] for place in own)})
    return pd.DataFrame(rows)


def write_values(root: Path, count: int = 40) -> Path:
    """Write photos of rising brightness, and photos.csv with what can be predicted from them; returns the table."""
    root.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    rows = []
    for number in range(count):
        brightness = 20 + 200 * number // count
        pixels = np.clip(random.normal(brightness, 8, (40, 48, 3)), 0, 255)
        (root / f"{number:03d}.png").write_bytes(encode(Image.fromarray(pixels.astype(np.uint8))))
        died = random.exponential(300 * np.exp(-4 * number / count))
        rows.append(
            {
                "file": f"{number:03d}.png", "brightness": brightness + 0.25, "price": f"{brightness},50 €",
                "half": "dark" if number < count // 2 else "light", "site": f"s{number // 4}",
                "days": round(min(died, 200.0) + 0.1, 2), "died": int(died <= 200),
            }
        )  # fmt: skip
    pd.DataFrame(rows).to_csv(root / "photos.csv", index=False)
    return root / "photos.csv"


@functools.cache
def read_once(folder: Path, **options):
    """What `tlkit.images_from_folder` gives, kept for later tests; treat it as read-only."""
    import tlkit

    return tlkit.images_from_folder(folder, **options)
