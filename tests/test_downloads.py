"""Downloads against a server that behaves, and one that does not. No network: localhost only."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from xpermafrost import _downloads, datasets
from xpermafrost._downloads import part_of, retrieve
from xpermafrost.errors import DataError, OutputExistsError, PermafrostWarning, UnknownNameError

CONTENT = bytes(range(256)) * 2000  # 512 000 bytes: several pieces
CHECKSUM = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
HTML = b"\n<!DOCTYPE html><html><body>Please log in</body></html>"


class Behaviour:
    """What the server does next, and what it was asked."""

    def __init__(self):
        self.content = CONTENT
        self.ranges = True  # honours Range
        self.cut_at = []  # bytes after which each of the next answers ends
        self.status = []  # status of each of the next answers, in place of the file
        self.retry_after = None
        self.page = None  # (body, content type) in place of the file
        self.wrong_range = False
        self.pause = 0.0  # before every piece
        self.asked = []  # Range header of every request


class Handler(BaseHTTPRequestHandler):
    def log_message(self, format, *args):
        pass

    def do_GET(self):
        what = self.server.behaviour
        wanted = self.headers.get("Range")
        what.asked.append(wanted)
        if what.status:
            self.send_response(what.status.pop(0))
            if what.retry_after:
                self.send_header("Retry-After", what.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body, kind = what.page or (what.content, "application/octet-stream")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and what.ranges else 0
        if start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            shown = 0 if what.wrong_range else start
            self.send_header("Content-Range", f"bytes {shown}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = start + what.cut_at.pop(0) if what.cut_at else len(body)
        for at in range(start, min(end, len(body)), 65536):
            time.sleep(what.pause)
            self.wfile.write(body[at : min(at + 65536, end)])
        if end < len(body):
            self.close_connection = True


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(_downloads, "PAUSE", 0.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.behaviour = Behaviour()
        running.url = f"http://127.0.0.1:{running.server_port}/data/file.nc"
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_alone(server, tmp_path):
    path = tmp_path / "new" / "folder" / "file.nc"
    assert retrieve(server.url, path, checksum=CHECKSUM, progress=False) == path
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["file.nc"]


def test_a_file_that_is_there_is_not_asked_for(server, tmp_path):
    path = tmp_path / "file.nc"
    path.write_bytes(CONTENT)
    retrieve(server.url, path, checksum=CHECKSUM)
    assert server.behaviour.asked == []
    md5 = "md5:" + hashlib.md5(CONTENT).hexdigest().upper()
    retrieve(server.url, path, checksum=md5)
    assert server.behaviour.asked == []


def test_another_file_at_the_place_is_kept_unless_asked(server, tmp_path):
    path = tmp_path / "file.nc"
    path.write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match=r"is not the file of .*Remove it, or choose"):
        retrieve(server.url, path, checksum=CHECKSUM)
    assert path.read_bytes() == b"mine"
    assert server.behaviour.asked == []
    retrieve(server.url, path, checksum=CHECKSUM, overwrite=True)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["file.nc"]


def test_a_cut_is_continued_by_range(server, tmp_path):
    server.behaviour.cut_at = [200_000, 100_000]
    path = retrieve(server.url, tmp_path / "file.nc", checksum=CHECKSUM)
    assert path.read_bytes() == CONTENT
    first, second, third = server.behaviour.asked
    assert first is None
    got = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in (second, third)]
    assert 0 < got[0] <= 200_000
    assert got[0] < got[1] <= 300_000


def test_progress_is_not_counted_as_failure(server, tmp_path):
    server.behaviour.cut_at = [65_536] * 7  # more cuts than tries, each with a piece gained
    path = retrieve(server.url, tmp_path / "file.nc", checksum=CHECKSUM)
    assert path.read_bytes() == CONTENT
    assert len(server.behaviour.asked) == 8 > _downloads.TRIES


def test_a_server_that_ignores_range_starts_anew(server, tmp_path):
    server.behaviour.ranges = False
    server.behaviour.cut_at = [200_000]
    path = retrieve(server.url, tmp_path / "file.nc", checksum=CHECKSUM)
    assert path.read_bytes() == CONTENT
    assert server.behaviour.asked[1].startswith("bytes=")


def test_a_wrong_range_is_not_appended(server, tmp_path):
    server.behaviour.wrong_range = True
    server.behaviour.cut_at = [200_000]
    path = retrieve(server.url, tmp_path / "file.nc", checksum=CHECKSUM)
    assert path.read_bytes() == CONTENT
    assert server.behaviour.asked[2] is None


def test_a_download_that_stays_cut_says_so_and_the_next_call_goes_on(server, tmp_path):
    path = tmp_path / "file.nc"
    server.behaviour.cut_at = [150_000, 0, 0, 0, 0]
    message = r"could not be downloaded: .*\d+ bytes are kept in .*file\.nc\.part.*by other means"
    with pytest.raises(DataError, match=message):
        retrieve(server.url, path, checksum=CHECKSUM)
    assert not path.exists()
    kept = part_of(path).stat().st_size
    assert 0 < kept <= 150_000
    server.behaviour.asked.clear()
    server.behaviour.cut_at = []
    assert retrieve(server.url, path, checksum=CHECKSUM).read_bytes() == CONTENT
    assert server.behaviour.asked == [f"bytes={kept}-"]
    assert names(tmp_path) == ["file.nc"]


def test_a_part_that_is_complete_is_only_verified(server, tmp_path):
    path = tmp_path / "file.nc"
    part_of(path).write_bytes(CONTENT)
    assert retrieve(server.url, path, checksum=CHECKSUM).read_bytes() == CONTENT
    assert server.behaviour.asked == [f"bytes={len(CONTENT)}-"]


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    path = tmp_path / "file.nc"
    part_of(path).write_bytes(CONTENT + b"x")
    assert retrieve(server.url, path, checksum=CHECKSUM).read_bytes() == CONTENT
    assert server.behaviour.asked == [f"bytes={len(CONTENT) + 1}-", None]


def test_a_part_of_an_older_file_is_tried_once_and_then_replaced(server, tmp_path):
    path = tmp_path / "file.nc"
    part_of(path).write_bytes(b"old" * 1000)
    assert retrieve(server.url, path, checksum=CHECKSUM).read_bytes() == CONTENT
    assert server.behaviour.asked == ["bytes=3000-", None]


def test_a_changed_file_is_refused_with_both_checksums(server, tmp_path):
    server.behaviour.content = CONTENT[:-1] + b"?"
    found = hashlib.sha256(server.behaviour.content).hexdigest()
    expected = CHECKSUM.removeprefix("sha256:")
    message = rf"did not bring the file that was recorded.*{expected}.*{found}.*Nothing was kept"
    with pytest.raises(DataError, match=message):
        retrieve(server.url, tmp_path / "file.nc", checksum=CHECKSUM)
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_is_refused(server, tmp_path, kind):
    server.behaviour.page = (HTML, kind)
    with pytest.raises(DataError, match=r"a web page \(HTML\) in place of 'file\.nc'.*browser"):
        retrieve(server.url, tmp_path / "file.nc", checksum=CHECKSUM)
    assert names(tmp_path) == []
    assert len(server.behaviour.asked) == 1


def test_a_busy_server_is_asked_again(server, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(_downloads.time, "sleep", pauses.append)
    monkeypatch.setattr(_downloads, "PAUSE", 1.0)
    server.behaviour.status = [503, 429]
    server.behaviour.retry_after = "7"
    assert retrieve(server.url, tmp_path / "file.nc", checksum=CHECKSUM).exists()
    assert [pause for pause in pauses if pause] == [7.0, 7.0]


def test_pauses_grow_and_end(server, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(_downloads.time, "sleep", pauses.append)
    monkeypatch.setattr(_downloads, "PAUSE", 1.0)
    server.behaviour.status = [503] * 9
    with pytest.raises(DataError, match=r"answered 503 Service Unavailable \(4 tries\)"):
        retrieve(server.url, tmp_path / "file.nc", checksum=CHECKSUM)
    assert [pause for pause in pauses if pause] == [1.0, 2.0, 4.0]
    assert names(tmp_path) == []


def test_a_missing_file_is_not_asked_for_again(server, tmp_path):
    server.behaviour.status = [404]
    with pytest.raises(DataError, match=r"is not to be had: .*answered 404 Not Found"):
        retrieve(server.url, tmp_path / "file.nc", checksum=CHECKSUM)
    assert len(server.behaviour.asked) == 1
    assert names(tmp_path) == []


def test_without_a_network_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(_downloads, "PAUSE", 0.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        url = f"http://127.0.0.1:{closed.server_port}/file.nc"
    path = tmp_path / "file.nc"
    message = rf"no connection to 127.0.0.1:\d+ .*by other means as '{path}' \({CHECKSUM}\)"
    with pytest.raises(DataError, match=message):
        retrieve(url, path, checksum=CHECKSUM)
    assert names(tmp_path) == []


def test_a_slow_server_is_waited_for_but_not_for_ever(server, tmp_path, monkeypatch):
    server.behaviour.pause = 0.05
    assert retrieve(server.url, tmp_path / "slow.nc", checksum=CHECKSUM).exists()
    monkeypatch.setattr(_downloads, "TIMEOUT", (0.2, 0.2))
    server.behaviour.pause = 1.0
    with pytest.raises(DataError, match="could not be downloaded"):
        retrieve(server.url, tmp_path / "stalled.nc", checksum=CHECKSUM)


@pytest.mark.parametrize(("progress", "shown"), [(True, True), (False, False), (None, False)])
def test_the_bar_is_shown_when_asked(server, tmp_path, capsys, progress, shown):
    retrieve(server.url, tmp_path / "file.nc", checksum=CHECKSUM, progress=progress)
    assert ("B/s" in capsys.readouterr().err) is shown


WORKER = """
import sys
from xpermafrost import _downloads
url, path, checksum = sys.argv[1:]
print(len(_downloads.retrieve(url, path, checksum=checksum, progress=False).read_bytes()))
"""


def test_processes_do_not_disturb_each_other(server, tmp_path):
    server.behaviour.pause = 0.1
    call = [sys.executable, "-c", WORKER, server.url, str(tmp_path / "file.nc"), CHECKSUM]
    workers = [subprocess.Popen(call, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [worker.communicate()[0].strip() for worker in workers] == [str(len(CONTENT))] * 3
    assert server.behaviour.asked == [None]  # one downloads, the others wait
    assert names(tmp_path) == ["file.nc"]


@pytest.fixture
def registered(server, tmp_path, monkeypatch):
    """A registry of one file, served here; the cache folder is its own."""
    file = datasets.PublicFile(
        name="file.nc",
        title="a test",
        url=server.url,
        sha256=CHECKSUM.removeprefix("sha256:"),
        size=len(CONTENT),
        licence="MIT",
        citation="nobody",
    )
    monkeypatch.setattr(datasets, "FILES", {"file.nc": file})
    cache = tmp_path / "cache"
    monkeypatch.setenv(datasets.DATA_DIR, str(cache))
    return cache


def test_fetch_keeps_files_in_the_cache_folder(server, registered):
    path = datasets.fetch("file.nc")
    assert path == registered / "file.nc"
    assert path.read_bytes() == CONTENT
    assert datasets.fetch("file.nc", progress=True) == path
    assert len(server.behaviour.asked) == 1


def test_fetch_takes_a_copy_that_was_put_there(server, registered):
    registered.mkdir()
    (registered / "file.nc").write_bytes(CONTENT)
    server.behaviour.status = [500] * 9
    assert datasets.fetch("file.nc").read_bytes() == CONTENT
    assert server.behaviour.asked == []


def test_fetch_reads_a_cache_that_cannot_be_written(server, registered, monkeypatch):
    registered.mkdir()
    (registered / "file.nc").write_bytes(CONTENT)
    monkeypatch.setattr("filelock.FileLock", lambda lock: pytest.fail("wrote to the cache"))
    assert datasets.fetch("file.nc").exists()


def test_fetch_heals_the_cache_but_not_a_folder_of_the_user(server, registered, tmp_path):
    for folder in (registered, tmp_path / "mine"):
        folder.mkdir()
        (folder / "file.nc").write_bytes(CONTENT[:100])
    with pytest.warns(PermafrostWarning, match="damaged or was changed"):
        assert datasets.fetch("file.nc").read_bytes() == CONTENT
    with pytest.raises(OutputExistsError, match="is not the file of"):
        datasets.fetch("file.nc", folder=tmp_path / "mine")


def test_fetch_that_fails_leaves_the_cache_as_it_was(server, registered):
    server.behaviour.content = b"changed"
    with pytest.raises(DataError, match="did not bring"):
        datasets.fetch("file.nc")
    assert names(registered) == []
    with pytest.raises(UnknownNameError, match=r"unknown public file 'file\.n'; did you mean"):
        datasets.fetch("file.n")
