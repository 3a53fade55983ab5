"""What clients may read of a message that was written for the operator: no paths of the server's file system."""

from __future__ import annotations

import re
from pathlib import Path

#: A path from the root on, but no URL and no part of a relative path.
_ABSOLUTE = re.compile(r"(?<![\w.:/~-])/(?:[^\s/'\"]+/)*([^\s/'\"]+)/?")


def public_message(message: str, base_path: Path) -> str:
    """Return a message with paths relative to the model's base path, and of other paths the last name alone.

    Example:
        >>> public_message("there is no saved_model.pb in /srv/models/photos/3", Path("/srv/models/photos"))
        'there is no saved_model.pb in 3'

    Args:
        message: as the log has it.
        base_path: the folder of the model's versions.

    Returns:
        The message for the status of a version.
    """
    places = {str(base_path), str(base_path.absolute()), str(base_path.resolve())} - {".", "/"}
    for place in sorted(places, key=len, reverse=True):
        start = rf"(?<![\w./~-]){re.escape(place)}"
        message = re.sub(rf"{start}/(?=[^\s/])", "", message)
        message = re.sub(rf"(?:the base path )?{start}/?(?![\w.-])", "the base path", message)
    return _ABSOLUTE.sub(r"\1", message)
