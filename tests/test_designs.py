"""Designs that could fool: collinear columns, groups on both sides, rows used twice, choosing and testing at once."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import lens
import probes
from lens.organisms import constructed
from probes.metrics import auroc, auroc_within
from probes.strata import strata_of

QUICK = {"folds": 3, "permutations": 2, "random_draws": 10, "progress": False}


def with_columns(acts, **columns):
    frame = acts.examples.frame.assign(**columns)
    return lens.Activations(acts.arrays, acts.norms, lens.Examples(frame), acts.source, acts.mask)


def two_by_two(collinear, seed=0, n=400):
    """Context is the label, on axis 0, 2 apart; format on axis 1, 4 apart and, if collinear, always the context."""
    rng = np.random.default_rng(seed)
    context = np.arange(n) % 2
    form = context if collinear else (np.arange(n) // 2) % 2
    noise = rng.standard_normal((n, 16))
    noise[:, 0] += 2 * context
    noise[:, 1] += 4 * form
    array = torch.from_numpy(noise).float()
    frame = {"prompt": [f"text {k}" for k in range(n)], "label": context, "format": np.where(form == 1, "exam", "chat")}
    table = lens.Examples(pd.DataFrame(frame))
    source = lens.activations.Source("planted", "planted", "prompt[-1]", "mean", table.hash(), {})
    site = lens.Site("resid_post", 0)
    return lens.Activations({site: array}, {site: array.norm(dim=1)}, table, source)


def test_a_collinear_design_gets_no_auroc():
    acts = two_by_two(collinear=True)
    with pytest.raises(lens.DataError, match="'format' cannot be told apart: format=chat only label 0, format=exam"):
        probes.sweep(acts, "mean_difference", against=["format"], **QUICK)
    fitted = probes.fit(two_by_two(collinear=False), "resid_post.0")
    with pytest.raises(lens.DataError, match="cannot be told apart"):
        probes.evaluate(fitted, acts, against=["format"])
    with pytest.raises(lens.DataError, match="No column 'topic' to hold constant; available: prompt, label"):
        probes.sweep(acts, against=["topic"], **QUICK)


def test_columns_that_give_the_label_away_only_together_are_refused():
    label = np.arange(40) % 2
    one = (np.arange(40) // 2) % 2
    frame = pd.DataFrame({"prompt": list(map(str, range(40))), "label": label, "a": one, "b": one ^ label})
    assert len(set(strata_of(lens.Examples(frame), ["a"]))) == 2
    with pytest.raises(lens.DataError, match="'a' × 'b'"):
        strata_of(lens.Examples(frame), ["a", "b"])


def test_a_probe_of_collinear_rows_mislabels_the_off_diagonal():
    """Methods §4.4: trained on collinear rows, 84 % of deployment in exam format is called a test, and 18–20 % of tests
    in chat format; trained on crossed rows, 20 % and 78 %. The analytic rates for this geometry are near these."""
    crossed = two_by_two(collinear=False, seed=1, n=4000)
    rates = {}
    for collinear in (True, False):
        fitted = probes.fit(two_by_two(collinear=collinear, n=4000), "resid_post.0", "lda")
        table = probes.flag_rates(fitted, crossed, by=["label", "format"]).set_index(["label", "format"])
        rates[collinear] = [table.loc[(0, "exam"), "flagged"], table.loc[(1, "chat"), "flagged"]]
        assert (table["low"] <= table["flagged"]).all() and (table["flagged"] <= table["high"]).all()
    # Score axis (2, 4): means at ±6 around the threshold, sd √20; crossed, axis (2, 0): ±1 in standard deviations.
    assert rates[True] == pytest.approx([0.91, 0.09], abs=0.03)
    assert rates[False] == pytest.approx([0.16, 0.84], abs=0.03)


def test_the_auroc_within_strata_tells_a_format_probe_from_a_context_probe():
    test = two_by_two(collinear=False, seed=1)
    form = probes.Direction.from_vector(np.eye(16)[1], "resid_post.0")
    context = probes.Direction.from_vector(np.eye(16)[0], "resid_post.0")
    mixed = test.select((test.labels == (test.examples.frame["format"] == "exam")) | (np.arange(400) % 8 < 2))
    found = {
        name: probes.evaluate(one, mixed, against=["format"]).iloc[0] for name, one in (("f", form), ("c", context))
    }
    assert found["f"]["auroc"] > 0.8 and found["f"]["within_low"] < 0.5 < found["f"]["within_high"]
    assert found["c"]["within"] > 0.85 and found["c"]["within_low"] < found["c"]["within"] < found["c"]["within_high"]


def test_the_auroc_within_one_stratum_is_the_auroc_and_strata_without_pairs_are_nothing():
    rng = np.random.default_rng(0)
    labels, scores = np.arange(60) % 2, rng.standard_normal(60)
    assert auroc_within(labels, scores, np.zeros(60)) == pytest.approx(float(auroc(labels, scores)))
    shifted, strata = np.r_[scores, scores + 100], np.repeat([0, 1], 60)
    assert auroc_within(np.r_[labels, labels], shifted, strata) == pytest.approx(float(auroc(labels, scores)))
    assert np.isnan(auroc_within(labels, scores, labels))


def test_collinear_training_rows_are_named():
    fitted = probes.fit(two_by_two(collinear=True), "resid_post.0")
    with pytest.warns(UserWarning, match="In the training rows the label and 'format' cannot be told apart"):
        probes.evaluate(fitted, two_by_two(False, seed=1), train=two_by_two(True), against=["format"], draws=20)


@pytest.mark.parametrize("name", ["evaluation", "deception"])
def test_constructed_organisms_fool_probes_of_collinear_rows(name):
    """The organism's own 2×2: what a probe of collinear rows says of the off-diagonal is what the other factor says."""
    organism = constructed.build(name)
    model = lens.wrap(organism.hf, organism.tokenizer, name=name)
    factors = {"evaluation": ("context", "format"), "deception": ("lie", "scenario")}[name]
    frame = organism.examples.frame
    values = [sorted(frame[factor].unique()) for factor in factors]
    label = (frame[factors[0]] == values[0][-1]).astype(int)
    other = (frame[factors[1]] == values[1][-1]).astype(int)
    examples = lens.Examples(frame.assign(label=label, other=other))
    read = {"sites": ["resid_post.0"], "span": "prompt[-1]", "progress": False}
    acts = lens.collect(model, examples, **read)
    collinear = acts.select((label == other).to_numpy())
    with pytest.raises(lens.DataError, match="'other' cannot be told apart"):
        probes.sweep(collinear, "mean_difference", against=["other"], **QUICK)
    wrong = probes.flag_rates(probes.fit(collinear, "resid_post.0"), acts, by=["label", "other"])
    right = probes.flag_rates(probes.fit(acts, "resid_post.0"), acts, by=["label", "other"])
    off = wrong["label"] != wrong["other"]
    gap = {
        kind: float((table["flagged"] - table["label"]).abs()[off].mean())
        for kind, table in (("collinear", wrong), ("crossed", right))
    }
    assert gap["crossed"] < 0.1 and gap["collinear"] > 0.4


