"""Text evidence: rows whose text gives the label away are set apart, and what a probe does on the others is its own."""

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import lens
import probes
from lens.organisms import constructed
from lens.organisms.constructed import evaluation, scenes
from probes.text_evidence import surest

SITE = "resid_post.1"
QUICK = {"controls": (), "draws": 1}


def mixed(planted, *, told, signal, echo, seed=0, groups=60):
    """Rows whose first `told` share names its label in the text (`red` or `blue`); the rest says nothing. The
    activations hold the label with `signal` on axis 0, and with `echo` on axis 1 where the text names it."""
    rng = np.random.default_rng(seed)
    n = 4 * groups
    labels, named = np.tile([0, 1], n // 2), np.arange(n) % 20 < 20 * told
    texts = [
        f"{('red', 'blue')[label] if name else 'grey'} word{rng.integers(5)}"
        for label, name in zip(labels, named, strict=True)
    ]
    acts = planted(groups=groups, signal={1: signal}, texts=texts, seed=seed)
    acts.arrays[lens.Site.parse(SITE)][:, 1] += torch.from_numpy(echo * labels * named).float()
    return acts, named


def test_rows_whose_text_names_the_label_are_told_and_no_others(planted):
    acts, named = mixed(planted, told=0.5, signal=0.0, echo=0.0)
    evidence = probes.text_evidence(acts.examples)
    assert ((evidence >= 0.5) & (evidence <= 1)).all()
    assert (evidence[named] > 0.75).all() and (evidence[~named] < 0.75).all()


def test_texts_that_say_nothing_are_no_evidence_whatever_the_share_of_the_classes(planted):
    for share in (0.5, 0.1):
        rng = np.random.default_rng(1)
        frame = pd.DataFrame(
            {"prompt": [f"word{k}" for k in rng.integers(0, 5, 400)], "label": rng.random(400) < share}
        )
        examples = lens.Examples(frame.assign(label=frame["label"].astype(int), group=range(400)))
        assert np.mean(probes.text_evidence(examples) < 0.75) > 0.95


def test_a_probe_that_echoes_the_text_is_nothing_on_the_rest_and_another_stays(planted):
    found = {}
    for kind, signal, echo in (("echo", 0.0, 8.0), ("own", 2.0, 0.0)):
        train, _ = mixed(planted, told=0.5, signal=signal, echo=echo)
        test, named = mixed(planted, told=0.5, signal=signal, echo=echo, seed=1)
        frame = test.examples.frame.assign(group=[f"new {group}" for group in test.groups])
        test = lens.Activations(test.arrays, test.norms, lens.Examples(frame), test.source)
        fitted = probes.fit(train, SITE)
        found[kind] = probes.evaluate(fitted, test, train=train, text_evidence=0.75, **QUICK).iloc[0]
        untold = probes.text_evidence(test.examples, train=train.examples) < 0.75
        assert not (untold & named).any() and untold[~named].mean() > 0.7
        assert found[kind]["untold_n"] == untold.sum()
        kept = test.select(untold)
        alone = probes.evaluate(fitted, kept, **QUICK).iloc[0]
        assert [alone[name] for name in ("auroc", "low", "high")] == [
            found[kind][name] for name in ("untold", "untold_low", "untold_high")
        ]
        assert 0.4 < found[kind]["untold_text"] < 0.65
    assert found["echo"]["auroc"] > 0.7 and found["echo"]["untold_low"] < 0.5 < found["echo"]["untold_high"]
    assert found["own"]["untold_low"] > 0.8


def test_rows_are_not_chosen_by_whether_the_text_is_right(planted):
    """Words that are wrong in 15 % of their rows: were only the right ones left out, what echoes the text would fall
    below chance on the rest, and look like a probe that has learned the opposite."""
    rng = np.random.default_rng(0)
    labels, named, wrong = np.tile([0, 1], 240), rng.random(480) < 0.5, rng.random(480) < 0.15
    words = np.where(named, np.where(labels ^ wrong, "blue", "red"), "grey")
    acts = planted(texts=[f"{word} word{rng.integers(4)}" for word in words], groups=120)
    kept = probes.text_evidence(acts.examples) < 0.75
    assert not (kept & named).any() and kept[~named].mean() > 0.9
    echo = (words == "blue").astype(float) - (words == "red") + 0.1 * rng.standard_normal(480)
    assert probes.metrics.auroc(labels, echo) > 0.65 and 0.4 < probes.metrics.auroc(labels[kept], echo[kept]) < 0.6
    careless = ~(named & ~wrong)
    assert probes.metrics.auroc(labels[careless], echo[careless]) < 0.45


def test_nothing_is_left_where_every_text_tells(planted):
    acts, _ = mixed(planted, told=1.0, signal=2.0, echo=0.0)
    other, _ = mixed(planted, told=1.0, signal=2.0, echo=0.0, seed=1)
    with pytest.warns(UserWarning, match="tell the labels of 240 of 240 rows with a certainty of 0.75"):
        row = probes.evaluate(probes.fit(acts, SITE), other, text_evidence=0.75, **QUICK).iloc[0]
    assert row["untold_n"] == 0 and np.isnan(row["untold"]) and np.isnan(row["untold_text"])
    assert "untold" not in probes.evaluate(probes.fit(acts, SITE), other, **QUICK)


def labelled(texts, labels, **columns):
    frame = pd.DataFrame({"prompt": texts, "label": labels, "group": range(len(texts)), **columns})
    return lens.Examples(frame)


@pytest.mark.parametrize(
    ("reader", "words"),
    [
        ("bag_of_words", ("abaca", "acaba")),  # the same letters, the same pairs of them
        ("char_ngrams", ("x{}", "y{}")),  # no word is seen twice
    ],
)
def test_what_only_one_reader_sees_is_evidence(reader, words):
    labels = np.tile([0, 1], 60)
    examples = labelled([f"{words[y].format(k)} then" for k, y in enumerate(labels)], labels)
    other = {"bag_of_words": "char_ngrams", "char_ngrams": "bag_of_words"}[reader]
    assert (probes.text_evidence(examples) > 0.9).all()
    assert (probes.text_evidence(examples, readers=[reader]) > 0.9).all()
    assert (probes.text_evidence(examples, readers=[other]) < 0.75).all()


def test_a_response_is_text_where_the_probe_may_see_it(planted):
    labels = np.tile([0, 1], 60)
    answers = [("red", "blue")[label] for label in labels]
    examples = labelled(["what is it ?"] * 120, labels, response=answers)
    assert (probes.text_evidence(examples) == 0.5).all()
    assert (probes.text_evidence(examples, response=True) > 0.9).all()
    assert (probes.text_evidence(examples, train=examples, response=True) > 0.9).all()
    acts, told = planted(signal={1: 2.0}), {}
    for span in ("prompt[-1]", "response"):
        source = dataclasses.replace(acts.source, span=span)
        train, test = (lens.Activations(acts.arrays, acts.norms, examples, source) for _ in range(2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            row = probes.evaluate(probes.fit(train, SITE), test, train=train, text_evidence=0.75, **QUICK).iloc[0]
        told[span] = row["untold_n"]
    assert told == {"prompt[-1]": 120, "response": 0}


def test_scores_that_fall_where_the_labels_rise_are_no_evidence():
    labels = np.tile([0, 1], 50)
    falling = 5.0 - 10.0 * labels[:, None] + np.random.default_rng(0).standard_normal((100, 1))
    assert (surest(falling, labels) == 0.5).all() and (surest(-falling, labels) > 0.75).all()


def test_groups_fewer_than_folds_are_enough():
    labels = np.tile([0, 1], 40)
    examples = labelled([("red", "blue")[label] for label in labels], labels)
    few = lens.Examples(examples.frame.assign(group=np.arange(80) // 20))
    assert (probes.text_evidence(few, folds=5) > 0.9).all()


def test_what_cannot_be_asked_is_refused(planted):
    acts, other = planted(signal={1: 2.0}), planted(signal={1: 2.0}, seed=1)
    for level in (0.5, 1.0):
        with pytest.raises(lens.DataError, match=f"text_evidence={level}"):
            probes.evaluate(probes.fit(acts, SITE), other, text_evidence=level, **QUICK)
    for readers in (["length", "words"], []):
        with pytest.raises(lens.DataError, match="available: bag_of_words, char_ngrams, length, punctuation"):
            probes.text_evidence(acts.examples, readers=readers)
    with pytest.raises(lens.DataError, match="All 60 rows have label 1"):
        probes.text_evidence(acts.examples.select(acts.labels == 1))


def test_cue_words_held_out_of_training_are_untold_and_the_trained_organism_reads_them():
    model, examples = lens.load("organism"), lens.data.load("evaluation")
    first, test = examples.split(test=0.5, seed=0)
    train = first.where(held_out="none")
    untold = probes.text_evidence(test, train=train) < 0.75
    held = (test.frame["held_out"] != "none").to_numpy()
    assert not untold[~held].any() and untold[held].mean() > 0.7
    read = {"sites": ["resid_post.1"], "span": "prompt[-1]", "progress": False}
    known, acts = lens.collect(model, train, **read), lens.collect(model, test, **read)
    fitted = probes.fit(known, "resid_post.1", "logistic")
    row = probes.evaluate(fitted, acts, train=known, text_evidence=0.75, **QUICK).iloc[0]
    assert row["untold_low"] > 0.85 and 0.3 < row["untold_text"] < 0.65


@pytest.mark.parametrize(("name", "aware"), [("evaluation", True), ("evaluation-unaware", False)])
def test_an_organism_that_reads_the_format_alone_seems_aware_until_the_text_tells_nothing(name, aware):
    """Fitted where context and format go together. Half of the tested rows have new context words and a format at
    random: only there does it show that the unaware organism holds nothing but the format."""
    organism = constructed.build(name)
    model = lens.wrap(organism.hf, organism.tokenizer, name=name)
    random = np.random.default_rng(0)

    def collected(part, mixed):
        rows = []
        for k in range(200):
            label, new = k % 2, mixed and k % 4 > 1
            form = random.integers(2) if new else label
            words = (evaluation.TEST if label else evaluation.LIVE)[2 * new :][:2]
            opening, cue = random.choice(evaluation.EXAM if form else evaluation.CHAT), random.choice(words)
            place, thing = random.choice(scenes.PLACES), random.choice(scenes.THINGS)
            prompt = f"{opening} , the {thing} {cue} near the {place} , {evaluation.ASK} ?"
            rows.append({"prompt": prompt, "label": label, "group": f"{part} {k}"})
        examples = lens.Examples(pd.DataFrame(rows))
        return lens.collect(model, examples, sites=["resid_post.0"], span="prompt[-1]", progress=False)

    train, test = collected("train", False), collected("test", True)
    fitted = probes.fit(train, "resid_post.0")
    row = probes.evaluate(fitted, test, train=train, text_evidence=0.75, **QUICK).iloc[0]
    assert row["low"] > 0.6 and row["untold_n"] > 40
    assert 0.35 < row["untold_text"] < 0.65
    assert (row["untold_low"] > 0.6) if aware else (row["untold_low"] < 0.5 < row["untold_high"])


def test_a_sweep_shows_every_cell_on_the_rows_that_the_text_does_not_tell(planted):
    options = {"permutations": 0, "random_draws": 2, "progress": False}
    for signal, echo, own in ((0.0, 8.0, False), (2.0, 0.0, True)):
        acts, named = mixed(planted, told=0.5, signal=signal, echo=echo)
        table = probes.sweep(acts, "mean_difference", **options).set_index("site")
        cell = table.loc[SITE]
        evidence = probes.text_evidence(acts.examples)
        assert cell["untold_n"] == (evidence < 0.75).sum() and not (named & (evidence < 0.75)).any()
        assert cell["untold_low"] <= cell["untold"] <= cell["untold_high"] and abs(cell["untold_text"] - 0.5) < 0.2
        assert (cell["untold_low"] > 0.7) == own and (cell["untold_low"] < 0.5 < cell["untold_high"]) == (not own)
        if echo:
            assert cell["auroc"] > 0.7
    assert "untold" not in probes.sweep(acts, "mean_difference", text_evidence=None, **options)
    with pytest.raises(lens.DataError, match=r"text_evidence=0\.4"):
        probes.sweep(acts, "mean_difference", text_evidence=0.4, **options)
