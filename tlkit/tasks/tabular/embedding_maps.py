"""Maps of embeddings: categories that mean the same to the model lie side by side."""

from __future__ import annotations

import dataclasses
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from tlkit.errors import DataError
from tlkit.report import table_plots
from tlkit.tasks.tabular.embedding_tables import TableForm, embedding_tables, write_embedding_tables

if TYPE_CHECKING:
    import pandas as pd

    from tlkit.models.task import Task

WIDTH, HEIGHT, FONT = 720.0, 480.0, 12.0  # pixels
_MARGIN = 46.0
Anchor = Literal["start", "middle", "end"]
_LONGEST = 24  # characters of a label
_DRAWN = 3000  # points
_DOT = 3.0  # radius
_AWAY = (4.0, 12.0, 22.0, 34.0, 48.0)  # pixels between a point and its label, tried one after the other
_TURNS = np.array([0, 180, 90, 270, 45, 135, 225, 315]) * np.pi / 180


@dataclasses.dataclass(frozen=True)
class MapLabel:
    """The name of a point.

    Attributes:
        text: the category, cut where it is long; empty where there was no room for it.
        x: where the text is anchored, pixels from the left.
        y: middle of the text, pixels from the top.
        anchor: `"start"` where the text begins at `x`, `"end"` where it ends there, or `"middle"`.
        line: end of a line from the point, pixels; None where the text stands so near that it needs none.
    """

    text: str
    x: float
    y: float
    anchor: Anchor = "middle"
    line: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """Categories on a plane, with their labels placed so that they do not cover each other.

    Attributes:
        values: the categories that are drawn.
        points: where they are, pixels from the upper left corner, float64 [m, 2].
        labels: one for each of them.
        special: whether each is the unknown or the missing category.
        explained: parts of the variance that the two directions hold, 0..1.
        dimensions: of the embedding.
        total: how many categories the table has.
    """

    values: tuple[str, ...]
    points: npt.NDArray[np.float64]
    labels: tuple[MapLabel, ...]
    special: tuple[bool, ...]
    explained: tuple[float, float]
    dimensions: int
    total: int

    @property
    def note(self) -> str:
        """What the picture shows and what it leaves out."""
        named = sum(bool(label.text) for label in self.labels)
        held = f"2 directions hold {100 * sum(self.explained):.0f} % of the variance of {self.dimensions} dimensions"
        shown = "" if named == self.total + 2 else f", {len(self.values):,} points drawn, {named:,} of them named"
        return f"{held}; {self.total:,} categories, unknown and missing{shown}"


def map_of(table: pd.DataFrame, *, most: int = 60) -> EmbeddingMap:
    """Lay out the two directions of largest variance (principal components) of an embedding.

    Both directions have the same scale, so that distances compare. The directions are those of the known categories;
    unknown and missing ones are drawn beside them.

    Args:
        table: as `embedding_tables` gives it.
        most: how many categories get a label at most; of more, those that are spread over the map.

    Returns:
        An `EmbeddingMap`.

    Raises:
        DataError: the table has no known category, or a vector is not finite.
    """
    vectors = table.iloc[:, 1:].to_numpy(np.float64)
    if len(vectors) < 3 or not vectors.shape[1] or not np.isfinite(vectors).all():
        raise DataError("a map needs categories with finite vectors", received=f"a table of {vectors.shape}")
    known = vectors[2:]
    _, sizes, directions = np.linalg.svd(known - known.mean(axis=0), full_matrices=False)
    # The sign of a component means nothing: fix it, so that the same table gives the same map.
    largest = np.abs(directions).argmax(axis=1)
    directions *= np.sign(directions[np.arange(len(directions)), largest])[:, None]
    flat = (vectors - known.mean(axis=0)) @ directions[:2].T
    flat = np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
    share = np.square(sizes) / (np.square(sizes).sum() or 1.0)
    share = np.pad(share, (0, max(0, 2 - len(share))))
    chosen = np.arange(len(vectors))
    if len(chosen) > _DRAWN:
        chosen = np.sort(np.random.default_rng(0).permutation(len(vectors))[:_DRAWN])
    points = _on_canvas(flat[chosen])
    texts = table["value"].iloc[chosen].map(_shorter).tolist()
    return EmbeddingMap(
        values=tuple(table["value"].iloc[chosen]),
        points=points,
        labels=tuple(_placed(points, texts, most)),
        special=tuple((chosen < 2).tolist()),
        explained=(float(share[0]), float(share[1])),
        dimensions=vectors.shape[1],
        total=len(vectors) - 2,
    )


