"""What every network has in common, and the registry that finds one by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..errors import DataError, unknown_name

if TYPE_CHECKING:
    from ._series import SeriesEncoder

#: Size of the learned location embedding.
EMBEDDING = 4

#: Number of a location that was not learned.
UNKNOWN = -1


class SequenceNet(nn.Module):
    """A sequence encoder between a location embedding and a linear head.

    Subclasses implement :meth:`encode`. The embedding joins every time step and, again, the
    code of the sequence.

    Parameters
    ----------
    n_features, n_locations, n_layers : int
        Sizes of the data.
    width : int
        Size of the code that :meth:`encode` returns.
    embedding : int
        Size of the learned location embedding.
    dropout : float
        Share of the code dropped in training.
    """

    def __init__(
        self,
        n_features: int,
        n_locations: int,
        n_layers: int,
        *,
        width: int,
        embedding: int = EMBEDDING,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_locations, embedding)
        nn.init.normal_(self.embedding.weight, std=0.3)
        self.n_inputs = n_features + embedding
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width + embedding, n_layers)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Code ``(batch, width)`` of sequences ``(batch, time, input)``, at the last step."""
        raise NotImplementedError  # each architecture has its own

    def series_encoder(self, length: int) -> SeriesEncoder | None:
        """What :meth:`encode` gives, faster for overlapping windows of ``length`` months.

        None where there is none. It is read from a class of its own only: one that inherits
        it may have changed :meth:`encode`, and is asked window by window.
        """
        return None

    def forward(self, x: torch.Tensor, location: torch.Tensor) -> torch.Tensor:
        """Scaled temperatures ``(batch, layer)`` from ``(batch, time, feature)`` and places.

        An :data:`UNKNOWN` place has the embedding 0.
        """
        place = self.embedding(location.clamp(min=0)) * (location != UNKNOWN).unsqueeze(1)
        steps = place.unsqueeze(1).expand(-1, x.shape[1], -1)
        code = self.encode(torch.cat([x, steps], dim=2))
        return self.head(torch.cat([self.dropout(code), place], dim=1))


Builder = Callable[..., nn.Module]

#: Networks by name; :func:`register_model` adds to it.
MODELS: dict[str, Builder] = {}


def register_model(name: str, builder: Builder) -> None:
    """Make a network of your own available as ``fit(name)``, and loadable by that name.

    Parameters
    ----------
    name : str
        A new name.
    builder : callable
        ``builder(n_features, n_locations, n_layers, **options) -> torch.nn.Module`` whose
        ``forward(x, location)`` maps ``(batch, time, feature)`` and ``(batch,)`` to
        ``(batch, layer)``. ``length`` is passed as well where it is a parameter.

    Raises
    ------
    DataError
        If the name is taken by another builder.
    """
    if MODELS.get(name, builder) is not builder:
        raise DataError(f"a model named {name!r} is registered already; choose another name.")
    MODELS[name] = builder


def build_model(
    name: str,
    *,
    n_features: int,
    n_locations: int,
    n_layers: int,
    length: int,
    options: dict[str, Any] | None = None,
) -> nn.Module:
    """Build the network ``name``, freshly initialised from torch's global generator.

    Raises
    ------
    UnknownNameError
        With the close matches.

    Examples
    --------
    >>> net = build_model("gru", n_features=5, n_locations=6, n_layers=4, length=24)
    >>> net(torch.zeros(2, 24, 5), torch.tensor([0, 5])).shape
    torch.Size([2, 4])
    """
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    builder = MODELS[name]
    extra = dict(options or {})
    if "length" in inspect.signature(builder).parameters:
        extra["length"] = length
    return builder(n_features, n_locations, n_layers, **extra)


def load_network(
    name: str,
    weights: Mapping[str, np.ndarray],
    *,
    n_features: int,
    n_locations: int,
    n_layers: int,
    length: int,
    options: dict[str, Any],
) -> nn.Module:
    """Build the network ``name`` with known weights, for prediction.

    The caller's random generator is left alone: building a network draws from it.
    """
    with torch.random.fork_rng(devices=[]):
        net = build_model(
            name,
            n_features=n_features,
            n_locations=n_locations,
            n_layers=n_layers,
            length=length,
            options=options,
        )
    net.load_state_dict({key: torch.from_numpy(np.array(v)) for key, v in weights.items()})
    return net.eval()
