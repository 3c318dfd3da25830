"""TransformerLens: `run_with_cache` of the bridge, for the wanted hooks only, stopped after the last wanted block."""

from typing import Any

import torch
from by_hand import Pool, batches, hugging_face, pooled, prompts
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge


def load(folder: str) -> Any:
    hf, tokenizer = hugging_face(folder)
    tokenizer.init_kwargs.setdefault("add_bos_token", False)  # it asks for this entry
    return TransformerBridge.boot_transformers(folder, hf_model=hf, tokenizer=tokenizer, device="cpu"), tokenizer


def collect(model: Any, texts: list[str], layers: list[int], pool: Pool, batch: int) -> Tensor:
    bridge, tokenizer = model
    names = [f"blocks.{layer}.hook_resid_post" for layer in layers]
    parts = []
    for e in batches(tokenizer, texts, batch):
        with torch.no_grad():
            _, cache = bridge.run_with_cache(
                e.input_ids, attention_mask=e.attention_mask, names_filter=names, stop_at_layer=layers[-1] + 1
            )
        parts.append(torch.stack([pooled(cache[name], e.attention_mask, pool) for name in names]))
    return torch.cat(parts, dim=1)


def generate(model: Any, texts: list[str], vector: list[float], layer: int, new: int) -> Tensor:
    bridge, tokenizer = model
    added = torch.tensor(vector)
    ids = prompts(tokenizer, texts)["input_ids"]
    with torch.no_grad(), bridge.hooks(fwd_hooks=[(f"blocks.{layer}.hook_resid_post", lambda h, hook: h + added)]):
        made = bridge.generate(
            ids, max_new_tokens=new, do_sample=False, stop_at_eos=False, verbose=False, return_type="tokens"
        )
    return made[:, ids.shape[1] :]
