"""One token per word, as an ordinary Hugging Face tokenizer: the trained organisms' and the constructed ones'."""

from collections.abc import Sequence

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

__all__ = ["SPECIALS", "word_level"]

SPECIALS: tuple[str, ...] = ("<pad>", "<bos>", "<eos>", "<unk>")


def word_level(
    words: Sequence[str], *, context: int, tags: Sequence[str] = (), chat_template: str | None = None
) -> PreTrainedTokenizerFast:
    """A word's id is its place in `words`, which begins with the specials; `tokenizer(text)` puts `<bos>` first.

    tags: words of the list that are special tokens too (the roles of a chat).
    """
    index = {word: number for number, word in enumerate(words)}
    core = Tokenizer(models.WordLevel(index, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", index["<bos>"])]
    )
    given = {"additional_special_tokens": list(tags), "chat_template": chat_template}
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=context,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **{key: value for key, value in given.items() if value},
    )
