"""Model files: bit-equal on return, refused when damaged, never executed."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from xpermafrost.checkpoint import read_archive, write_archive
from xpermafrost.errors import CheckpointError, OutputExistsError, UnknownNameError
from xpermafrost.fitted import load_model
from xpermafrost.models import MODELS
from xpermafrost.training import fit


@pytest.fixture
def file(gru, tmp_path):
    path = tmp_path / "gru.xpm"
    gru.save(path)
    return path


def test_a_model_comes_back_to_the_bit(ds, gru, file):
    again = load_model(file)
    xr.testing.assert_identical(again.predict(ds), gru.predict(ds))
    for one, two in zip(gru.nets, again.nets, strict=True):
        for key, value in one.state_dict().items():
            assert torch.equal(value, two.state_dict()[key])
    for part in ("scaler", "template", "statistics", "history"):
        xr.testing.assert_identical(getattr(again, part), getattr(gru, part))
    assert again.spec == gru.spec
    assert again.options == gru.options
    assert again.info == gru.info
    assert repr(again) == repr(gru)


@pytest.mark.parametrize("name", ["bilstm", "tcn", "transformer", "conv1dlstm"])
def test_every_network_comes_back(ds, quick, tmp_path, name):
    features = ("tas", "rlds", "snd:memory6", "scenario_signal")
    model = fit(
        ds, name, members=2, features=features, config=quick, length=12, jobs=1, progress=False
    )
    model.save(tmp_path / "m")
    xr.testing.assert_identical(
        load_model(tmp_path / "m").predict(ds, members="all"), model.predict(ds, members="all")
    )


def test_a_saved_model_saves_the_same_again(file, tmp_path):
    load_model(file).save(tmp_path / "again.xpm")
    one, two = (read_archive(path) for path in (file, tmp_path / "again.xpm"))
    assert one[0] == two[0]
    assert one[1].keys() == two[1].keys()
    for key, values in one[1].items():
        np.testing.assert_array_equal(values, two[1][key])
    for key, stored in one[2].items():
        xr.testing.assert_identical(stored, two[2][key])


def test_datasets_of_any_kind_come_back(tmp_path):
    stored = xr.Dataset(
        {
            "f32": ("x", np.array([1.5, np.nan, -0.0], "float32")),
            "flag": ("x", [True, False, True]),
            "scalar": ((), 3),
        },
        coords={
            "x": ["a", "bb", "čšž"],
            "t": ("t", pd.date_range("2001", periods=2, freq="MS")),
        },
        attrs={"n": 1, "text": "ü", "list": [1, 2]},
    )
    stored["f32"].attrs = {"units": "K", "level": np.float64(2.5)}
    write_archive(tmp_path / "a", meta={"k": [1, "x"]}, arrays={}, datasets={"d": stored})
    meta, arrays, datasets = read_archive(tmp_path / "a")
    xr.testing.assert_identical(datasets["d"], stored)
    assert datasets["d"]["f32"].dtype == np.float32
    assert datasets["d"]["t"].dtype == stored["t"].dtype
    assert meta == {"k": [1, "x"]}
    assert arrays == {}


def test_an_existing_file_is_kept(gru, file):
    before = file.read_bytes()
    with pytest.raises(OutputExistsError, match="not overwritten silently"):
        gru.save(file)
    assert file.read_bytes() == before
    gru.save(file, overwrite=True)


def test_a_failing_write_leaves_nothing(gru, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError("disk full")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(OSError, match="disk full"):
        gru.save(tmp_path / "m.xpm")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model file at"):
        load_model(tmp_path / "none.xpm")


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_file(file, keep):
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(CheckpointError, match="is not an intact xpermafrost model"):
        load_model(file)


def test_one_byte_edited_anywhere_is_noticed_or_harmless(ds, gru, file):
    """Wherever a byte changes, the model is refused in our words, or it is the same model."""
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    tail = np.arange(len(whole) - 600, len(whole))  # the zip directory, where readers stumble
    refused = 0
    for at in (*rng.integers(0, len(whole), 60), *rng.choice(tail, 60, replace=False)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(rng.integers(0, 8))
        file.write_bytes(bytes(damaged))
        try:
            again = load_model(file)
        except CheckpointError:
            refused += 1
        else:
            xr.testing.assert_identical(again.scaler, gru.scaler)
            for key, value in gru.nets[0].state_dict().items():
                assert torch.equal(value, again.nets[0].state_dict()[key])
    assert refused > 60


def rewritten(file, change):
    """The archive with its members changed and zipped anew, checksums of the zip and all."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def as_npy(values, **options):
    buffer = io.BytesIO()
    np.save(buffer, values, **options)
    return buffer.getvalue()


