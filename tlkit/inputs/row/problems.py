"""All that is wrong with a table at once, not one column a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tlkit.errors import DataError, SeveralDataError


class Problems:
    """Collects the errors about columns and targets, so that all of them are raised together.

    Example:
        >>> problems = Problems()
        >>> for name in frame.columns:
        ...     with problems.of(name):
        ...         check_finite(frame[name], name, place)
        >>> problems.raise_all()

    Attributes:
        found: column -> the first thing that is wrong with it.
    """

    def __init__(self) -> None:
        self.found: dict[str, DataError] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Keep a `DataError` that the block raises as what is wrong with a column."""
        try:
            yield
        except DataError as error:
            self.found.setdefault(name, error)

    def raise_all(self, fix: str | None = None) -> None:
        """Raise what was found: a single error as it was, several as one `SeveralDataError` with a line for each.

        Args:
            fix: what else can be done about all of them.

        Raises:
            DataError: something was found.
        """
        errors = list(self.found.values())
        if not errors:
            return
        if len(errors) == 1:
            raise errors[0] if fix is None else DataError(str(errors[0]), fix=fix) from errors[0]
        raise SeveralDataError(f"{len(errors)} columns cannot be used", errors, fix=fix) from errors[0]
