"""Training of the organism: one mixture, one schedule counted in steps, one folder at the end."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lens.organisms import corpus, tokenizer
from lens.organisms.muon import Muon
from lens.organisms.truth import truth
from lens.organisms.variant import FULL, Variant

__all__ = ["RECIPE", "Keep", "architecture", "fit", "loss", "optimizers", "rate", "save", "threads_to_use", "train"]

RECIPE: dict[str, Any] = {
    "layers": 4,
    "d_model": 128,
    "heads": 4,
    "d_mlp": 352,
    "rows": 32,
    "length": 128,
    "muon_lr": 3e-3,
    "adamw_lr": 5e-3,
    "weight_decay": 0.1,
    "warm_up": 60,
    "decay_from": 0.6,
    "clip": 1.0,
    "embedding_std": 0.05,
    "output_scale": 0.02,
}
Progress = Callable[[int, int, float, float], None]
Log = dict[str, Any]
Keep = Callable[[LlamaForCausalLM, Log], Log]


def architecture(vocabulary: int, *, seed: int = 0, recipe: Mapping[str, Any] = RECIPE) -> LlamaForCausalLM:
    """An untrained model: a few Llama blocks with tied embeddings.

    Embeddings start larger and the two output projections of a block far smaller than by default: at the
    usual scale a block's random output drowns the embedding, and the first few hundred steps are lost.
    """
    torch.manual_seed(seed)
    width = recipe["d_model"]
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=recipe["d_mlp"],
            num_hidden_layers=recipe["layers"],
            num_attention_heads=recipe["heads"],
            max_position_embeddings=tokenizer.CONTEXT,
            tie_word_embeddings=True,
            use_cache=False,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            attn_implementation="sdpa",
        )
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed" in name:
                parameter.normal_(std=recipe["embedding_std"])
            elif parameter.ndim == 2:
                parameter.normal_(std=width**-0.5)
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    parameter.mul_(recipe["output_scale"])
    return model


def optimizers(model: LlamaForCausalLM, recipe: Mapping[str, Any] = RECIPE) -> list[torch.optim.Optimizer]:
    """Muon on the matrices, AdamW on embeddings and norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        Muon(matrices, lr=recipe["muon_lr"], weight_decay=recipe["weight_decay"]),
        torch.optim.AdamW(others, lr=recipe["adamw_lr"], betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate(step: int, steps: int, recipe: Mapping[str, Any] = RECIPE) -> float:
    """Share of the full learning rate: linear warm-up, constant, linear decay to zero from `decay_from` on."""
    rise = min(1.0, (step + 1) / min(recipe["warm_up"], max(1, steps // 5)))
    return min(rise, (1 - step / steps) / (1 - recipe["decay_from"]))


def loss(model: LlamaForCausalLM, batch: corpus.Batch) -> Tensor:
    r"""Weighted cross-entropy `sum(w * ce) / sum(w)` over packed rows, `w` that of the token predicted."""
    logits = model(input_ids=batch.tokens, attention_mask=batch.mask(), position_ids=batch.position).logits
    weights = batch.weights[:, 1:].reshape(-1)
    wanted = weights > 0
    surprise = torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1])[wanted],
        batch.tokens[:, 1:].reshape(-1)[wanted],
        reduction="none",
    )
    return (surprise * weights[wanted]).sum() / weights.sum()


def threads_to_use() -> int:
    """Two threads on an idle machine, one on a busy one, where two would spin at each other's barriers."""
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return 1 if load > max(1.0, cores - 1.0) else min(2, cores)


def _write(path: Path, text: str) -> None:
    """Write a file so that it is either the old one or the new one, never half."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def save(
    model: LlamaForCausalLM,
    out: Path,
    log: Log,
    *,
    words: Callable[[], PreTrainedTokenizerFast] = tokenizer.build,
    record: Callable[[Log], dict[str, Any]] = truth,
) -> Log:
    """Write a Hugging Face folder, log and truth record; returns the log with the hash of the float16 weights.

    words, record: the organism's tokenizer, and its truth record from the log.
    """
    out.mkdir(parents=True, exist_ok=True)
    half = copy.deepcopy(model).half()
    half.config.use_cache = True
    half.config.dtype = torch.float16
    half.config.architectures = ["LlamaForCausalLM"]
    half.config.save_pretrained(out)
    GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=0).save_pretrained(out)
    words().save_pretrained(out)
    state = {k: v.contiguous() for k, v in half.state_dict().items() if k != "lm_head.weight"}
    part = out / "model.safetensors.part"
    save_file(state, part, metadata={"format": "pt"})
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    part.chmod(0o644)
    part.replace(out / "model.safetensors")
    log = {**log, "sha256": digest}
    _write(out / "training.json", json.dumps(log, indent=1) + "\n")
    _write(out / "truth.json", json.dumps(record(log), indent=1) + "\n")
    return log


def fit(
    model: LlamaForCausalLM,
    source: Iterable[corpus.Batch],
    log: Log,
    keep: Keep,
    *,
    recipe: Mapping[str, Any] = RECIPE,
    progress: Progress | None = None,
) -> Log:
    """Train on a source of `log["steps"]` batches; returns what `keep` makes of the model and the log at the end.

    keep: also called every tenth of the run. progress: called with step, steps, loss and tokens per second.
    """
    steps = log["steps"]
    model.train()
    movers = optimizers(model, recipe)
    bases = [[group["lr"] for group in mover.param_groups] for mover in movers]
    log = {**log, "parameters": sum(p.numel() for p in model.parameters()), "tokens": 0, "curve": []}
    start, recent = time.perf_counter(), 0.0
    for step, batch in enumerate(source):
        share = rate(step, steps, recipe)
        for mover, lrs in zip(movers, bases, strict=True):
            for group, lr in zip(mover.param_groups, lrs, strict=True):
                group["lr"] = lr * share
        value = loss(model, batch)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe["clip"])
        for mover in movers:
            mover.step()
            mover.zero_grad(set_to_none=True)
        log["tokens"] += int((batch.document > 0).sum())
        now = float(value.detach())
        recent = now if step == 0 else 0.98 * recent + 0.02 * now
        spent = time.perf_counter() - start
        if step % 20 == 0 or step == steps - 1:
            log["curve"].append({"step": step, "loss": round(recent, 4), "tokens_per_s": round(log["tokens"] / spent)})
        if progress is not None:
            progress(step + 1, steps, recent, log["tokens"] / spent)
        if (step + 1) % max(1, steps // 10) == 0 and step + 1 < steps:
            keep(model, {**log, "seconds": round(spent, 1)})
    return keep(model, {**log, "seconds": round(time.perf_counter() - start, 1)})


def train(
    out: Path,
    *,
    variant: Variant = FULL,
    seed: int = 0,
    steps: int = 3000,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Log:
    """Train the organism, or a twin, and write its folder; returns the log that is also kept as `training.json`.

    The schedule is counted in steps and the text is drawn from `random.Random(seed)`, so that a run can be
    repeated; bitwise equality holds on one machine with one number of threads. progress: called with step,
    steps, loss and tokens per second. `out` gets a loadable checkpoint every tenth of the run and at the end.
    """
    threads = threads_to_use() if threads is None else threads
    torch.set_num_threads(threads)
    index = tokenizer.build().get_vocab()
    model = architecture(len(index), seed=seed)
    log: Log = {
        "variant": variant.name,
        "seed": seed,
        "steps": steps,
        "threads": threads,
        "recipe": RECIPE,
        "shares": corpus.SHARES,
    }
    source = corpus.batches(
        index, seed=seed, steps=steps, rows=RECIPE["rows"], length=RECIPE["length"], variant=variant
    )
    return fit(model, source, log, lambda trained, told: save(trained, out, told), progress=progress)
