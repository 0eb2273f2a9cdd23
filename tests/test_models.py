"""The networks: what each sees, that all of it learns, and that shortcuts change no number."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xpermafrost.errors import DataError, UnknownNameError
from xpermafrost.models import MODELS, build_model, register_model
from xpermafrost.models.tcn import TCN, kernel_sizes
from xpermafrost.models.transformer import Transformer, positions

FIVE = ("gru", "bilstm", "tcn", "transformer", "conv1dlstm")


def net_of(name, length=24, seed=0, **options):
    torch.manual_seed(seed)
    return build_model(
        name, n_features=5, n_locations=6, n_layers=4, length=length, options=options
    )


def batch(n=7, length=24, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, length, 5, generator=generator)
    return x, torch.arange(n) % 6


@pytest.mark.parametrize("name", FIVE)
@pytest.mark.parametrize("length", [1, 12, 23, 24])
def test_any_window_gives_one_number_a_layer(name, length):
    net = net_of(name, length).eval()
    out = net(*batch(length=length))
    assert out.shape == (7, 4)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("name", FIVE)
def test_every_parameter_learns(name):
    net = net_of(name).train()
    x, place = batch(64)
    net(x, place).square().sum().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        flat = parameter.grad.abs()
        assert float(flat.sum()) > 0, key


@pytest.mark.parametrize("name", FIVE)
def test_the_first_month_and_the_last_of_the_window_matter_and_every_one_between(name):
    net = net_of(name).eval()
    x, place = batch()
    x.requires_grad_(True)
    net(x, place).square().sum().backward()
    reach = x.grad.abs().sum(dim=(0, 2))
    assert (reach > 0).all(), reach
    moved = x.detach().clone()
    moved[:, 0] += 3.0
    with torch.no_grad():
        assert (net(x, place) - net(moved, place)).abs().max() > 1e-7


@pytest.mark.parametrize("name", FIVE)
def test_the_place_matters(name):
    net = net_of(name).eval()
    x, _ = batch()
    with torch.no_grad():
        here, there = net(x, torch.zeros(7, dtype=torch.long)), net(x, torch.full((7,), 5))
    assert (here - there).abs().max() > 1e-3


@pytest.mark.parametrize("name", FIVE)
def test_windows_of_a_batch_do_not_see_each_other(name):
    net = net_of(name).eval()
    x, place = batch()
    with torch.no_grad():
        together = net(x, place)
        alone = torch.cat([net(x[k : k + 1], place[k : k + 1]) for k in range(7)])
        order = torch.tensor([6, 2, 0, 1, 5, 3, 4])
        permuted = net(x[order], place[order])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(permuted, together[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FIVE)
def test_the_order_of_months_matters(name):
    net = net_of(name).eval()
    x, place = batch()
    with torch.no_grad():
        difference = net(x, place) - net(x.flip(1), place)
    assert difference.abs().max() > 1e-3


@pytest.mark.parametrize("name", FIVE)
def test_dropout_is_off_in_evaluation(name):
    net = net_of(name)
    x, place = batch()
    with torch.no_grad():
        assert not torch.equal(net.train()(x, place), net(x, place))
        assert torch.equal(net.eval()(x, place), net(x, place))


@pytest.mark.parametrize("length", [1, 2, 7, 12, 24, 25, 36])
def test_the_pruned_tcn_is_the_dense_one(length):
    torch.manual_seed(0)
    net = TCN(5, 6, 4, length=length, hidden=8)
    x = torch.randn(3, length, net.n_inputs)
    whole = 1
    for size in net.sizes:
        whole *= size
    # the pruned tree pads the lifted inputs with zeros, so compare where the window is whole
    longer = torch.randn(3, whole, net.n_inputs)
    torch.testing.assert_close(net.dense(longer)[:, -1], net.encode(longer), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(net.dense(x)[:, -1], net.encode(x), rtol=1e-5, atol=1e-5)


def test_the_dense_tcn_sees_24_months_and_no_future():
    net = TCN(5, 6, 4, length=24, hidden=8)
    x = torch.randn(1, 60, net.n_inputs, requires_grad=True)
    net.dense(x)[0, 40].sum().backward()
    seen = (x.grad.abs().sum(dim=(0, 2)) > 0).nonzero().flatten()
    assert seen.tolist() == list(range(17, 41))


def test_kernels_multiply_to_the_window():
    for length in range(1, 61):
        product = 1
        for size in kernel_sizes(length):
            product *= size
        assert length <= product <= 1.34 * length, length
    assert kernel_sizes(24) == (3, 2, 2, 2)


def test_both_directions_of_the_bilstm_have_seen_the_whole_window():
    net = net_of("bilstm").eval()
    hidden = net.rnn.hidden_size
    x = torch.randn(1, 24, net.n_inputs, requires_grad=True)
    code = net.encode(x)
    for half in (code[0, :hidden], code[0, hidden:]):
        (grad,) = torch.autograd.grad(half.sum(), x, retain_graph=True)
        assert (grad.abs().sum(dim=(0, 2)) > 0).all()
    # the backward half is the forward LSTM's twin on the window turned round
    twin = nn.LSTM(net.n_inputs, hidden, batch_first=True)
    twin.load_state_dict(
        {
            key.removesuffix("_reverse"): value
            for key, value in net.rnn.state_dict().items()
            if key.endswith("_reverse")
        }
    )
    torch.testing.assert_close(twin(x.flip(1))[1][0][0], code[:, hidden:])


def test_the_pruned_transformer_is_the_full_one():
    net = net_of("transformer").eval()
    assert isinstance(net, Transformer)
    x = torch.randn(3, 24, net.n_inputs)
    h = net.lift(x) + net.positions
    for block in net.blocks:
        h = block(h, last=False)
    torch.testing.assert_close(net.norm(h)[:, -1], net.encode(x), rtol=1e-5, atol=1e-5)


def test_positions_tell_every_month_apart_and_end_at_zero():
    code = positions(24, 64)
    assert code.shape == (24, 64)
    torch.testing.assert_close(code[-1, 0::2], torch.zeros(32))
    torch.testing.assert_close(positions(12, 64), code[-12:])
    apart = torch.cdist(code, code) + torch.eye(24) * 9
    assert float(apart.min()) > 0.1


def test_a_wrong_name_answers_with_the_close_one():
    with pytest.raises(UnknownNameError, match="unknown model 'gur'; did you mean 'gru'"):
        net_of("gur")


def test_options_reach_the_network():
    assert net_of("gru", hidden=17).rnn.hidden_size == 17
    assert len(net_of("transformer", width=16, heads=2, depth=3).blocks) == 3


def test_a_network_of_ones_own(monkeypatch):
    monkeypatch.setattr("xpermafrost.models.base.MODELS", dict(MODELS))

    class Mean(nn.Module):
        def __init__(self, n_features, n_locations, n_layers):
            super().__init__()
            self.line = nn.Linear(n_features, n_layers)

        def forward(self, x, location):
            return self.line(x.mean(dim=1))

    register_model("mean", Mean)
    register_model("mean", Mean)  # twice the same is no clash
    assert net_of("mean")(*batch()).shape == (7, 4)
    with pytest.raises(DataError, match="a model named 'gru' is registered already"):
        register_model("gru", Mean)
