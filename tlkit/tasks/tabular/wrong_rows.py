"""The former place of `tlkit.targets.wrong_items`."""

from tlkit.targets.wrong_items import WrongItem as WrongRow
from tlkit.targets.wrong_items import most_wrong_items as most_wrong_rows

__all__ = ["WrongRow", "most_wrong_rows"]
