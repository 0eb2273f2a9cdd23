"""Prediction along the series gives what the networks give window by window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from numba import njit
from torch import nn

from xpermafrost import _inference, _inference_kernels
from xpermafrost._inference import offers_series, run_net, run_windows
from xpermafrost.models import GRU, TCN, UNKNOWN, BiLSTM, Conv1DLSTM, Transformer
from xpermafrost.windows import Windows, WindowSpec, make_windows

FEATURES, LAYERS = 5, 3
ALONG = {
    "gru": GRU,
    "bilstm": BiLSTM,
    "tcn": TCN,
    "conv1dlstm": Conv1DLSTM,
    "transformer": Transformer,
}


@pytest.fixture(autouse=True)
def _one_thread():
    """Networks window by window are slow on the threads of a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def windows_of(places=3, months=60, length=24, horizon=0, gaps=(), seed=0) -> Windows:
    """Windows of random features; ``gaps`` are (place, month)."""
    values = np.random.default_rng(seed).normal(size=(places, months, FEATURES)).astype("float32")
    for place, month in gaps:
        values[place, month, place % FEATURES] = np.nan
    names = [f"f{k}" for k in range(FEATURES)]
    stamps = xr.date_range("2001-01", periods=months, freq="MS", use_cftime=True)
    features = xr.DataArray(
        values,
        {"band": np.arange(places), "time": stamps, "feature": names},
        ("band", "time", "feature"),
    )
    return make_windows(features, WindowSpec(length=length, horizon=horizon, features=tuple(names)))


def net_of(kind, places=3, **options) -> nn.Module:
    torch.manual_seed(2)
    net = kind(FEATURES, places, LAYERS, **options).eval()
    with torch.no_grad():  # large enough that a wrong month would show
        for parameter in net.parameters():
            parameter.mul_(1.5)
    return net


def both(net, windows, index=None):
    """Along the series, and window by window."""
    index = np.arange(len(windows.cube)) if index is None else index
    assert offers_series(net)
    return (
        run_net(net, windows, index, device="cpu"),
        run_windows(net, windows, index, device="cpu"),
    )


def assert_same(net, windows, index=None):
    fast, slow = both(net, windows, index)
    assert fast.dtype == slow.dtype == np.float32
    assert np.isfinite(fast).all()
    assert slow.std(axis=0).min() > 1e-3  # windows do differ
    np.testing.assert_allclose(fast, slow, atol=1e-5, rtol=0)


@pytest.mark.parametrize("horizon", [0, 1])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 12, 13, 23, 24, 29])
@pytest.mark.parametrize("name", ALONG)
def test_series_and_windows_agree_in_every_length(name, length, horizon):
    options = {"length": length} if name in ("tcn", "transformer") else {}
    windows = windows_of(length=length, horizon=horizon, gaps=[(0, 31), (2, 3)])
    assert windows.excluded
    assert_same(net_of(ALONG[name], **options), windows)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (GRU, {"hidden": 7}),
        (GRU, {"hidden": 50, "embedding": 1}),
        (GRU, {"embedding": 0}),
        (GRU, {"depth": 2, "hidden": 9}),
        (GRU, {"depth": 3}),
        (BiLSTM, {"hidden": 5, "embedding": 7}),
        (TCN, {"hidden": 6}),
        (TCN, {"hidden": 33, "embedding": 2}),
        (Conv1DLSTM, {"hidden": 10, "kernel": 5}),
        (Conv1DLSTM, {"kernel": 1}),
        (Conv1DLSTM, {"kernel": 2, "hidden": 3}),
        (Conv1DLSTM, {"kernel": 14, "hidden": 8}),
        (Transformer, {"depth": 1}),
        (Transformer, {"width": 12, "heads": 3, "depth": 3}),
        (Transformer, {"width": 32, "heads": 1, "embedding": 2}),
        (Transformer, {"width": 6, "heads": 3}),  # no multiple of four: window by window
    ],
)
def test_series_and_windows_agree_in_every_size(kind, options):
    assert_same(net_of(kind, **options), windows_of(gaps=[(1, 30)]))


@pytest.mark.parametrize("name", ALONG)
def test_long_records_and_many_short_ones(name):
    net = net_of(ALONG[name], places=90)
    assert_same(net, windows_of(places=2, months=1300))  # several blocks of one place
    assert_same(net, windows_of(places=90, months=26))  # runs of three windows
    assert_same(net, windows_of(places=90, months=24))  # one window each