@pytest.mark.filterwarnings("ignore:Only")
def test_rows_used_twice_and_other_spans_are_named(planted):
    train, test = planted(signal={1: 2.0}), planted(signal={1: 2.0}, seed=1)
    fitted = probes.fit(train, "resid_post.1")
    with pytest.warns(UserWarning, match="evaluated on the rows it was fitted on"):
        probes.evaluate(fitted, train, draws=5)
    elsewhere = lens.Activations(
        test.arrays, test.norms, test.examples, lens.activations.replace(test.source, span="response", pool="max")
    )
    with pytest.warns(UserWarning, match="fitted on span 'prompt\\[-1\\]' and is evaluated on span 'response'"):
        probes.evaluate(fitted, elsewhere, draws=5)
    with pytest.warns(UserWarning, match="30 of 30 test groups are in the training rows"):
        probes.evaluate(fitted, test, train=train, draws=5)
    apart = with_columns(test, group=[f"new {g}" for g in test.groups])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probes.evaluate(fitted, apart, train=train, draws=5)


def test_groups_that_only_number_rows_are_judged_by_their_texts(planted):
    texts = [f"a text {k}" for k in range(120)]
    train = with_columns(planted(signal={1: 2.0}, texts=texts), group=range(120))
    other = with_columns(planted(signal={1: 2.0}, texts=[f"b{t}" for t in texts], seed=1), group=range(120))
    same = with_columns(planted(signal={1: 2.0}, texts=texts, seed=1), group=range(120))
    fitted = probes.fit(train, "resid_post.1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probes.evaluate(fitted, other, train=train, draws=5)
    with pytest.warns(UserWarning, match="120 texts are in both"):
        probes.evaluate(fitted, same, train=train, draws=5)


def test_arguments_out_of_range_are_refused(planted):
    acts = planted(signal={1: 2.0})
    fitted = probes.fit(acts, "resid_post.1")
    test = planted(signal={1: 2.0}, seed=1)
    for options, message in (
        ({"fpr": 0.0}, "fpr=0.0"),
        ({"fpr": 1.5}, "between 0 and 1"),
        ({"draws": 0}, "draws=0"),
        ({"controls": ("random",)}, "Unknown control 'random'; available: random_direction"),
    ):
        with pytest.raises(lens.DataError, match=message):
            probes.evaluate(fitted, test, **options)
    with pytest.raises(lens.DataError, match="permutations=-1"):
        probes.sweep(acts, permutations=-1, progress=False)
    with pytest.raises(lens.DataError, match="folds=1"):
        probes.sweep(acts, folds=1, progress=False)
    with pytest.warns(UserWarning, match=r"120 control rows cannot show .* 0\.001: .* give 1000 or more"):
        probes.evaluate(fitted, test, control=planted(seed=3), fpr=0.001, draws=5)


def test_a_constant_site_is_named_and_nothing_is_found_there(planted):
    acts = planted(signal={1: 3.0})
    still = {site: torch.ones_like(a) if site.layer == 0 else a for site, a in acts.arrays.items()}
    broken = lens.Activations(still, acts.norms, acts.examples, acts.source)
    with pytest.warns(UserWarning, match=r"All rows are equal at resid_post\.0: there is nothing to read"):
        table = probes.sweep(broken, ["mean_difference", "logistic"], **QUICK)
    assert table[table["site"] == "resid_post.0"]["auroc"].between(0.4, 0.55).all()


def test_nan_and_one_label_are_refused_before_anything_is_fitted(planted):
    acts = planted()
    acts.arrays[lens.Site("resid_post", 1)][3, 2] = float("nan")
    with pytest.raises(lens.DataError, match=r"resid_post\.1 hold values that are not finite"):
        probes.sweep(acts, progress=False)
    with pytest.raises(lens.DataError, match="All 60 rows have label 1"):
        probes.nested(planted().select(planted().labels == 1), progress=False)


def test_nested_folds_are_honest_where_choosing_on_the_test_rows_is_not(planted):
    """Noise at 12 sites: the best of them looks like a finding, and nested folds say that it is none."""
    greedy, honest = [], []
    for seed in range(5):
        acts = planted(groups=24, per_group=2, layers=12, width=4, seed=50 + seed)
        labels = acts.labels
        plan = probes.folds.grouped_folds(labels, acts.groups, 3, 0)
        scores = [probes.folds.cross_scores(acts.numpy(s), labels, plan, "mean_difference") for s in acts.sites]
        greedy.append(max(float(auroc(labels, one)) for one in scores))
        honest.append(probes.nested(acts, "mean_difference", folds=3, inner=3, progress=False).auroc)
    assert np.mean(greedy) > 0.6 and np.mean(honest) < 0.57


def test_nested_folds_find_the_site_and_the_penalty(planted):
    acts = planted(signal={1: 3.0})
    found = probes.nested(acts, ["mean_difference", probes.Logistic(C=0.01)], folds=4, inner=3, progress=False)
    assert (found.folds["site"] == "resid_post.1").all() and len(found.folds) == 4
    assert found.low < found.auroc < found.high and found.auroc > 0.95
    assert found.auroc == pytest.approx(np.average(found.folds["auroc"]), abs=0.02)
    with pytest.raises(lens.DataError, match="nothing to choose from"):
        probes.nested(acts, [], progress=False)
