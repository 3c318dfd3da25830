"""What the tests of weight edits share: models that may be changed, and how to tell that they are as they were."""

import tiny
import torch

import lens
from probes import Direction

# Families whose attention and MLP add to the stream what their writers give: tied and untied, with and without biases,
# Linear and Conv1D, parallel blocks, grouped heads.
PLAIN = ("gpt2", "pythia", "llama", "qwen3", "mistral", "phi3", "falcon", "gptneo", "qwen2", "gptj")
TIED = ("gpt2", "qwen3", "falcon", "gptneo", "qwen2")
GATED = ("llama", "qwen3", "mistral", "phi3", "qwen2", "gemma2", "gemma3", "olmo2")


def fresh(family: str, seed: int = 0) -> lens.Model:
    return lens.wrap(*tiny.hugging_face(family, seed=seed), name=family)


def direction(seed: int = 0, site: str = "resid_post.1", **known) -> Direction:
    vector = torch.randn(64, generator=torch.Generator().manual_seed(seed))
    return Direction.from_vector(vector, site, **known)


def logits(model, text: str = tiny.TEXTS[0]):
    with torch.no_grad():
        return model.hf(model.tokenizer(text, return_tensors="pt").input_ids).logits[0]


def state(model) -> dict[str, object]:
    """Every tensor, which names share one, the configuration, and what modules keep beside parameters."""
    parameters = dict(model.hf.named_parameters(remove_duplicate=False))
    tensors = {name: tensor.detach().clone() for name, tensor in model.hf.state_dict().items()}
    return {
        "tensors": tensors,
        "identity": {name: (id(parameter), parameter.requires_grad) for name, parameter in parameters.items()},
        "config": model.hf.config.to_dict(),
        "modules": {name: sorted(vars(module)) for name, module in model.hf.named_modules()},
        "edits": list(model.edits),
        "fingerprint": model.fingerprint,
        "hooks": sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.hf.modules()),
    }


def is_as(model, before) -> bool:
    """Whether everything is as it was, tensors bit for bit."""
    after = state(model)
    tensors, old = after.pop("tensors"), dict(before)
    were = old.pop("tensors")
    bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in tensors.values()]
    old_bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in were.values()]
    return list(tensors) == list(were) and after == old and all(map(torch.equal, bits, old_bits))


def changed(model, before) -> list[str]:
    """Names of the tensors that are not bit for bit what they were."""
    now, were = state(model)["tensors"], before["tensors"]
    return [name for name in now if name not in were or not torch.equal(now[name], were[name])]