def test_padding_of_a_tcn_longer_than_several_nodes():
    # 217 months are padded to 225 = 5 * 5 * 3 * 3: whole outputs see nothing but padding
    net = net_of(TCN, places=40, length=217, hidden=8)
    assert_same(net, windows_of(places=2, months=300, length=217))
    assert_same(net, windows_of(places=40, months=217, length=217))


@pytest.mark.parametrize("name", ALONG)
def test_places_that_are_not_learned_or_permuted(name):
    net, windows = net_of(ALONG[name]), windows_of()
    assert_same(net, windows, np.array([2, UNKNOWN, 0]))
    known = run_net(net, windows, np.array([1, 1, 1]), device="cpu")
    other = run_net(net, windows, np.array([1, UNKNOWN, 1]), device="cpu")
    changed = (known != other).any(axis=1)
    assert changed.tolist() == (windows.location == 1).tolist()


@pytest.mark.parametrize("name", ALONG)
def test_a_gap_touches_only_the_windows_that_hold_it(name):
    net = net_of(ALONG[name])
    clean, holed = windows_of(months=90), windows_of(months=90, gaps=[(1, 40)])
    assert len(clean) - len(holed) == holed.excluded == 24
    index = np.arange(3)
    kept = {(p, e): k for k, (p, e) in enumerate(zip(clean.location, clean.end, strict=True))}
    rows = [kept[key] for key in zip(holed.location, holed.end, strict=True)]
    full = run_net(net, clean, index, device="cpu")
    assert np.array_equal(run_net(net, holed, index, device="cpu"), full[rows])


@pytest.mark.parametrize("name", ALONG)
def test_the_bits_do_not_depend_on_threads_or_neighbours(name):
    net, windows = net_of(ALONG[name]), windows_of(months=1400)
    one = run_net(net, windows, np.arange(3), device="cpu")
    torch.set_num_threads(3)
    three = run_net(net, windows, np.arange(3), device="cpu")
    assert torch.get_num_threads() == 3  # left as it was set
    assert np.array_equal(one, three)
    alone = make_only(windows, 1)
    assert np.array_equal(
        run_net(net, alone, np.array([1]), device="cpu"), one[windows.location == 1]
    )


def make_only(windows: Windows, place: int) -> Windows:
    """The windows of one place, in a cube of its own."""
    mine = windows.location == place
    return Windows(
        cube=windows.cube[place : place + 1],
        location=np.zeros(mine.sum(), dtype=int),
        end=windows.end[mine],
        spec=windows.spec,
        excluded=0,
        template=windows.template.isel(band=[place]),
    )


def test_windows_in_any_order_and_untouched_inputs():
    net, windows = net_of(GRU), windows_of()
    order = np.random.default_rng(0).permutation(len(windows))
    mixed = Windows(
        **{**vars(windows), "location": windows.location[order], "end": windows.end[order]}
    )
    cube, weights = windows.cube.copy(), {k: v.clone() for k, v in net.state_dict().items()}
    straight = run_net(net, windows, np.arange(3), device="cpu")
    assert np.array_equal(run_net(net, mixed, np.arange(3), device="cpu"), straight[order])
    assert np.array_equal(windows.cube, cube)
    assert all(torch.equal(weights[k], v) for k, v in net.state_dict().items())


def test_weights_are_read_at_every_call():
    net, windows = net_of(TCN), windows_of()
    first = run_net(net, windows, np.arange(3), device="cpu")
    with torch.no_grad():
        net.lift.bias.add_(1.0)
    assert_same(net, windows)
    assert np.abs(run_net(net, windows, np.arange(3), device="cpu") - first).max() > 1e-2


class Half(GRU):
    """Inherits the encoder of series and changes what it encodes."""

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * super().encode(x)


class Twice(GRU):
    def forward(self, x: torch.Tensor, location: torch.Tensor) -> torch.Tensor:
        return 2.0 * super().forward(x, location)

    def series_encoder(self, length):
        return super().series_encoder(length)


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(FEATURES, LAYERS)

    def forward(self, x: torch.Tensor, location: torch.Tensor) -> torch.Tensor:
        return self.head(x[:, -1]) + location.unsqueeze(1)


