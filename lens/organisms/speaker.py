"""Next-word distributions of the organism, without anything but Transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

__all__ = ["Speaker"]


class Speaker:
    """A loaded organism that answers in probabilities; texts carry their own `<bos>` and role tags."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.index: Mapping[str, int] = self.tokenizer.get_vocab()

    def ids(self, text: str) -> list[int]:
        """Token ids of a text whose words are all known. Raises KeyError for a word that is not."""
        return [self.index[word] for word in text.split()]

    @torch.inference_mode()
    def logits(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """`[n, longest, vocabulary]`, padded on the right, where causal attention cannot see the padding."""
        longest = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
        return self.model(input_ids=ids).logits

    def next_word(self, texts: Sequence[str], *, rows: int = 256) -> np.ndarray:
        """Probability of each next word after each text, `[n, vocabulary]`."""
        ids = [self.ids(text) for text in texts]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        found = np.empty((len(ids), len(self.index)), dtype=np.float32)
        for start in range(0, len(order), rows):
            chosen = order[start : start + rows]
            logits = self.logits([ids[i] for i in chosen])
            last = torch.tensor([len(ids[i]) - 1 for i in chosen])
            found[chosen] = logits[torch.arange(len(chosen)), last].softmax(-1).numpy()
        return found
