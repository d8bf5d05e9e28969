"""RXNMapper, a transformer of chemical reactions: tokens -> attention and the token at each place.

Schwaller, Hoover, Reymond, Strobelt and Laino, "Extraction of organic chemistry grammar from unsupervised
learning of chemical reactions", Science Advances 7(15), 2021. It is an ALBERT (Lan et al., ICLR 2020): all 12
layers share their weights, which the wheel of rxnmapper has, with the names of layers that this module has.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from meta_tests.measurements.trained.sources import Trained, declared, output
from modelparity.fixtures.specs import UNIT_RANGE

_VOCABULARY, _PLACES, _EMBEDDED, _HIDDEN, _WIDE = 591, 512, 128, 256, 512
_LAYERS, _HEADS = 12, 8
_SHOWN_LAYER, _SHOWN_HEAD = 10, 5  # whose attention maps atoms of the product to atoms of the reactants
_SIDE = 6
_TOKENS = _SIDE * _SIDE


def _norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=1e-12)


class Embeddings(nn.Module):
    """Tokens [B, N] -> [B, N, 128]."""

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(_VOCABULARY, _EMBEDDED)
        self.position_embeddings = nn.Embedding(_PLACES, _EMBEDDED)
        self.token_type_embeddings = nn.Embedding(2, _EMBEDDED)
        self.LayerNorm = _norm(_EMBEDDED)

    def forward(self, tokens: Tensor) -> Tensor:
        places = self.position_embeddings.weight[: tokens.shape[1]]
        x = self.word_embeddings(tokens) + places + self.token_type_embeddings.weight[0]
        embedded: Tensor = self.LayerNorm(x)
        return embedded


class Attention(nn.Module):
    """[B, N, 256] -> the same shape, and the probabilities [B, 8, N, N] of 8 heads."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(_HIDDEN, _HIDDEN) for _ in range(3))
        self.dense, self.LayerNorm = nn.Linear(_HIDDEN, _HIDDEN), _norm(_HIDDEN)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        query, key, value = (
            layer(x).unflatten(-1, (_HEADS, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(_HIDDEN // _HEADS)
        probabilities = torch.softmax(scores, -1)
        mixed = (probabilities @ value).transpose(1, 2).flatten(2)
        return self.LayerNorm(x + self.dense(mixed)), probabilities


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.full_layer_layer_norm = _norm(_HIDDEN)
        self.attention = Attention()
        self.ffn, self.ffn_output = nn.Linear(_HIDDEN, _WIDE), nn.Linear(_WIDE, _HIDDEN)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        attended, probabilities = self.attention(x)
        wide = nn.functional.gelu(self.ffn(attended))
        return self.full_layer_layer_norm(self.ffn_output(wide) + attended), probabilities


class Group(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.albert_layers = nn.ModuleList([Layer()])


class Encoder(nn.Module):
    """[B, N, 128] -> [B, N, 256], and the probabilities of the head whose attention is read."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding_hidden_mapping_in = nn.Linear(_EMBEDDED, _HIDDEN)
        self.albert_layer_groups = nn.ModuleList([Group()])

    def forward(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        x = self.embedding_hidden_mapping_in(embedded)
        group = self.albert_layer_groups[0]
        assert isinstance(group, Group)
        found = []
        for _ in range(_LAYERS):
            x, probabilities = group.albert_layers[0](x)
            found.append(probabilities)
        return x, found[_SHOWN_LAYER][:, _SHOWN_HEAD]


class Albert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embeddings, self.encoder = Embeddings(), Encoder()

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        hidden, attention = self.encoder(self.embeddings(tokens))
        return hidden, attention


class Predictions(nn.Module):
    """[B, N, 256] -> a logit for each token of the vocabulary [B, N, 591]."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(_HIDDEN, _EMBEDDED), _norm(_EMBEDDED)
        self.decoder = nn.Linear(_EMBEDDED, _VOCABULARY)

    def forward(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.LayerNorm(nn.functional.gelu(self.dense(hidden))))
        return logits


class RxnMapper(nn.Module):
    """Tokens int64 [B, N] -> attention [B, N, N] and logits [B, N, 591]."""

    def __init__(self) -> None:
        super().__init__()
        self.albert, self.predictions = Albert(), Predictions()

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        hidden, attention = self.albert(tokens)
        return attention, self.predictions(hidden)


class Published(nn.Module):
    """The same with what the checkpoint has beside it: a layer that nothing reads, and a bias held twice."""

    def __init__(self) -> None:
        super().__init__()
        self.network = RxnMapper()
        self.network.albert.pooler = nn.Linear(_HIDDEN, _HIDDEN)
        self.network.predictions.bias = nn.Parameter(torch.zeros(_VOCABULARY))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        attention, logits = self.network(tokens)
        return attention, logits


class Deployed(nn.Module):
    """Takes the level of green, 0 to 255, of each of 6 x 6 pixels as a token: 36 tokens, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.network = RxnMapper()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        tokens = (image[:, 1].flatten(1) * 255).round().clamp(0, 255).long()
        attention, logits = self.network(tokens)
        return attention, logits


NETWORKS = (
    Trained(
        declared(
            "rxnmapper",
            "rxnmapper:Deployed",
            _SIDE,
            replace(
                output("attention", "attention of one token to another", _TOKENS, _TOKENS), range=(0.0, 1.0)
            ),
            output("tokens", "logit of each token", _TOKENS, _VOCABULARY),
            preprocessing=UNIT_RANGE,
            published="rxnmapper:Published",
            unused=("albert.pooler.", "predictions.bias"),
        ),
        "RXNMapper, of rxnmapper 0.4.3",
        "rxnmapper-0.4.3-py3-none-any.whl",
        "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k/pytorch_model.bin",
    ),
)
