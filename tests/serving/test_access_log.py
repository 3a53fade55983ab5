"""The access log: seven fields a line whatever clients send, written aside, and found again after a rename."""

import re
import threading

import pytest
from doors import Doors, wait_for

from tlkit.errors import ConfigError
from tlkit.serving import access_log
from tlkit.serving.access_log import AccessLog, escaped

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def test_a_line_for_each_request(tmp_path):
    log = AccessLog(tmp_path / "access.log")
    with Doors(access_log=log, max_body_bytes=100) as server:
        sizes = [
            server.request("POST", "/v1/models/default:predict", b"{}")[2]["content-length"],
            server.request("GET", "/v1/models/a%0Ab?x=1")[2]["content-length"],
            server.request("HEAD", "/v1/models/two")[2]["content-length"],
            server.request("POST", "/v1/models/default:predict", b" " * 101)[2]["content-length"],
        ]
        server.raw(b"no http\r\n\r\n")
        server.raw(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 200 + b"\r\n")
        with server.connect() as client:
            client.sendall(b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nsleep 60")
            assert wait_for(lambda: server.fleet.in_flight == 1)
        assert wait_for(lambda: server.fleet.in_flight == 0)
    log.close()
    log.close()
    text = (tmp_path / "access.log").read_text(encoding="ascii")
    for line in text.splitlines():
        assert re.fullmatch(rf"{TIME} 127\.0\.0\.1:\d+ \S+ \S+ \d{{3}} \d+ \d+\.\d", line), line
    assert [line.split()[2:6] for line in text.splitlines()] == [
        ["POST", "/v1/models/default:predict", "200", sizes[0]],
        ["GET", "/v1/models/a%0Ab", "404", sizes[1]],
        ["HEAD", "/v1/models/two", "400", "0"],
        ["POST", "/v1/models/default:predict", "413", sizes[3]],
        ["-", "-", "400", "43"],
        ["GET", "/", "431", "50"],
        ["POST", "/v1/models/default:predict", "499", "0"],
    ]


def test_clients_cannot_forge_lines(tmp_path):
    log = AccessLog(tmp_path / "access.log")
    log.write("", "GE\x1bT", "/a b\r\n2026 forged\\é\u2028\x7f", "OK", 1, 0.00149)
    log.close()
    line = (tmp_path / "access.log").read_text(encoding="ascii")
    assert line.endswith(r" - GE\x1bT /a\x20b\r\n2026\x20forged\\\xe9\u2028\x7f OK 1 1.5" + "\n")
    assert line.count("\n") == 1
    assert escaped("plain/%20?x") == "plain/%20?x"


def test_a_renamed_file_is_opened_anew(tmp_path):
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    path.write_text("kept\n")
    log = AccessLog(path)
    log.write("a", "GET", "/1", 200, 0, 0)
    assert wait_for(lambda: "/1" in path.read_text())
    path.rename(old)
    log.write("a", "GET", "/2", 200, 0, 0)
    assert wait_for(lambda: path.exists() and "/2" in path.read_text())
    log.close()
    assert old.read_text().startswith("kept\n")
    assert "/2" not in old.read_text()
    assert "/1" not in path.read_text()


def test_standard_output(capsys):
    log = AccessLog()
    log.write("127.0.0.1:1", "GET", "/x", 200, 3, 0.5)
    log.close()
    assert re.fullmatch(rf"{TIME} 127\.0\.0\.1:1 GET /x 200 3 500\.0\n", capsys.readouterr().out)


def test_lines_that_the_disk_cannot_take_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(access_log, "MAX_WAITING", 5)
    log = AccessLog(tmp_path / "access.log")
    go_on, stands = threading.Event(), threading.Event()
    follow = log._handler.reopenIfNeeded

    def wait():
        stands.set()
        go_on.wait(10)
        follow()

    monkeypatch.setattr(log._handler, "reopenIfNeeded", wait)
    log.write("a", "GET", "/first", 200, 0, 0)
    assert stands.wait(10)
    for i in range(9):
        log.write("a", "GET", f"/{i}", 200, 0, 0)  # does not wait
    go_on.set()
    log.close()
    lines = (tmp_path / "access.log").read_text().splitlines()
    assert [line.split()[3] for line in lines[:6]] == ["/first", "/0", "/1", "/2", "/3", "/4"]
    assert lines[6].endswith("- - - - 0 0.0 4 lines were dropped")


def test_a_folder_that_goes_away_loses_lines_and_no_more(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    log = AccessLog(folder / "access.log")
    log.write("a", "GET", "/1", 200, 0, 0)
    assert wait_for(lambda: "/1" in (folder / "access.log").read_text())
    folder.rename(tmp_path / "old")
    log.write("a", "GET", "/2", 200, 0, 0)
    assert wait_for(lambda: log._lost == 1)
    folder.mkdir()
    log.write("a", "GET", "/3", 200, 0, 0)
    log.close()
    lines = (folder / "access.log").read_text().splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines] == ["- - - - 0 0.0 1 lines were dropped", "a GET /3 200 0 0.0"]


def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path):
    with pytest.raises(ConfigError, match="the access log cannot be written"):
        AccessLog(tmp_path / "nowhere" / "access.log")
