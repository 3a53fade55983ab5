"""Former place of `tlkit.inputs.row.preprocessing`, which `model.py` of projects made by 0.1 and 0.2 imports."""

from __future__ import annotations

from tlkit.inputs.row.preprocessing import TablePreprocessing as TablePreprocessing
