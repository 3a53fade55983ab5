"""Where the base paths of a models.config lie on this machine."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

#: Where the tensorflow/serving image has its models, and so the files that tlkit renders.
CONTAINER_ROOT = PurePosixPath("/models")


def local_base_path(base_path: str, root: Path | None) -> Path:
    """Give the folder of a model's versions.

    A models.config names folders of the container that it is made for; one file shall do for the container and for
    this machine.

    Example:
        >>> local_base_path("/models/bees", Path("saved_models"))
        PosixPath('saved_models/bees')

    Args:
        base_path: as the configuration has it.
        root: the folder that stands for /models, or None to take every path as it is.

    Returns:
        The path, below `root` if it begins with /models/.
    """
    path = PurePosixPath(base_path)
    if root is not None and path.is_relative_to(CONTAINER_ROOT) and ".." not in path.parts:
        return root / path.relative_to(CONTAINER_ROOT)
    return Path(base_path)