def test_an_array_replaced_and_zipped_again(file):
    def change(members):
        name = next(n for n in members if n.startswith("nets/0/head.weight"))
        members[name] = as_npy(np.load(io.BytesIO(members[name])) + 1e-3)

    rewritten(file, change)
    with pytest.raises(CheckpointError, match=r"was changed after it was written.*checksum"):
        load_model(file)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop(next(n for n in m if n.startswith("scaler/"))),
        lambda m: m.update({"nets/0/extra.npy": as_npy(np.zeros(3))}),
        lambda m: m.update({"meta.json": m["meta.json"].replace(b'"horizon": 0', b'"horizon": 1')}),
    ],
)
def test_members_removed_added_or_edited(file, change):
    rewritten(file, change)
    with pytest.raises(CheckpointError, match="was changed after it was written"):
        load_model(file)


def test_a_newer_format_says_so(file):
    rewritten(
        file,
        lambda m: m.update(
            {"meta.json": m["meta.json"].replace(b'"version": 1', b'"version": 9', 1)}
        ),
    )
    with pytest.raises(CheckpointError, match="has format version 9, this xpermafrost reads 1"):
        load_model(file)


class Bomb:
    """Unpickling it would leave a mark."""

    def __reduce__(self):
        return (exec, ("import builtins; builtins.exploded = True",))


def test_pickles_are_never_opened(file, tmp_path):
    import builtins

    (tmp_path / "p.xpm").write_bytes(pickle.dumps(Bomb()))
    torch.save({"x": Bomb()}, tmp_path / "t.xpm")
    for path in ("p.xpm", "t.xpm"):
        with pytest.raises(CheckpointError, match="pickles and torch files are never opened"):
            load_model(tmp_path / path)
    rewritten(
        file,
        lambda m: m.update(
            {"nets/0/head.weight.npy": as_npy(np.array([Bomb()], object), allow_pickle=True)}
        ),
    )
    with pytest.raises(CheckpointError, match="is not an intact xpermafrost model"):
        load_model(file)
    assert not hasattr(builtins, "exploded")


@pytest.mark.parametrize(
    "meta",
    [None, b"", b"{", b"[]", b'"text"', b"{}", b'{"format": "other"}', b"\xff\xfe", b"null"],
)
def test_a_foreign_zip(tmp_path, meta):
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr("readme.txt", "hello")
        if meta is not None:
            archive.writestr("meta.json", meta)
    with pytest.raises(CheckpointError, match="is not an intact xpermafrost model"):
        load_model(tmp_path / "z")


@pytest.mark.parametrize("content", [b"", b"CDF\x01", b"hello", b"PK\x05\x06" + bytes(18)])
def test_a_file_of_something_else(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(CheckpointError, match="is not an intact xpermafrost model"):
        load_model(tmp_path / "x")


def test_a_folder(tmp_path):
    with pytest.raises(CheckpointError, match="is not an intact xpermafrost model"):
        load_model(tmp_path)


def test_a_network_that_is_not_registered_here(file, monkeypatch):
    monkeypatch.delitem(MODELS, "gru")
    with pytest.raises(UnknownNameError, match=r"holds a network 'gru' .*xp.register_model\('gru'"):
        load_model(file)


def test_another_network_under_the_same_name(file, monkeypatch):
    monkeypatch.setitem(MODELS, "gru", MODELS["tcn"])
    with pytest.raises(CheckpointError, match="does not fit the network registered as 'gru'"):
        load_model(file)
