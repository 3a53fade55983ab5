"""The row groups of a Parquet file, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkit.errors import DataError
from tlkit.inputs.files.source import tidy, without_arrow
from tlkit.inputs.files.table_files import check_header, parquet_errors

if TYPE_CHECKING:
    import pandas as pd


class RowGroups:
    """A Parquet file as a sequence of row groups, each of which fits into memory.

    Example:
        >>> groups = RowGroups("sales.parquet")
        >>> len(groups), groups.read(0).shape
        (40, (250000, 12))

    Args:
        path: the file.
        missing: texts that stand for no value, besides the empty one.

    Attributes:
        sizes: rows of each group.
        columns: their names.

    Raises:
        DataError: the file cannot be read, or has no rows.
    """

    def __init__(self, path: str | Path, missing: Sequence[str] = ()):
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.origin = str(path)
        self._path = Path(path).expanduser()
        self._missing = list(missing)
        with parquet_errors(self.origin), pq.ParquetFile(self._path) as file:
            sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
            schema = file.schema_arrow
        check_header(schema.names, self.origin)
        if not sum(sizes):
            raise DataError("the table has no rows", received=self.origin)
        self.sizes = sizes
        self.columns = [str(name) for name in schema.names]
        self._whole = [field.name for field in schema if pa.types.is_integer(field.type)]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def starts(self) -> np.ndarray:
        """Number of the first row of each group, int64 [G + 1]; the last is the number of all rows."""
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    def read(self, number: int, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read one group: whole numbers stay whole numbers in every group, whether values are missing or not."""
        import pandas as pd
        import pyarrow.parquet as pq

        with pq.ParquetFile(self._path) as file:
            table = file.read_row_group(number, columns=columns)
        frame = table.to_pandas(ignore_metadata=True)
        for name in self._whole:
            if name in frame.columns:  # from Arrow: as floats, numbers beyond 2**53 would have lost digits
                kind = pd.ArrowDtype(table.schema.field(name).type)
                frame[name] = without_arrow(pd.Series(table[name], dtype=kind))
        frame = tidy(frame)
        for name in frame.columns if self._missing else ():
            if isinstance(frame[name].dtype, pd.StringDtype):
                frame[name] = frame[name].mask(frame[name].isin(self._missing))
        return frame
