"""Files from the network: whole and verified at their place, or not there at all.

:func:`retrieve` leaves verification and the move into place to pooch; its downloader here adds
what pooch's own lacks: it tries again after a pause, continues a file that was cut (HTTP Range),
and recognises a web page that came in place of the file.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .errors import DataError, OutputExistsError, PermafrostError

if TYPE_CHECKING:
    import requests

#: Longest wait [s] for a connection, and between two pieces of a file.
TIMEOUT = (15.0, 60.0)
#: Tries in a row that bring nothing new, before giving up.
TRIES = 4
#: Pause [s] after the first failure; doubled after each further one.
PAUSE = 1.0
#: Longest pause [s], also where the server asks for more.
LONGEST_PAUSE = 60.0
#: Bytes written at a time.
PIECE = 1 << 16

# Too busy, or broken for the moment (RFC 9110, section 15.5 and 15.6; RFC 6585).
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_PAGE = (b"<!doctype html", b"<html")


def retrieve(
    url: str,
    path: str | os.PathLike[str],
    *,
    checksum: str,
    overwrite: bool = False,
    progress: bool | None = None,
) -> Path:
    """Download ``url`` to ``path``, unless the file is there with the right checksum.

    What has arrived of a file that was cut stays beside it as ``{name}.part``; the next call
    goes on from there. Several processes may ask for the same file: one downloads, the others
    wait for it.

    Parameters
    ----------
    url : str
        ``http`` or ``https``.
    path : path-like
        Where the file shall be; missing folders are made.
    checksum : str
        Algorithm and hexadecimal digest, such as ``"sha256:..."`` or ``"md5:..."``.
    overwrite : bool, default False
        Replace a file at ``path`` that has another checksum.
    progress : bool, optional
        Show a progress bar; by default in a terminal only.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    OutputExistsError
        If another file is at ``path`` and ``overwrite`` is False.
    DataError
        If the server cannot be reached, sends less than the file, a web page or another file.

    Examples
    --------
    >>> import hashlib, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "depth.txt"
    >>> _ = path.write_bytes(b"0.07")
    >>> checksum = "sha256:" + hashlib.sha256(b"0.07").hexdigest()
    >>> retrieve("https://example.org/depth.txt", path, checksum=checksum).name
    'depth.txt'
    """
    path = Path(path)
    if path.exists() and matches(path, checksum):
        return path  # before anything is written: a shared cache may be read-only
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        if path.exists():
            if matches(path, checksum):
                return path  # brought by another process in the meantime
            if not overwrite:
                raise OutputExistsError(
                    f"{str(path)!r} exists, but is not the file of {url} ({checksum}); "
                    "nothing is overwritten silently. Remove it, or choose another folder."
                )
        shown = sys.stderr.isatty() if progress is None else progress
        _retrieve_and_verify(url, path, checksum, shown)
    return path


def matches(path: Path, checksum: str) -> bool:
    """Whether the file has the checksum, ``"algorithm:digest"``."""
    import pooch

    algorithm, _, digest = checksum.partition(":")
    return bool(pooch.file_hash(str(path), alg=algorithm).lower() == digest.lower())


def _retrieve_and_verify(url: str, path: Path, checksum: str, shown: bool) -> None:
    import pooch

    while True:
        downloader = Resumable(path, checksum, progress=shown)
        try:
            pooch.retrieve(
                url,
                known_hash=checksum,
                fname=path.name,
                path=path.parent,
                downloader=downloader,
            )
            return
        except PermafrostError:
            raise
        except ValueError as error:  # pooch: another checksum; it has removed the file
            if downloader.resumed:
                continue  # the first part may be of an older file: once more from the start
            raise DataError(
                f"{url} did not bring the file that was recorded: {error} Nothing was kept in "
                f"{str(path.parent)!r}. Try again; if it stays so, the file has changed at its "
                "source, or something on the way alters it."
            ) from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time for this file."""
    from filelock import FileLock

    lock = path.with_name(f".{path.name}.lock")
    try:
        with FileLock(lock):
            yield
    finally:
        # Who still waits on the removed lock finds the file in place, or starts anew.
        if not part_of(path).exists():
            with suppress(OSError):
                lock.unlink(missing_ok=True)


def part_of(path: Path) -> Path:
    """Where the bytes of an unfinished download are kept."""
    return path.with_name(path.name + ".part")


