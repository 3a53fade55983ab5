"""Downloads that other libraries do for us: Keras, Hugging Face, Kaggle; imported only when needed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tlkit.catalogue.records import ImageBackbone
from tlkit.errors import WeightsError


def keras_folder() -> Path:
    """Return where Keras keeps downloaded weights: $KERAS_HOME/models, else ~/.keras/models."""
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

    # The networks of resnet_v2 take their files from where the module of the first ResNets says.
    builder = "ResNet50" if row.family == "resnet-v2" else row.builder
    constants = vars(keras.applications)[builder].__globals__.values()
    addresses = [value for value in constants if isinstance(value, str) and value.startswith("https://")]
    server_name = row.weights_url_file or name
    whole = [address for address in addresses if address.endswith("/" + server_name)]
    bases = [address + server_name for address in addresses if address.endswith("/")]
    if not whole and not bases:
        raise WeightsError(f"Keras {keras.__version__} does not say where the weights of {row.name} are")
    return (whole or bases)[0]


def fetch_from_keras(row: ImageBackbone, path: Path) -> None:
    """Download a row's file of weights with Keras and move it into place when it is whole.

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


def _from_hugging_face(parts: list[str]) -> Path:
    import huggingface_hub

    repository, _, revision = parts[1].partition("@")
    file = "/".join(parts[2:])
    return Path(huggingface_hub.hf_hub_download(f"{parts[0]}/{repository}", file, revision=revision or None))


def _from_kaggle(parts: list[str]) -> Path:
    import kagglehub

    end = 5 if len(parts) > 5 and parts[4].isdigit() else 4
    return Path(kagglehub.model_download("/".join(parts[:end]), path="/".join(parts[end:])))
