"""What the demo shows: one table, one page, one file of results."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from lens import figures
from lens.model import Model
from lens.report import Page, write_json
from steering.demo.story import Story

SHOWN_TEXTS = 8
PACKAGES = ("behaviorlens", "torch", "transformers", "transformer-lens", "scikit-learn")


def summary(stories: Sequence[Story]) -> pd.DataFrame:
    """One row per result, on test groups: what was measured, its value and interval, and what to compare it with."""
    rows: list[dict[str, Any]] = []
    for story in stories:
        name, measure = story.behaviour.name, story.behaviour.measure.name
        for test, table in story.evaluations.items():
            by = table.set_index("detector")
            rows.append(
                {
                    "behaviour": name,
                    "result": f"probe AUROC, {test}",
                    "value": by.loc["probe", "auroc"],
                    "low": by.loc["probe", "low"],
                    "high": by.loc["probe", "high"],
                    "compare with": f"bag of words {by.loc['bag_of_words', 'auroc']:.2f}, character n-grams "
                    f"{by.loc['char_ngrams', 'auroc']:.2f}, random direction "
                    f"{by.loc['random_direction', 'auroc']:.2f} (to {by.loc['random_direction', 'high']:.2f})",
                    "groups": int(by.loc["probe", "groups"]),
                }
            )
        at = story.at_choice
        prompt = story.curve[story.curve["arm"] == "prompt"].iloc[0]
        rows.append(
            {
                "behaviour": name,
                "result": f"{measure} steered at {story.direction.site}, strength {story.strength:+g}",
                "value": at["steered"],
                "low": at["low"],
                "high": at["high"],
                "compare with": f"unsteered {at['unsteered']:.2f}, random direction {at['random']:.2f} "
                f"({at['random_low']:.2f} to {at['random_high']:.2f}), asked for by prompt {prompt['value']:.2f}",
                "groups": int(story.curve["groups"].iloc[0]),
            }
        )
        ablation = story.ablation
        rows.append(
            {
                "behaviour": name,
                "result": f"{measure} when asked for, mean-ablated at {ablation['site']}",
                "value": ablation["after"]["value"],
                "low": ablation["after"]["low"],
                "high": ablation["after"]["high"],
                "compare with": f"before {ablation['before']['value']:.2f}: {ablation['removed']:.0%} removed; set to "
                f"zero {ablation['to_zero']['value']:.2f}, random direction to zero "
                f"{ablation['random_to_zero']['value']:.2f}",
                "groups": int(prompt["groups"]),
            }
        )
        edited = story.edit["instructed_under_edit"]
        rows.append(
            {
                "behaviour": name,
                "result": f"{measure} when asked for, weights orthogonalised",
                "value": edited["value"],
                "low": edited["low"],
                "high": edited["high"],
                "compare with": f"hooks differ by {story.edit['hook_and_edit_differ']:.0e} of the logit scale; undo "
                + ("exact" if story.edit["undone_bit_for_bit"] else "NOT exact"),
                "groups": int(prompt["groups"]),
            }
        )
        for other, change in story.off_target.items():
            rows.append(
                {
                    "behaviour": name,
                    "result": f"side effect: change of {other} at strength {story.strength:+g}",
                    "value": change["value"],
                    "low": change["low"],
                    "high": change["high"],
                    "compare with": f"random direction {change['random']:+.2f}",
                    "groups": change["groups"],
                }
            )
    return pd.DataFrame(rows)


def results(model: Model, stories: Sequence[Story], seconds: float) -> dict[str, Any]:
    """Everything the demo found, as plain numbers and tables."""
    return {
        "model": {"name": model.name, "fingerprint": model.fingerprint},
        "versions": {name: version(name) for name in PACKAGES},
        "seconds": seconds,
        "summary": summary(stories),
        "behaviours": {
            story.behaviour.name: {
                "sweep": story.sweep,
                "probe": {"site": str(story.probe.direction.site), "method": story.probe.direction.provenance.method},
                "evaluation": story.evaluations,
                "steering": {"site": str(story.direction.site), "strength": story.strength, **story.at_choice},
                "validation": story.validation,
                "dose_response": story.curve,
                "mean_ablation": story.ablation,
                "edit": story.edit,
                "off_target_change": story.off_target,
                "texts": texts(story, limit=None),
            }
            for story in stories
        },
    }


def texts(story: Story, *, limit: int | None = SHOWN_TEXTS) -> pd.DataFrame:
    """Prompts and answers, one column per arm."""
    table = pd.DataFrame({arm: answers["text"] for arm, answers in story.texts.items()})
    table.insert(0, "prompt", story.prompts)
    return table.head(limit) if limit else table


def tests(story: Story) -> pd.DataFrame:
    """One row per test of the probe: its AUROC, and what it has to beat there."""
    rows = []
    for name, table in story.evaluations.items():
        by = table.set_index("detector")
        rows.append(
            {
                "test": name,
                **by.loc["probe", ["auroc", "low", "high", "p", "accuracy"]],
                "bag of words": by.loc["bag_of_words", "auroc"],
                "character n-grams": by.loc["char_ngrams", "auroc"],
                "length": by.loc["length", "auroc"],
                "random direction": by.loc["random_direction", "auroc"],
                "random, 97.5 %": by.loc["random_direction", "high"],
                "n": int(by.loc["probe", "n"]),
                "groups": int(by.loc["probe", "groups"]),
            }
        )
    return pd.DataFrame(rows)


def write(model: Model, stories: Sequence[Story], seconds: float, out: Path) -> Path:
    """Write `index.html` and `results.json` into a folder; returns the page's path."""
    write_json(results(model, stories, seconds), out / "results.json")
    return page(model, stories).write(out / "index.html")


