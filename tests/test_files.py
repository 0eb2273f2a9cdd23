"""Files are whole or absent, and never overwritten silently."""

from __future__ import annotations

import pytest

from xpermafrost._files import atomic_path
from xpermafrost.errors import OutputExistsError


def test_the_finished_file_is_moved_to_its_place(tmp_path):
    target = tmp_path / "model.nc"
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".nc"
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failing_write_leaves_nothing_behind(tmp_path):
    def interrupted():
        with atomic_path(tmp_path / "model.nc") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_failing_overwrite_keeps_the_old_file(tmp_path):
    target = tmp_path / "model.nc"
    target.write_text("old")

    def failing():
        with atomic_path(target, overwrite=True) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        failing()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_existing_file_is_kept_unless_asked(tmp_path):
    target = tmp_path / "model.nc"
    target.write_text("old")
    with (
        pytest.raises(OutputExistsError, match=r"not overwritten silently.*overwrite=True"),
        atomic_path(target),
    ):
        pytest.fail("the block must not run")
    with atomic_path(str(target), overwrite=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_a_missing_folder_is_named(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match=r"nowhere' for 'a\.nc' does not exist"),
        atomic_path(tmp_path / "nowhere" / "a.nc"),
    ):
        pytest.fail("the block must not run")
