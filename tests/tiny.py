"""Tiny random models of many families, with tokenizers: everything the tests run on, made in milliseconds."""

import functools
import tempfile
from pathlib import Path

import torch
import transformers as tf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

FAMILIES = ("gpt2", "pythia", "llama", "qwen3", "gemma2", "mistral", "phi3")
MORE_FAMILIES = ("olmo2", "falcon", "opt", "bloom", "gptneo", "gptj", "qwen2", "gemma3", "mixtral", "gptoss")
ALL_FAMILIES = FAMILIES + MORE_FAMILIES
PARALLEL = ("pythia", "falcon", "gptj")  # attention and MLP read the same stream: no resid_mid
POST_NORM = ("gemma2", "gemma3", "olmo2")  # attention and MLP outputs are normalised before they are added
EXPERTS = ("mixtral", "gptoss")  # mixtures of experts: no single matrix writes the MLP's output
WITH_BOS = ("llama", "gemma2", "gemma3", "mistral", "mixtral")

TEXTS = ["the quick brown fox", "she lied", "the money that she lied about was quick money", "brown", "a fox, a fox"]

CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% if not loop.last or m['role'] != 'assistant' %}"
    "<|end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

_SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
_GROUPED = dict(_SIZES, num_key_value_heads=2)
_OLD = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}


def tokenizer(*, bos: str | None = None, chat: bool = False, encoder: bool = False) -> tf.PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer. Words of the corpus are single tokens, with and without a space before."""
    made = tf.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained(bos, encoder)), **_names(bos, encoder)
    )
    if chat:
        made.chat_template = CHAT
    return made


def _names(bos: str | None, encoder: bool) -> dict[str, str]:
    if encoder:
        return {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
    return {"eos_token": "<|endoftext|>"} | ({"bos_token": bos} if bos else {})


@functools.cache
def _trained(bos: str | None, encoder: bool) -> str:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    words = ["the", "quick", "brown", "fox", "she", "lied", "about", "money", "was", "that", "yes", "no", "maybe"]
    corpus = [" ".join(words), *words] * 8
    special = list(_names(bos, encoder).values())
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(corpus, trainer)
    if encoder:
        ends = [(token, made.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
        made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    elif bos:
        start = [(bos, made.token_to_id(bos))]
        made.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=start)
    return made.to_str()


def config(family: str, vocab: int) -> tf.PretrainedConfig:
    size, grouped, old = dict(_SIZES, vocab_size=vocab), dict(_GROUPED, vocab_size=vocab), dict(_OLD, vocab_size=vocab)
    makers = {
        "gpt2": lambda: tf.GPT2Config(vocab_size=vocab, n_embd=64, n_layer=4, n_head=4, n_positions=128),
        "pythia": lambda: tf.GPTNeoXConfig(**size),
        "llama": lambda: tf.LlamaConfig(**grouped),
        "qwen3": lambda: tf.Qwen3Config(**grouped, head_dim=16, tie_word_embeddings=True),
        "gemma2": lambda: tf.Gemma2Config(**grouped, head_dim=16, query_pre_attn_scalar=16, sliding_window=32),
        "qwen2": lambda: tf.Qwen2Config(**grouped, tie_word_embeddings=True),
        "gemma3": lambda: tf.Gemma3TextConfig(**grouped, head_dim=16, query_pre_attn_scalar=16, sliding_window=32),
        "mistral": lambda: tf.MistralConfig(**grouped, sliding_window=64),
        "mixtral": lambda: tf.MixtralConfig(**grouped, num_local_experts=4, num_experts_per_tok=2),
        "gptoss": lambda: tf.GptOssConfig(
            **grouped, head_dim=16, sliding_window=32, num_local_experts=4, num_experts_per_tok=2
        ),
        "phi3": lambda: tf.Phi3Config(**grouped, pad_token_id=0),
        "olmo2": lambda: tf.Olmo2Config(**grouped),
        "gptj": lambda: tf.GPTJConfig(vocab_size=vocab, n_embd=64, n_layer=4, n_head=4, n_positions=128, rotary_dim=8),
        "bloom": lambda: tf.BloomConfig(vocab_size=vocab, hidden_size=64, n_layer=4, n_head=4),
        "falcon": lambda: tf.FalconConfig(**old),
        "opt": lambda: tf.OPTConfig(**old, ffn_dim=128, word_embed_proj_dim=64, max_position_embeddings=128),
        "gptneo": lambda: tf.GPTNeoConfig(
            vocab_size=vocab, hidden_size=64, num_layers=4, num_heads=4, attention_types=[[["global", "local"], 2]]
        ),
    }
    made = makers[family]()
    made.initializer_range = 0.15  # the usual 0.02 makes every tiny model say the same thing again and again
    made.bos_token_id = made.eos_token_id = 0
    return made


def hugging_face(family: str, *, seed: int = 0, chat: bool = False):
    """A random model of a family and its tokenizer, fresh: tests may change it."""
    torch.manual_seed(seed)
    made = tokenizer(bos="<s>" if family in WITH_BOS else None, chat=chat)
    model = tf.AutoModelForCausalLM.from_config(config(family, len(made))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases are 0 and norms 1 in a new model: mistakes with them would go unseen
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
    model.generation_config.eos_token_id = None
    return model, made


def encoder(kind: type = tf.BertModel, *, seed: int = 0):
    """A random BERT and its tokenizer."""
    torch.manual_seed(seed)
    made = tokenizer(encoder=True)
    size = dict(_SIZES, vocab_size=len(made), initializer_range=0.15)
    return kind(tf.BertConfig(**size, pad_token_id=made.pad_token_id)).eval(), made


def saved(family: str, folder: Path | None = None) -> Path:
    """A folder with a model and its tokenizer, as users have them."""
    folder = folder or Path(tempfile.mkdtemp())
    model, made = encoder() if family == "bert" else hugging_face(family)
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder
