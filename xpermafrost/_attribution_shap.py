"""shap's own explainers on the same rows, for comparison."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from ._attribution import Member
from ._optional import require
from .errors import DataError

#: Samples of a path and background that shap's GradientExplainer draws for every window.
SAMPLES = 200
#: Names of methods of :func:`xpermafrost.explain`.
ENGINES = ("shap_gradient", "shap_permutation", "shap_deep")


class _Rows(nn.Module):
    """A network of rows as shap wants it, with the layers that are asked for."""

    def __init__(self, member: Member, layers: np.ndarray) -> None:
        super().__init__()
        self.net, self.member, self.layers = member.net, member, layers.tolist()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.member(rows)[:, self.layers]


def shap_attributions(
    method: str,
    member: Member,
    end: torch.Tensor,
    start: torch.Tensor,
    *,
    layers: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Attributions ``(row, layer, input)`` by one of :data:`ENGINES`.

    Raises
    ------
    DataError
        If the explainer cannot treat the network.
    MissingDependencyError
        Without shap.
    """
    shap = require("shap", purpose=f"method={method!r}", install="pip install shap")
    rows = _Rows(member, layers).eval()
    with _numpy_seed_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shap's own; what it misses is in the residual
        if method == "shap_gradient":
            explainer = shap.GradientExplainer(rows, start)
            values = explainer.shap_values(end, nsamples=SAMPLES, rseed=seed)
        elif method == "shap_permutation":
            values = _permutation(shap, rows, end, start, seed)
        else:
            values = _deep(shap, rows, end, start)
    full = np.asarray(values, dtype="float64").reshape(len(end), end.shape[1], len(layers))
    return full.transpose(0, 2, 1)


def _permutation(
    shap: object, rows: _Rows, end: torch.Tensor, start: torch.Tensor, seed: int
) -> np.ndarray:
    @torch.no_grad()
    def answer(values: np.ndarray) -> np.ndarray:
        return rows(torch.as_tensor(values, dtype=torch.float32, device=end.device)).cpu().numpy()

    masker = shap.maskers.Independent(start.cpu().numpy(), max_samples=len(start))  # type: ignore[attr-defined]
    explainer = shap.explainers.Permutation(answer, masker, seed=seed)  # type: ignore[attr-defined]
    # one permutation forth and back: the fewest answers with which Shapley values sum
    return explainer(end.cpu().numpy(), max_evals=2 * end.shape[1] + 1, silent=True).values


def _deep(shap: object, rows: _Rows, end: torch.Tensor, start: torch.Tensor) -> np.ndarray:
    try:
        explainer = shap.DeepExplainer(rows, start)  # type: ignore[attr-defined]
        return explainer.shap_values(end, check_additivity=False)
    except Exception as error:  # its hooks fail in many ways
        raise DataError(
            "shap's DeepExplainer does not sum on this network: it cannot even be run on it "
            f"({type(error).__name__}: {error}). Type method='expected_gradients'."
        ) from error


@contextmanager
def _numpy_seed_kept() -> Iterator[None]:
    """shap seeds numpy's global generator; it is put back."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


__all__ = ["ENGINES", "SAMPLES", "shap_attributions"]
