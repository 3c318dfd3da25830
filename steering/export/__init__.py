"""Export: steering for other programs. Each format is written from interventions, and read back as interventions."""

from steering.export.control_vector import gguf, read_gguf
from steering.export.declared import read_transformer_lens, transformer_lens
from steering.export.harness import lm_eval, read_lm_eval
from steering.export.tensors import persona_vectors, read_persona_vectors, read_safetensors, safetensors

__all__ = [
    "gguf",
    "lm_eval",
    "persona_vectors",
    "read_gguf",
    "read_lm_eval",
    "read_persona_vectors",
    "read_safetensors",
    "read_transformer_lens",
    "safetensors",
    "transformer_lens",
]
