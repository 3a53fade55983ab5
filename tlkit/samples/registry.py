"""Sample data made from what Python packages ship: real photographs, reviews and flights, through pip alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tlkit.errors import ConfigError, ProjectError, did_you_mean
from tlkit.samples import flights, ratings, reviews, surfaces

_SAMPLES = {"surfaces": surfaces, "reviews": reviews, "flights": flights, "ratings": ratings}


def names() -> dict[str, str]:
    """Give the samples there are: name -> what it holds."""
    return {name: sample.describe() for name, sample in _SAMPLES.items()}


def get(name: str, directory: str | Path) -> Path:
    """Write a sample: photos as `DIRECTORY/{train,val}/class/photo.jpg`, tables as `DIRECTORY/{train,…}.csv`.

    Example:
        >>> get("surfaces", "photos")
        PosixPath('photos')

    Args:
        name: a key of `names()`.
        directory: where to write; must not exist, or be empty.

    Returns:
        The directory.

    Raises:
        ConfigError: there is no such sample.
        ProjectError: the directory is not empty or cannot be written.
        DataError: a package that the sample is made from is missing, or could not be fetched.
    """
    if name not in _SAMPLES:
        raise ConfigError("unknown sample", received=name, allowed=_SAMPLES, fix=did_you_mean(name, _SAMPLES) or None)
    target = Path(directory)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ProjectError("the folder for the sample exists and is not empty", received=str(target))
    temporary = target.with_name(f".tmp-{os.getpid()}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        _SAMPLES[name].write(temporary)
        if target.exists():
            target.rmdir()
        temporary.replace(target)
    except OSError as error:
        raise ProjectError(f"the sample cannot be written: {error.strerror}", received=str(target)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target
