"""Images and texts in batches, with the item named that was refused; the same for an export and for a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tlkit.inputs.base import InputSpec
from tlkit.lazy import loaded


def predict_contents(
    items: Sequence[Any],
    spec: InputSpec,
    batch_size: int,
    predict: Callable[[list[str], np.ndarray], list[dict[str, Any]]],
    refusal: Callable[[Exception], str | None],
    max_pixels: int | None = None,
) -> list[dict[str, Any]]:
    """Predict images or texts; those of similar length together, where a batch costs what its longest item costs.

    Args:
        items: paths of images, or texts.
        spec: of the input.
        batch_size: items that are run together.
        predict: what records call the items of a batch, and their contents, bytes objects [n] -> a record for each.
        refusal: an error of `predict` -> what it says of the items; None where it is about something else.
        max_pixels: the largest width x height that the export decodes, where it is known.

    Returns:
        A record for each item, in their order.

    Raises:
        DataError: an item is none, cannot be read, or was refused; the message names it.
    """
    given = loaded(spec.items)
    checked: list[Any] = [given.checked(item, at) for at, item in enumerate(items)]
    order = sorted(range(len(items)), key=lambda at: len(checked[at])) if spec.by_length else range(len(items))
    found: list[Any] = [None] * len(items)
    for start in range(0, len(items), batch_size):
        places = order[start : start + batch_size]
        contents = np.empty(len(places), object)
        contents[:] = [given.content(checked[at]) for at in places]
        try:
            records = predict([str(items[at]) for at in places], contents)
        except Exception as error:
            if refusal(error) is None:
                raise
            for at, data in zip(places, contents, strict=True):  # the error does not say which one it was
                one = error if len(places) == 1 else _error_of(predict, str(items[at]), data)
                if one is not None:
                    if (said := refusal(one)) is None:
                        raise one from None
                    raise given.refusal(items[at], at, data=data, max_pixels=max_pixels, said=said) from one
            raise
        for at, record in zip(places, records, strict=True):
            found[at] = record
    return found


def _error_of(predict: Callable[[list[str], np.ndarray], Any], name: str, data: bytes) -> Exception | None:
    """Return why one item cannot be predicted."""
    contents = np.empty(1, object)
    contents[0] = data
    try:
        predict([name], contents)
    except Exception as error:  # noqa: BLE001 - the caller says what it is about
        return error
    return None
