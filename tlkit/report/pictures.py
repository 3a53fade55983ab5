"""Pictures inside a page."""

from __future__ import annotations

import base64
import dataclasses


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture, stored in the page.

    Attributes:
        content: the bytes of a JPEG.
        caption: what it shows, in words, also for those who do not see it.
    """

    content: bytes
    caption: str

    @property
    def source(self) -> str:
        """The picture as the source of an `img` element."""
        return "data:image/jpeg;base64," + base64.b64encode(self.content).decode()
