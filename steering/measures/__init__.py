"""Measures: plain callables from what a model did to one number per row.

A measure says whether it needs next-token logits, generated text, or the model itself. Missing is nan: a row whose text
is empty or cut off has no value, and is counted.
"""

from steering.measures.base import Measure, Outcome, over_variants
from steering.measures.likelihood import kl, log_probability, perplexity
from steering.measures.options import expected_value, option
from steering.measures.probe import probe_score
from steering.measures.texts import REFUSALS, contains, judge, lexicon, refusal, repetition, text

__all__ = [
    "REFUSALS",
    "Measure",
    "Outcome",
    "contains",
    "expected_value",
    "judge",
    "kl",
    "lexicon",
    "log_probability",
    "option",
    "over_variants",
    "perplexity",
    "probe_score",
    "refusal",
    "repetition",
    "text",
]
