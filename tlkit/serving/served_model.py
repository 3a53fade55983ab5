"""What is to be served under one name: a base path and which of its versions, as data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tlkit.errors import ExportError
from tlkit.export.manifest import holds_graph, version_number
from tlkit.export.model_name import check_model_name


@dataclass(frozen=True)
class ServedModel:
    """One model of a server.

    Example:
        >>> ServedModel("photos", Path("saved_models/photos")).chosen([1, 2, 10])
        [10]

    Args:
        name: what clients call it.
        base_path: the folder of its versions.
        latest: so many of the newest versions are served; 0 for all. Ignored where `specific` is given.
        specific: exactly these versions.
        labels: label -> version, such as {"stable": 3, "canary": 4}.
        folder: one version folder that is served as the only version of `specific`, whatever it is called.

    Raises:
        ConfigError: no client could reach a model of this name.
    """

    name: str
    base_path: Path
    latest: int = 1
    specific: tuple[int, ...] = ()
    labels: dict[str, int] = field(default_factory=dict)
    folder: Path | None = None

    def __post_init__(self) -> None:
        check_model_name(self.name)

    def chosen(self, versions: Iterable[int]) -> list[int]:
        """Return those of the versions that the policy serves, newest first."""
        newest = sorted(set(versions), reverse=True)
        if self.specific:
            return [version for version in newest if version in self.specific]
        return newest[: self.latest] if self.latest else newest


def model_at(path: Path, name: str | None = None) -> ServedModel:
    """Return the model that a person means by one path.

    Example:
        >>> model_at(Path("saved_models/photos")).name
        'photos'

    Args:
        path: a version folder, which is then the only one served, or a folder of versions, of which the newest is.
        name: what clients call it; the name of the folder of versions by default, of a link to it the link's own.

    Returns:
        The model. A folder that is not called like a version is version 1 of a model named as the folder.

    Raises:
        ExportError: there is no SavedModel.
    """
    if not path.is_dir():
        raise ExportError(f"there is no export at {path}", fix="run `tlkit export`")
    full = _named(path)
    if holds_graph(path):
        for folder in (full, path.resolve()):  # a link may lead to a version
            number = version_number(folder.name)
            if number is not None and folder.parent.name:
                return ServedModel(name or folder.parent.name, folder.parent, specific=(number,), folder=path)
        return ServedModel(name or full.name, full.parent, specific=(1,), folder=path)
    if not any(version_number(child.name) is not None and holds_graph(child) for child in path.iterdir()):
        raise ExportError(
            f"{path} contains no SavedModel",
            allowed="a version folder with a saved_model.pb, or a folder of such versions (1, 2, ...)",
            fix="run `tlkit export`",
        )
    return ServedModel(name or full.name, path)


def _named(path: Path) -> Path:
    """Return the absolute path with links called as they are; only what `..` follows is resolved, as it has to be."""
    parts = path.absolute().parts
    end = max((number for number, part in enumerate(parts, 1) if part == ".."), default=1)
    return Path(*parts[:end]).resolve().joinpath(*parts[end:])
