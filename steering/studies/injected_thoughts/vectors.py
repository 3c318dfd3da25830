"""Concept vectors: what a word brings to mind, beside what words in general do.

    v_w = h(prompt about w) − mean over baseline words b of h(prompt about b),      at the last prompt token

at every site in one pass; kept with its raw norm, so that strengths are multiples of the vector itself.

Source: Lindsey, Emergent introspective awareness in large language models (2025).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from lens.collect import collect
from lens.errors import DataError, available
from lens.examples import Examples, Prompt
from lens.model import Model
from lens.sites import Site
from lens.tokens import encode
from probes.direction import Direction
from probes.provenance import provenance_of
from steering.studies.injected_thoughts.questions import TELL, filled
from steering.studies.injected_thoughts.words import BASELINE, WORDS

Concepts = dict[str, dict[Site, Direction]]
DEPTHS = (0.4, 0.55, 0.7, 0.85)
FEWEST_WORDS = 4


def concept_vectors(
    model: Model,
    words: Sequence[str] = WORDS,
    baseline_words: Sequence[str] = BASELINE,
    sites: str | Site | Sequence[str | Site] = "resid_post",
    *,
    tell: Prompt = TELL,
    progress: bool = True,
) -> Concepts:
    """The vector of each word at each site; `norm` and `difference` of each are its raw length.

    tell: the prompt, with `{word}` where the word stands. Raises DataError: no word, no baseline, a word in both, a
    prompt without a place for it, or a word whose vector is 0 (one the tokenizer cannot spell).
    """
    words, baseline = list(dict.fromkeys(words)), [one for one in dict.fromkeys(baseline_words) if one not in words]
    if not words or not baseline:
        raise DataError(f"Concept vectors need words and baseline words; given: {len(words)} and {len(baseline)}.")
    if filled(tell, word="") == tell:
        raise DataError(f"tell={tell!r:.80} has no {{word}} to be replaced.")
    table = Examples.from_texts([filled(tell, word=word) for word in [*words, *baseline]])
    acts = collect(model, table, sites=sites, span="prompt[-1]", progress=progress)
    found: Concepts = {word: {} for word in words}
    for site in acts.sites:
        usual = acts[site][len(words) :].double().mean(dim=0)
        norm = acts.residual_norm(site)
        known = provenance_of(acts.source, len(table), method="concept")
        for word, h in zip(words, acts[site][: len(words)].double(), strict=True):
            vector = h - usual
            length = float(vector.norm())
            if length <= 1e-6 * norm:
                raise DataError(f"{word!r} has no vector at {site}: it reads as the baseline words do.")
            found[word][site] = Direction(
                vector=(vector / length).float(),
                site=site,
                norm=length,
                bias=0.0,
                residual_norm=norm,
                difference=length,
                neutral=math.nan,
                provenance=replace(known, method=f"concept {word!r}"),
            )
    return found


def spelled(model: Model, words: Sequence[str], tell: Prompt) -> list[str]:
    """Those that the tokenizer can spell where they stand in the prompt."""
    unknown = model.tokenizer.unk_token_id

    def strange(word: str) -> int:
        return encode(model.tokenizer, filled(tell, word=word)).ids.count(unknown)

    usual = strange("") if unknown is not None else 0
    return [word for word in words if unknown is None or strange(word) <= usual]


def given(
    concepts: Mapping[str, Direction | Mapping[Site, Direction]], model: Model, sites: Sequence[Site] | None
) -> Concepts:
    """Directions by name, at their own sites, or moved to these. Raises DataError: fewer than two, or at different
    sites. ArtifactError: of another model."""
    if len(concepts) < 2:
        raise DataError(f"At least two concepts are needed; given: {available(concepts)}.")
    found: Concepts = {}
    for name, one in concepts.items():
        own = {one.site: one} if isinstance(one, Direction) else dict(one)
        if sites is not None:
            first = next(iter(own.values()))
            own = {site: own.get(site, first.at(site)) for site in sites}
        for direction in own.values():
            direction.check_model(model)
        found[name] = dict(sorted(own.items(), key=lambda pair: pair[0].depth))
    places = {tuple(own) for own in found.values()}
    if len(places) > 1:
        raise DataError("Concepts were given at different sites; give sites=, or all at the same.")
    return found


def length(direction: Direction) -> float:
    """Of the raw vector: of the difference of means where it is known, else of what it was made from."""
    return direction.difference if direction.difference > 0 else direction.norm


def usual_sites(model: Model) -> list[Site]:
    """Four depths, around the two thirds where the effect is reported to be largest."""
    return model.sites([f"resid_post.{min(int(depth * model.n_layers), model.n_layers - 1)}" for depth in DEPTHS])


def stacked(directions: Sequence[Direction]) -> torch.Tensor:
    """Raw vectors `[k, d]`."""
    return torch.stack([one.vector * length(one) for one in directions])
