"""Download with the clients of Keras, Hugging Face and Kaggle, which are imported only when needed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tlkit.catalogue.records import ImageBackbone
from tlkit.errors import WeightsError


def keras_folder() -> Path:
    """Return the folder in which Keras keeps downloaded weights: $KERAS_HOME/models, else ~/.keras/models."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"


def keras_url(row: ImageBackbone, name: str) -> str:
    """Return the address of a file of weights, as the module that defines the builder in the installed Keras
    has it.

    Args:
        row: a row with a builder of keras.applications.
        name: the file's name.

    Returns:
        The address.

    Raises:
        WeightsError: this Keras defines none.
    """
    import keras

    # The networks of resnet_v2 use the addresses in the module of the first ResNets.
    builder = "ResNet50" if row.family == "resnet-v2" else row.builder
    constants = vars(keras.applications)[builder].__globals__.values()
    addresses = [value for value in constants if isinstance(value, str) and value.startswith("https://")]
    server_name = row.weights_url_file or name
    whole = [address for address in addresses if address.endswith("/" + server_name)]
    bases = [address + server_name for address in addresses if address.endswith("/")]
    if not whole and not bases:
        raise WeightsError(f"Keras {keras.__version__} does not list the URL of the weights of {row.name}")
    return (whole or bases)[0]


def fetch_from_keras(row: ImageBackbone, path: Path) -> None:
    """Download the weights file of a row with Keras, and move it into place when it is complete.

    Args:
        row: the row.
        path: where it has to go.

    Raises:
        WeightsError: the download failed or its hash is wrong; the message holds the reason.
    """
    import keras

    address = keras_url(row, path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".tmp-") as folder:
        try:
            got = keras.utils.get_file(
                path.name, address, cache_dir=folder, cache_subdir="models", file_hash=row.weights_hash
            )
        except Exception as error:  # of many kinds, of several libraries
            raise WeightsError(f"Keras' download failed: {error}") from error
        Path(got).replace(path)


def fetch_from_hub(source: str) -> Path:
    """Download a file from Hugging Face or Kaggle with their own client, with the user's own credentials.

    Args:
        source: `hf://owner/repo[@revision]/file` or
            `kaggle://owner/model/framework/variation[/version]/file`.

    Returns:
        Where the client put it.

    Raises:
        WeightsError: the source is malformed, the client is missing, or the download failed.
    """
    scheme, _, rest = source.partition("://")
    parts = rest.split("/")
    if not all(parts) or len(parts) < (3 if scheme == "hf" else 5):
        form = (
            "hf://owner/repo[@revision]/file"
            if scheme == "hf"
            else "kaggle://owner/model/framework/variation[/version]/file"
        )
        raise WeightsError("the source is not complete", received=source, allowed=form)
    try:
        return _from_hugging_face(parts) if scheme == "hf" else _from_kaggle(parts)
    except ImportError as error:
        raise WeightsError(f"its client is not installed: {error}") from error
    except Exception as error:  # of many kinds, of several libraries
        raise WeightsError(f"the download failed: {type(error).__name__}: {error}") from error


# Files that are read from a repository with an encoder; never a pickle, which can run code.
_ENCODER_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "1_Pooling/config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    "model.weights.h5",
    "model.weights.json",
    "model_*.weights.h5",
    "assets/tokenizer/*",
)


def fetch_encoder(source: str, fetch: bool = True) -> Path | None:
    """Find a text encoder in the cache of Hugging Face's or Kaggle's client, or let the client download it.

    Args:
        source: `hf://owner/repo[@revision]` or `kaggle://owner/model/framework/variation[/version]`.
        fetch: False looks on this machine only.

    Returns:
        The client's own folder, or None where `fetch` is False and the client has not downloaded it.

    Raises:
        WeightsError: the source is malformed, the client is missing, or the download failed.
    """
    scheme, _, rest = source.partition("://")
    parts = rest.split("/")
    if not all(parts) or not (len(parts) == 2 if scheme == "hf" else len(parts) in (4, 5)):
        form = "hf://owner/repo[@revision]" if scheme == "hf" else "kaggle://owner/model/framework/variation[/version]"
        raise WeightsError("the source is not a repository with an encoder", received=source, allowed=form)
    try:
        if scheme == "hf":
            return _repository(parts[0], parts[1], fetch)
        return _kaggle_model(parts, fetch)
    except ImportError as error:
        raise WeightsError(f"its client is not installed: {error}") from error
    except Exception as error:  # of many kinds, of several libraries
        raise WeightsError(f"the download failed: {type(error).__name__}: {error}") from error


def _repository(owner: str, name: str, fetch: bool) -> Path | None:
    import huggingface_hub

    name, _, revision = name.partition("@")
    try:
        folder = huggingface_hub.snapshot_download(
            f"{owner}/{name}",
            revision=revision or None,
            allow_patterns=list(_ENCODER_FILES),
            local_files_only=not fetch,
        )
    except FileNotFoundError:  # the client's LocalEntryNotFoundError is one
        if fetch:
            raise
        return None
    return Path(folder)


def _kaggle_model(parts: list[str], fetch: bool) -> Path | None:
    if fetch:
        import kagglehub

        return Path(kagglehub.model_download("/".join(parts)))
    # The client's own folders: its import takes half a second, and every row is asked for in `tlkit weights list`.
    cache = Path(os.environ.get("KAGGLEHUB_CACHE") or "~/.cache/kagglehub").expanduser()
    variation = cache.joinpath("models", *parts[:4])
    versions = [variation / parts[4]] if len(parts) == 5 else [path for path in variation.glob("*") if path.is_dir()]
    numbered = sorted((path for path in versions if path.name.isdigit()), key=lambda path: int(path.name))
    whole = [path for path in numbered if path.is_dir() and _kaggle_finished(path)]
    return whole[-1] if whole else None


def _kaggle_finished(folder: Path) -> bool:
    """Return whether the client finished the download, of all files at once or of each file."""
    if folder.with_name(f"{folder.name}.complete").exists():
        return True
    markers = folder.parent / ".complete" / folder.name
    files = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]
    return bool(files) and all((markers / f"{file}.complete").exists() for file in files)


def _from_hugging_face(parts: list[str]) -> Path:
    import huggingface_hub

    repository, _, revision = parts[1].partition("@")
    file = "/".join(parts[2:])
    return Path(huggingface_hub.hf_hub_download(f"{parts[0]}/{repository}", file, revision=revision or None))


def _from_kaggle(parts: list[str]) -> Path:
    import kagglehub

    end = 5 if len(parts) > 5 and parts[4].isdigit() else 4
    return Path(kagglehub.model_download("/".join(parts[:end]), path="/".join(parts[end:])))
