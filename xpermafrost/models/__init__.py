"""The five sequence networks of the first study, and the registry for your own."""

from .base import (
    EMBEDDING,
    MODELS,
    UNKNOWN,
    SequenceNet,
    build_model,
    load_network,
    register_model,
)
from .bilstm import BiLSTM
from .conv1dlstm import Conv1DLSTM
from .gru import GRU
from .tcn import TCN
from .transformer import Transformer

MODELS.update(gru=GRU, bilstm=BiLSTM, tcn=TCN, transformer=Transformer, conv1dlstm=Conv1DLSTM)

__all__ = [
    "EMBEDDING",
    "MODELS",
    "BiLSTM",
    "Conv1DLSTM",
    "GRU",
    "SequenceNet",
    "TCN",
    "Transformer",
    "UNKNOWN",
    "build_model",
    "load_network",
    "register_model",
]