class _Unfinished(Exception):
    """Why the file is not whole yet; another try may help, after ``pause`` seconds."""

    def __init__(self, reason: str, *, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


class Resumable:
    """Downloader for pooch that tries again and goes on where the last try stopped.

    Parameters
    ----------
    path : Path
        Where the file shall be in the end; its bytes gather in :func:`part_of` it.
    checksum : str
        Named in messages; verified by pooch.
    progress : bool
        Show a progress bar.
    """

    def __init__(self, path: Path, checksum: str, *, progress: bool) -> None:
        self.path = path
        self.part = part_of(path)
        self.checksum = checksum
        self.progress = progress
        #: Whether bytes of an earlier call are in the file.
        self.resumed = False

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Bring ``url`` to ``output_file``; the signature is pooch's."""
        self.resumed = _size(self.part) > 0
        failures, most = 0, _size(self.part)
        while True:
            try:
                self._receive(url)
                break
            except _Unfinished as problem:
                failures = failures + 1 if _size(self.part) <= most else 1
                most = max(most, _size(self.part))
                if failures >= TRIES:
                    raise DataError(self._given_up(url, problem)) from problem
                time.sleep(min(max(PAUSE * 2 ** (failures - 1), problem.pause), LONGEST_PAUSE))
        os.replace(self.part, output_file)

    def _given_up(self, url: str, problem: _Unfinished) -> str:
        kept = _size(self.part)
        rest = (
            f"{kept} bytes are kept in {str(self.part)!r}; the next call goes on from there. "
            if kept
            else ""
        )
        return (
            f"{url} could not be downloaded: {problem} ({TRIES} tries). {rest}Call again when the "
            f"network is back; or bring the file here by other means as {str(self.path)!r} "
            f"({self.checksum}): it is then used without a network."
        )

    def _receive(self, url: str) -> None:
        """One try: what is missing of the file."""
        import requests

        have = _size(self.part)
        # Compressed on the way, a file could be neither measured nor continued.
        headers = {"Accept-Encoding": "identity", "User-Agent": "xpermafrost"}
        if have:
            headers["Range"] = f"bytes={have}-"
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
                start = self._start(answer, have)
                if start is not None:
                    self._write(answer, start)
        except requests.RequestException as error:
            raise _Unfinished(_reason(error, url)) from error

    def _start(self, answer: requests.Response, have: int) -> int | None:
        """Byte of the file that the answer begins with; None if nothing is missing."""
        said = f"{urlsplit(answer.url).netloc} answered {answer.status_code} {answer.reason}"
        if answer.status_code == 416:  # Range Not Satisfiable: nothing behind what we have
            if answer.headers.get("Content-Range", "") == f"bytes */{have}":
                return None
            self.part.unlink()
            raise _Unfinished(said)
        if answer.status_code in _PASSING:
            asked = answer.headers.get("Retry-After", "")
            raise _Unfinished(said, pause=float(asked) if asked.isdigit() else 0.0)
        if answer.status_code >= 400:
            raise DataError(f"{answer.url} is not to be had: {said}. Check the address.")
        if "html" in answer.headers.get("Content-Type", "").lower():
            raise DataError(self._page(answer.url))
        if answer.status_code != 206:
            self.resumed = False  # the server ignores Range and sends the whole file
            return 0
        if not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            self.part.unlink()
            raise _Unfinished(f"{said}, but with another part of the file")
        return have

    def _write(self, answer: requests.Response, start: int) -> None:
        from tqdm import tqdm

        length = answer.headers.get("Content-Length", "")
        plain = answer.headers.get("Content-Encoding", "identity") == "identity"
        total = start + int(length) if plain and length.isdigit() else None
        bar = tqdm(
            desc=self.path.name,
            total=total,
            initial=start,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=not self.progress,
        )
        page = False
        with bar, open(self.part, "ab" if start else "wb") as file:
            for piece in answer.iter_content(PIECE):
                if file.tell() == 0 and piece.lstrip()[:16].lower().startswith(_PAGE):
                    page = True
                    break
                file.write(piece)
                bar.update(len(piece))
        if page:
            self.part.unlink()
            raise DataError(self._page(answer.url))
        if total is not None and _size(self.part) != total:
            raise _Unfinished(f"the connection ended after {_size(self.part)} of {total} bytes")

    def _page(self, url: str) -> str:
        return (
            f"{url} answered with a web page (HTML) in place of {self.path.name!r}: a login, a "
            "notice, or a proxy. Nothing was kept. Open the address in a browser to see what it "
            f"says; or bring the file here by other means as {str(self.path)!r} ({self.checksum})."
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: requests.RequestException, url: str) -> str:
    """What went wrong, in a line: requests wraps errors in errors."""
    import requests

    host = urlsplit(url).netloc
    if isinstance(error, requests.Timeout):
        return f"no answer from {host} in time ({type(error).__name__})"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"the connection to {host} was cut"
    inner: BaseException = error
    while inner.args and isinstance(inner.args[0], BaseException):
        inner = inner.args[0]
    inner = getattr(inner, "reason", None) or inner
    return f"no connection to {host} ({str(inner).rsplit(': ', 1)[-1]})"
