"""What the study measures: layers, scores of every detector at every layer, nulls, texts, transfer, beliefs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.activations import Activations
from lens.collect import collect
from lens.examples import Examples
from lens.model import Model
from lens.sites import Site
from lens.text_only import text_fold_scores, text_scores
from probes.direction import Direction
from probes.folds import grouped_folds
from probes.metrics import auroc, threshold_at_fpr
from steering.studies.deception.detectors import Training, chosen
from steering.studies.deception.read import reads_response, unpooled
from steering.studies.deception.scenes import ERROR, HONEST, Scenes, numbered
from steering.studies.result import settings_of

READERS = ("bag_of_words", "char_ngrams", "length")


@dataclass(frozen=True, eq=False)
class Options:
    """How the study is done; see `run`."""

    detectors: Sequence[str]
    sites: Any
    span: str
    read: str
    lam: float
    fpr: float
    tolerated: float
    draws: int
    random_draws: int
    strengths: Sequence[float]
    max_new_tokens: int
    seed: int
    progress: bool

    @property
    def given_sites(self) -> list[Any]:
        return [self.sites] if isinstance(self.sites, str | Site) else list(self.sites)

    def settings(
        self, model: Model, given: Mapping[str, Examples | None], battery: Mapping[str, Examples]
    ) -> dict[str, Any]:
        """Everything that decides the numbers."""
        data = {name: None if one is None else one.hash(whole=True) for name, one in given.items()}
        return settings_of(
            model,
            **data,
            battery={name: one.hash(whole=True) for name, one in battery.items()},
            detectors=list(self.detectors),
            sites=[str(site) for site in self.given_sites],
            span=self.span,
            read=self.read,
            lam=self.lam,
            fpr=self.fpr,
            tolerated=self.tolerated,
            draws=self.draws,
            random_draws=self.random_draws,
            strengths=list(self.strengths),
            max_new_tokens=self.max_new_tokens,
            seed=self.seed,
            nulls="labels permuted over groups, inside the scenario; random directions and refitted ones choose their "
            "own layer, and strength, to be added and to be taken away",
        )


@dataclass(frozen=True, eq=False)
class Study:
    """One run: the model, checked pairs, what they are tested on, and how."""

    model: Model
    pairs: Examples
    scenes: Scenes
    control: Scenes
    options: Options
    battery: Mapping[str, Examples] = field(default_factory=dict)

    @cached_property
    def sites(self) -> list[Site]:
        return self.model.sites(self.options.sites)

    @cached_property
    def training(self) -> Training:
        return self._training(self.pairs)

    @cached_property
    def tested(self) -> Activations:
        return self._read(self.scenes.examples)

    @cached_property
    def chats(self) -> Activations:
        return self._read(self.control.examples)

    def validation(self) -> pd.DataFrame:
        """Each detector at each layer on pairs held out, and which layer it is read at."""
        return pd.concat([self._validated(name, self.training) for name in self.options.detectors], ignore_index=True)

    def scores(self) -> pd.DataFrame:
        """Scores of every scenario row, then of every control chat: a column for each detector and layer."""
        columns = {}
        for name in self.options.detectors:
            for site in self.sites:
                direction = self.direction(name, site)
                each = [direction.score_activations(acts).double().numpy() for acts in (self.tested, self.chats)]
                columns[f"{name} {site}"] = np.concatenate(each)
        return pd.DataFrame(columns)

    def direction(self, name: str, site: Site) -> Direction:
        """A detector fitted on all pairs, once."""
        if (name, site) not in self._fitted:
            self._fitted[name, site] = self.training.direction(name, site)
        return self._fitted[name, site]

    @cached_property
    def _fitted(self) -> dict[tuple[str, Site], Direction]:
        return {}

    def cosines(self) -> pd.DataFrame:
        """Of every detector with the difference of means, which steers: what classifies best need not be what the
        model writes."""
        rows = []
        for name in self.options.detectors:
            for site in self.sites:
                cosine = self.direction(name, site).cosine(self.direction("mean_difference", site))
                rows.append({"detector": name, "site": str(site), "cosine": cosine})
        return pd.DataFrame(rows)

    def nulls(self) -> pd.DataFrame:
        """Random directions, and the first detector refitted on labels exchanged within pairs: each with its own
        layer."""
        rows, training, name = [], self.training, self.options.detectors[0]
        for best, vector in training.random(self.options.random_draws):
            rows.append({"null": "random direction"} | self._numbers(self.sites[best], vector))
        for labels in training.permuted(self.options.draws):
            best = chosen(training.validation(name, labels))
            vector = training.coef(name, self.sites[best], labels)
            rows.append({"null": "labels exchanged"} | self._numbers(self.sites[best], vector))
        return pd.DataFrame(rows)

    def texts(self) -> pd.DataFrame:
        """Scores of every scenario row, then of every control chat, by classifiers of text fitted on the pairs; and of
        scenario rows by those cross-validated on the scenarios."""
        labels, examples = self.scenes.labels, self.scenes.examples
        asked = [part.texts(response=reads_response(self.options.read)) for part in (examples, self.control.examples)]
        columns = {name: self.told_by_text(name, self.pairs, asked[0] + asked[1]) for name in READERS}
        count = len(set(self.scenes.groups))
        both = min(len(set(self.scenes.groups[labels == label])) for label in (0, 1))
        if both >= 2:
            plan = grouped_folds(labels, self.scenes.groups, min(5, count, both), self.options.seed, warned=True)
            for name in READERS:
                own = text_fold_scores(name, asked[0], labels, plan, seed=self.options.seed)
                columns[f"{name}, learned there"] = np.r_[own, np.full(len(asked[1]), np.nan)]
        return pd.DataFrame(columns)

    def told_by_text(self, name: str, pairs: Examples, texts: list[str]) -> Float[np.ndarray, " n"]:
        """Scores by a classifier of text fitted on pairs."""
        known = pairs.texts(response=reads_response(self.options.span))
        return text_scores(name, known, pairs.labels, texts, seed=self.options.seed)

    def transfer(self) -> pd.DataFrame:
        """Scores of every scenario row by the first detector fitted on the pairs of each kind (nan for rows of groups
        that are in these pairs), then of every control chat; and of scenario rows by the best text-only classifier."""
        name, columns = self.options.detectors[0], {}
        texts = self.scenes.examples.texts(response=reads_response(self.options.read))
        for kind, pairs in self.battery.items():
            training = self._training(pairs)
            told = self._validated(name, training)
            site = self.sites[int(told["chosen"].to_numpy().argmax())]
            direction = training.direction(name, site)
            scores = [direction.score_activations(acts).double().numpy() for acts in (self.tested, self.chats)]
            known = np.isin(self.scenes.groups, pairs.groups.astype(str))
            if numbered(pairs) or numbered(self.scenes.examples, self.scenes.kept):
                known[:] = False
            columns[kind] = np.r_[np.where(known, np.nan, scores[0]), scores[1]]
            for reader in READERS:
                columns[f"{kind} {reader}"] = np.r_[self.told_by_text(reader, pairs, texts), 0 * scores[1]]
        return pd.DataFrame(columns)

    def against_honest(self, kind: str) -> np.ndarray:
        """Rows of a kind, and honest ones to hold them against (errors and the like are left out where there are
        others): in the scenario, outside of which a detector of scenarios would tell them as well."""
        inside, kinds = self.scenes.inside, self.scenes.kinds
        frank, honest = inside & (self.scenes.labels == 0), inside & (kinds == HONEST)
        plain = honest if honest.any() else frank & (kinds != ERROR)
        return np.asarray((inside & (kinds == kind)) | (plain if plain.any() else frank))

    def _training(self, pairs: Examples) -> Training:
        acts = unpooled(self.model, pairs, self.sites, self.options.span, progress=self.options.progress)
        return Training(acts, self.options.lam, self.options.seed)

    def _validated(self, name: str, training: Training) -> pd.DataFrame:
        told = training.validation(name, training.labels)
        table = pd.DataFrame({"detector": name, "site": [str(site) for site in self.sites]})
        table["layer"] = [site.layer for site in self.sites]
        table["validation"], table["apart"] = told[:, 0], told[:, 1]
        return table.assign(chosen=np.arange(len(told)) == chosen(told))

    def _numbers(self, site: Site, vector: Float[np.ndarray, " d"]) -> dict[str, Any]:
        """AUROC, recall and flag rate of a vector, and the layer at which it was read."""
        score, control = (acts.numpy(site).astype(np.float64) @ vector for acts in (self.tested, self.chats))
        labels = self.scenes.labels
        flags = score > threshold_at_fpr(control, self.options.fpr)
        rates = {"recall": flags[labels == 1].mean(), "flagged": flags[(labels == 0) & self.scenes.inside].mean()}
        return {"site": str(site), "auroc": float(auroc(labels, score)), **rates}

    def _read(self, examples: Examples) -> Activations:
        """The mean over the tokens of the span, which a direction scores as the mean of their scores."""
        return collect(self.model, examples, sites=self.sites, span=self.options.read, progress=self.options.progress)
