"""Former place of the targets, which `model.py` of projects made by 0.1 and 0.2 imports; see `tlkit.targets`."""

from __future__ import annotations

from tlkit.targets.base import Target as Target
from tlkit.targets.regression import fit_target as fit_target
