"""steering.edit on weights that are no plain matrices: refused by name, and left as they were."""

import pytest
import torch
import transformers
from edited import direction, fresh, logits
from torch import nn

import lens
from lens import ModelError
from steering import Orthogonalize, edit


def quantised():
    model = fresh("llama")
    hf = torch.ao.quantization.quantize_dynamic(model.hf, {nn.Linear}, dtype=torch.qint8)
    return lens.wrap(hf, model.tokenizer, name="int8")


def declared_quantised():
    model = fresh("llama")
    model.hf.config.quantization_config = transformers.BitsAndBytesConfig(load_in_8bit=True)
    return model


def with_adapter():
    from peft import LoraConfig, get_peft_model

    model = fresh("llama")
    return lens.wrap(get_peft_model(model.hf, LoraConfig(target_modules=["down_proj"])), model.tokenizer)


REFUSED = {
    "int8 weights": (quantised, "no plain writing matrix.*quantised"),
    "declared as quantised": (declared_quantised, "is quantised.*load it unquantised"),
    "experts": (lambda: fresh("mixtral"), "no plain writing matrix.*fused experts"),
    "fused experts": (lambda: fresh("gptoss"), "no plain writing matrix.*fused experts"),
    "an adapter": (with_adapter, "merge it first"),
    "a norm after the embeddings": (lambda: fresh("bloom"), "normalises its embeddings"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_weights_that_are_no_plain_matrices_are_refused_and_left_alone(what):
    make, says = REFUSED[what]
    model = make()
    before = logits(model)
    with pytest.raises(ModelError, match=says):
        edit(model, Orthogonalize(direction()))
    assert model.edits == [] and torch.equal(logits(model), before)