def embedding_map(table: pd.DataFrame, path: str | Path, *, title: str = "", most: int = 60) -> Path:
    """Draw a map of an embedding and write it as a picture.

    Example:
        >>> embedding_map(embedding_tables(task)["carrier"], "carrier.png", title="carrier")

    Args:
        table: as `embedding_tables` gives it.
        path: .png, .svg or .pdf; folders are made.
        title: heading; the name of the column when left out.
        most: see `map_of`.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is another.
        DataError: the table has no known category, or a vector is not finite.
    """
    found = map_of(table, most=most)
    return table_plots.plot_map(
        title or str(table.attrs.get("column", "embedding")),
        found.points,
        found.labels,
        size=(WIDTH, HEIGHT),
        font=FONT,
        note=found.note,
        path=Path(path),
    )


def _on_canvas(flat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low, high = flat.min(axis=0), flat.max(axis=0)
    room = np.array([WIDTH, HEIGHT]) - 2 * _MARGIN
    scale = (room / np.maximum(high - low, 1e-12)).min() if (high > low).any() else 1.0
    moved = (flat - (low + high) / 2) * scale
    return np.stack([WIDTH / 2 + moved[:, 0], HEIGHT / 2 - moved[:, 1]], axis=1)


def _placed(points: npt.NDArray[np.float64], texts: list[str], most: int) -> list[MapLabel]:
    """Give each point in turn the nearest free place for its label, none where there is no room."""
    labels = [MapLabel("", float(x), float(y)) for x, y in points]
    taken = np.zeros((0, 4))  # left, top, right, bottom
    dots = np.concatenate([points - _DOT, points + _DOT], axis=1)
    for number in _spread(points, min(most, len(points))):
        width, height = _width(texts[number]), 1.2 * FONT
        boxes, far = _candidates(points[number], width, height)
        inside = (boxes[:, :2] >= 2).all(axis=1) & (boxes[:, 2] <= WIDTH - 2) & (boxes[:, 3] <= HEIGHT - 2)
        free = inside & (_overlaps(boxes, taken) == 0)
        if not free.any():
            continue
        # Of the free places the one that covers the fewest points, between equals the nearest.
        best = int(np.where(free, _overlaps(boxes, dots), np.inf).argmin())
        taken = np.concatenate([taken, boxes[best : best + 1]])
        labels[number] = _label(texts[number], points[number], boxes[best], led=bool(far[best] > _AWAY[1]))
    return labels


def _label(text: str, point: npt.NDArray[np.float64], box: npt.NDArray[np.float64], *, led: bool) -> MapLabel:
    left, top, right, bottom = box.tolist()
    anchor: Anchor = "start" if left > point[0] else "end" if right < point[0] else "middle"
    x = {"start": left, "end": right, "middle": (left + right) / 2}[anchor]
    # To the nearest place of the text's box, a little inside where letters are not as high as it.
    line = (float(np.clip(point[0], left, right)), float(np.clip(point[1], top + 3, bottom - 3)))
    return MapLabel(text, x, (top + bottom) / 2, anchor, line if led else None)


def _candidates(
    point: npt.NDArray[np.float64], width: float, height: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    away, turn = (grid.ravel() for grid in np.meshgrid(np.array(_AWAY) + _DOT, _TURNS, indexing="ij"))
    middle_x = point[0] + np.cos(turn) * (away + width / 2)
    middle_y = point[1] - np.sin(turn) * (away + height / 2)
    sides = [middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2]
    return np.stack(sides, axis=1), away - _DOT


def _overlaps(boxes: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Count for each box how many of the others it overlaps."""
    apart = (boxes[:, None, :2] >= others[None, :, 2:]) | (boxes[:, None, 2:] <= others[None, :, :2])
    return (~apart.any(axis=2)).sum(axis=1)


def _spread(points: npt.NDArray[np.float64], count: int) -> list[int]:
    """Order points so that each is as far as can be from those before it (Gonzalez 1985)."""
    distances = np.square(points - points.mean(axis=0)).sum(axis=1)
    order: list[int] = []
    for _ in range(count):
        order.append(int(distances.argmax()))
        near = np.square(points - points[order[-1]]).sum(axis=1)
        distances = np.minimum(distances, near) if len(order) > 1 else near
        distances[order] = -1.0
    return order


def _shorter(text: str) -> str:
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split()) or "(blank)"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _width(text: str) -> float:
    """Estimate the width of a text in pixels, on the wide side."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return FONT * (0.64 * (len(text) - wide) + 1.05 * wide) + 2


def write_with_maps(
    task: Task, folder: Path, form: TableForm, *, overwrite: bool = False, maps: Path | None = None
) -> list[Path]:
    """Write the tables of a network's embeddings, and a map of each; return the files.

    Args:
        task: a trained one.
        folder: for the tables; see `write_embedding_tables`.
        form: `"csv"` or `"parquet"`.
        overwrite: replace the tables of an earlier call.
        maps: a folder for the maps; None draws none.
    """
    files = write_embedding_tables(task, folder, form, overwrite=overwrite)
    if maps is not None:
        for file, (name, table) in zip(list(files), embedding_tables(task).items(), strict=True):
            files.append(embedding_map(table, maps / f"embedding_{file.stem}.png", title=name))
    return files
