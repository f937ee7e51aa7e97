"""Text encoder: hashed words and trigrams of a text become one unit vector, by one weighing bag.

Queries and products go through the same module: what a shopper writes and what a product is called
are made of the same words. How much a word counts is learnt with it ("dress" more than "for").

Shapes: B texts, L token slots, D vector.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shop.errors import NotFound
from shop.tensors import TEXT_VECTOR_SIZE
from shop.text_tokens import TOKEN_COUNT
from training.model_files import TEXT_ENCODER_WEIGHTS, write_whole


class TextEncoder(nn.Module):
    """Token ids → unit vectors."""

    def __init__(self) -> None:
        super().__init__()
        size = TEXT_VECTOR_SIZE
        self.tokens = nn.Embedding(TOKEN_COUNT, size)
        self.weights = nn.Embedding(TOKEN_COUNT, 1)
        self.mix = nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))
        nn.init.normal_(self.tokens.weight, std=0.1)
        nn.init.zeros_(self.weights.weight)

    def forward(self, token_ids: Tensor) -> Tensor:
        """text_vector [B, D]"""
        is_token_BL = (token_ids > 0).to(self.tokens.weight.dtype)
        share_BL = torch.exp(self.weights(token_ids).squeeze(-1)) * is_token_BL
        summed_BD = torch.bmm(share_BL.unsqueeze(1), self.tokens(token_ids)).squeeze(1)
        # The root of the weights' sum: long texts are neither louder nor fainter than short ones.
        pooled_BD = summed_BD / torch.sqrt(share_BL.sum(dim=1, keepdim=True) + 1.0)
        return F.normalize(pooled_BD + self.mix(pooled_BD), dim=-1)


def save_text_encoder(model: TextEncoder, folder: Path) -> None:
    """Its weights into the model folder, written whole."""
    write_whole(folder / TEXT_ENCODER_WEIGHTS, lambda path: torch.save(model.state_dict(), path))


def load_text_encoder(folder: Path) -> TextEncoder:
    """In evaluation mode. Raises NotFound if the folder holds none."""
    path = folder / TEXT_ENCODER_WEIGHTS
    if not path.exists():
        raise NotFound(f"{path} does not exist; train it: vitrine train search")
    model = TextEncoder()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()
