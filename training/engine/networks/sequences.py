"""Networks that read a sample step by step: text, and anything that can be laid out in a row."""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.engine.architectures import Between, DataShape, architecture
from training.engine.networks.basic import Dropout

Width = Annotated[int, Between(1, 16_384), "Values that stand for one step."]


class AsSteps(nn.Module):
    """(N, F) to (N, F, 1): each feature is a step. (N, C, H, W) to (N, H, C·W): each line of an image is a step."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(2) if x.ndim == 2 else x.permute(0, 2, 1, 3).flatten(2)


class LSTM(nn.Module):
    """Steps (N, T, F) to (N, outputs), read off the end; or with `at_each_step` to (N, T, outputs)."""

    def __init__(
        self,
        steps: nn.Module,
        features: int,
        outputs: int,
        *,
        width: int,
        depth: int,
        dropout: float,
        bidirectional: bool,
        at_each_step: bool,
    ) -> None:
        super().__init__()
        self.steps = steps
        between_layers = dropout if depth > 1 else 0.0
        self.lstm = nn.LSTM(
            features, width, depth, batch_first=True, dropout=between_layers, bidirectional=bidirectional
        )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width * 2 if bidirectional else width, outputs)
        self.at_each_step = at_each_step

    def forward(self, x: Tensor) -> Tensor:
        steps = self.steps(x)
        # Not every processor has this layer in bf16; on a GPU autocast stays as it is.
        with torch.autocast("cpu", enabled=False):
            states, (last, _) = self.lstm(steps)
        if not self.at_each_step:
            # Each direction ends at its own end of the sequence.
            states = torch.cat([last[-2], last[-1]], 1) if self.lstm.bidirectional else last[-1]
        outputs: Tensor = self.output(self.dropout(states))
        return outputs


@architecture("lstm", takes=("rows", "images", "text"))
def build_lstm(
    data: DataShape,
    *,
    width: Width = 128,
    depth: Annotated[int, Between(1, 16), "Layers, one upon the other."] = 1,
    dropout: Dropout = 0.1,
    bidirectional: Annotated[bool, "Read from both ends; not for text, which has its answer behind it."] = False,
) -> nn.Module:
    """A recurrent network: features one by one, images line by line, text token by token."""
    is_text = data.kind == "text"
    if is_text and bidirectional:
        raise ValueError("bidirectional must be false for text: it would read the tokens that it is to guess")
    features = {"rows": 1, "images": math.prod(data.sample_shape[::2]), "text": width}[data.kind]
    return LSTM(
        nn.Embedding(data.output_count, width) if is_text else AsSteps(),
        features,
        data.output_count,
        width=width,
        depth=depth,
        dropout=dropout,
        bidirectional=bidirectional,
        at_each_step=is_text,
    )


class Attention(nn.Module):
    """Causal self-attention, (N, T, width) to the same. Heads are as wide as needed where they do not divide width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * -(-width // heads)
        self.queries_keys_values = nn.Linear(width, 3 * inner, bias=False)
        self.output = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        by_head = self.queries_keys_values(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = by_head.unbind(0)  # (N, heads, T, width of a head) each
        seen = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        mixed: Tensor = self.output(seen.transpose(1, 2).flatten(2))
        return mixed


class Block(nn.Module):
    """Attention, then two layers at each place; each normalises what it reads and adds to it. Keeps (N, T, width)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width, heads), nn.Dropout(dropout))
        self.thought = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        thought: Tensor = x + self.thought(x)
        return thought


class GPT(nn.Module):
    """Tokens (N, T) int64 to logits (N, T, tokens known), T up to `context`. The same table reads and writes tokens."""

    def __init__(self, tokens: int, context: int, *, width: int, depth: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.tokens = nn.Embedding(tokens, width)
        self.places = nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                # As in GPT-2: what adds to the stream starts the smaller, the more there are that add.
                adds = name.endswith(("1.output.weight", "thought.3.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * depth) ** 0.5 if adds else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        stream = self.dropout(self.tokens(x) + self.places.weight[: x.shape[1]])
        return F.linear(self.norm(self.blocks(stream)), self.tokens.weight)


@architecture("gpt", takes=("text",))
def build_gpt(
    data: DataShape,
    *,
    width: Width = 128,
    depth: Annotated[int, Between(1, 96), "Blocks, one upon the other."] = 4,
    heads: Annotated[int, Between(1, 128), "What a place may look for at once in what came before."] = 4,
    dropout: Dropout = 0.0,
) -> nn.Module:
    """A small transformer that guesses the next token from all before it, as GPT-2 does."""
    return GPT(data.output_count, data.sample_shape[0], width=width, depth=depth, heads=heads, dropout=dropout)