def page(model: Model, stories: Sequence[Story]) -> Page:
    """The report: every figure with a sentence that says what to see."""
    built = Page(
        "From texts to measured effect: honesty and warmth",
        f"The embedded organism ({model.n_layers} blocks of width {model.d_model}), a language model of a small "
        "readable world. Probes are fitted and chosen on training groups and tested on groups they were not fitted on; "
        "layer and strength of steering are chosen on validation groups and reported on test groups. Intervals are "
        "95 %, bootstrapped over groups; below 20 groups (column groups) they are too narrow.",
        footer=f"Model fingerprint {model.fingerprint}. "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        + ". Every number on this page is in results.json beside it.",
    )
    built.section("In one table")
    built.table(summary(stories), "Each result beside what it has to be compared with.")
    for story in stories:
        _behaviour(built, story)
    return built


def _behaviour(built: Page, story: Story) -> None:
    behaviour, at, chosen = story.behaviour, story.at_choice, story.probe.direction
    measure = behaviour.measure.name
    built.section(
        behaviour.name.capitalize(),
        f"Label 1: {behaviour.classes[1]}; label 0: {behaviour.classes[0]}. Read at the last prompt token, where the "
        "answer is decided.",
    )
    text = float(story.sweep[["bag_of_words", "char_ngrams"]].iloc[0].max())
    top = float(story.sweep["auroc"].max())
    built.figure(
        figures.layer_curve(story.sweep),
        f"Where it can be read. Cross-validated on training rows with whole groups held out, the best cell reaches "
        f"{top:.2f}; look for lines above the dotted one (random directions) and the black ones (the text alone, at "
        f"most {text:.2f}). Chosen: {chosen.provenance.method} at {chosen.site}.",
    )
    test, table = next(iter(story.evaluations.items()))
    by = table.set_index("detector")["auroc"]
    built.figure(
        figures.score_histogram(*story.scores, names=behaviour.classes),
        f"Test rows ({test}): the two colours should lie on their own sides of the dashed line. AUROC "
        f"{by['probe']:.2f}, where the bag of words has {by['bag_of_words']:.2f} and character n-grams "
        f"{by['char_ngrams']:.2f}.",
    )
    built.table(
        tests(story),
        "The probe on each test, and what it has to beat there. Baselines learned on the probe's own training rows.",
    )
    built.figure(
        figures.dose_response(story.curve),
        f"What it does. Adding the direction at {story.direction.site} moves {measure} from {at['unsteered']:.2f} to "
        f"{at['steered']:.2f} at the strength chosen on validation rows ({story.strength:+g}); random directions of "
        f"the same norm (gray) give {at['random']:.2f}. Where the dotted coherence line falls, the model no longer "
        "answers the question.",
    )
    ablation = story.ablation
    off = ", ".join(f"{name} by {change['value']:+.2f}" for name, change in story.off_target.items())
    coherent = ", ".join(f"{arm} {share:.0%}" for arm, share in at["coherent_texts"].items())
    built.table(
        texts(story),
        f"Greedy answers to the same prompts, unsteered and steered at the last prompt token. Coherent texts: "
        f"{coherent}. Mean-ablating at {ablation['site']} removes "
        f"{ablation['removed']:.0%} of {measure} where the prompt asks for it ({ablation['before']['value']:.2f} to "
        f"{ablation['after']['value']:.2f}). On other prompts the chosen strength changes {off}.",
    )
