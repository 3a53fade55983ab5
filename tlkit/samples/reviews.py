"""The sample `reviews`: snippets of film reviews with people's ratings, from the source archive of vaderSentiment."""

from __future__ import annotations

import html
import io
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from tlkit.catalogue import pip
from tlkit.errors import DataError
from tlkit.inputs.splits import split_with_copies
from tlkit.inputs.text.findings import copy_numbers
from tlkit.separated import separated_writer

_PACKAGE, _VERSION = "vaderSentiment", "0.5"
_SHA256 = "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a"
_ARCHIVE = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
_MEMBER = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
_NEUTRAL = 0.5
_HELD_OUT = 0.1


def describe() -> str:
    """Say in one line what the sample holds."""
    return "10,072 sentences from film reviews, labelled positive or negative; downloaded with pip (2.4 MB)"


def write(folder: Path) -> None:
    """Write `FOLDER/{train,val,test}.csv` with the columns text and label, 8 : 1 : 1.

    The ratings are of Hutto & Gilbert (2014), "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social
    Media Text": the mean of 15 to 20 people's, from -4 to 4. From 0.5 a snippet is positive, from -0.5 down negative;
    those between (533 of 10,605) are left out. Copies of a snippet are in one file. The snippets come from the same
    collection as SST-2: a model trained on the one must not be measured on the other.

    Args:
        folder: where to write; must exist.

    Raises:
        DataError: the archive could not be fetched, or is not the one that is known.
    """
    with tempfile.TemporaryDirectory() as scratch:
        rated = read_archive(fetch(Path(scratch)))
    texts = [text for rating, text in rated if abs(rating) >= _NEUTRAL]
    labels = np.array(["positive" if rating > 0 else "negative" for rating, _ in rated if abs(rating) >= _NEUTRAL])
    copies = copy_numbers(texts)
    rest, test = split_with_copies(labels, copies, _HELD_OUT, seed=0)
    train, val = split_with_copies(labels[rest], copies[rest], _HELD_OUT / (1 - _HELD_OUT), seed=0)
    for name, rows in (("train", rest[train]), ("val", rest[val]), ("test", test)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            write = separated_writer(stream)
            write(["text", "label"])
            for row in rows.tolist():
                write((texts[row], labels[row]))


def fetch(folder: Path) -> Path:
    """Fetch the source archive with this Python's pip and its configuration; see `pip.download_source`."""
    return pip.download_source(_PACKAGE, _VERSION, _SHA256, folder, error=DataError)


def read_archive(path: Path) -> list[tuple[float, str]]:
    """Read the snippets and their mean ratings out of the archive in the archive; nothing is unpacked to disk.

    Args:
        path: the source archive.

    Returns:
        (mean rating, text), in the order of the file.

    Raises:
        DataError: the archive is not the one that is known.
    """
    content = pip.known_content(path, _SHA256, error=DataError)
    with zipfile.ZipFile(io.BytesIO(content)) as outer, tarfile.open(fileobj=io.BytesIO(outer.read(_ARCHIVE))) as inner:
        stream = inner.extractfile(_MEMBER)
        if stream is None:
            raise DataError(f"{path.name} contains no {_MEMBER}")
        lines = stream.read().decode("utf-8").split("\r\n")
    rows = [line.split("\t") for line in lines if line]
    return [(float(rating), html.unescape(text).strip()) for _, rating, text in rows]