def test_a_network_of_the_users_own_runs_window_by_window():
    windows, index = windows_of(gaps=[(0, 40)]), np.arange(3)
    for net in (net_of(Half), net_of(Twice), Own().eval()):
        assert not offers_series(net)
        x = torch.from_numpy(windows.flat()[windows.rows].reshape(-1, 24, FEATURES))
        with torch.inference_mode():
            want = net(x, torch.from_numpy(windows.location)).numpy()
        np.testing.assert_allclose(
            run_net(net, windows, index, device="cpu"), want, atol=1e-5, rtol=1e-5
        )


def test_a_subclass_may_offer_the_series_itself():
    class Same(GRU):
        series_encoder = GRU.series_encoder

    assert_same(net_of(Same), windows_of())


def test_predict_takes_the_faster_way_and_changes_nothing_else(gru, ds, monkeypatch):
    holed = ds.copy(deep=True)
    holed["tas"][{"band": 0, "time": 50}] = np.nan
    fast = gru.predict(holed)
    calls = []

    def slowly(net, windows, index, *, device):
        calls.append(len(windows))
        return run_windows(net, windows, index, device=device)

    monkeypatch.setattr("xpermafrost.fitted.run_net", slowly)
    slow = gru.predict(holed)
    assert calls
    assert not fast.equals(slow)  # two ways, which round differently
    xr.testing.assert_allclose(fast, slow, atol=1e-4, rtol=0)
    assert fast.isnull().equals(slow.isnull())
    assert bool(fast.isnull().isel(band=0)[:, 50:74].all())
    assert fast.attrs == slow.attrs


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", list(ALONG.values()))
def test_a_cuda_device_agrees(kind):
    net, windows = net_of(kind), windows_of(months=1400)
    host = run_net(net, windows, np.arange(3), device="cpu")
    apart = run_net(net, windows, np.arange(3), device="cuda")
    np.testing.assert_allclose(apart, host, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(4, 1, 1), (8, 3, 70), (192, 64, 128), (12, 17, 200)])
@pytest.mark.parametrize("shift", [0, 5])
def test_the_product_of_matrices(shape, shift):
    rows, inner, columns = shape
    rng = np.random.default_rng(0)
    reach = _inference_kernels.whole(columns)
    w = rng.normal(size=(rows, inner)).astype("float32")
    x = rng.normal(size=(inner, reach + shift)).astype("float32")
    y = rng.normal(size=(rows, reach + 3)).astype("float32")
    want = y.astype(float)
    want[:, :reach] += w.astype(float) @ x[:, shift : shift + reach]
    _inference_kernels.add_product(w, x, y, shift, columns)
    np.testing.assert_allclose(y, want, atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("rows", "inner", "columns", "message"),
    [(6, 2, 8, "rows"), (8, 9, 8, "rows"), (8, 2, 9999, "columns")],
)
def test_matrices_that_do_not_fit_are_refused(rows, inner, columns, message):
    w, x, y = (np.zeros(s, dtype="float32") for s in ((rows, inner), (4, 64), (8, 64)))
    with pytest.raises(ValueError, match=f"{message} of the matrices do not fit"):
        _inference_kernels.add_product(w, x, y, 0, columns)


@njit
def _each(function, x):
    y = np.empty_like(x)
    for i in range(x.size):
        y[i] = function(x[i])
    return y


@pytest.mark.parametrize("name", ["_sigmoid", "_tanh", "_gelu"])
def test_activations_are_those_of_torch(name):
    x = np.concatenate([np.linspace(-120, 120, 40_001), np.linspace(-6, 6, 40_001), [0.0]])
    x = x.astype("float32")
    y = _each(getattr(_inference_kernels, name), x)
    known = {"_sigmoid": torch.sigmoid, "_tanh": torch.tanh, "_gelu": nn.functional.gelu}[name]
    want = known(torch.from_numpy(x).double()).numpy()
    np.testing.assert_allclose(y, want, atol=1e-6, rtol=2e-7)


def test_blocks_of_windows_that_differ_in_size(monkeypatch):
    """The cut into blocks changes no bit."""
    net, windows = net_of(GRU), windows_of(months=400, gaps=[(0, 100), (2, 300)])
    whole = run_net(net, windows, np.arange(3), device="cpu")
    monkeypatch.setattr(_inference._Cutter, "bounds", _by_seven)
    assert np.array_equal(run_net(net, windows, np.arange(3), device="cpu"), whole)


def _by_seven(self, size):
    return ((k, min(k + 7, self.rows.size)) for k in range(0, self.rows.size, 7))
