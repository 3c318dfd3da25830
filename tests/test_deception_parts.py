"""Parts of the study of deception: pairs, recipe, numbers."""

import numpy as np
import pandas as pd
import pytest
import torch
from deception_data import idle
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import lens
from lens import DataError, SpanError
from lens.intervals import wilson
from steering.studies import deception
from steering.studies.deception.detectors import Training, chosen, flat, held_out, means, separation
from steering.studies.deception.numbers import Test as Compared
from steering.studies.deception.numbers import permutations, three
from steering.studies.deception.pairs import checked_pairs
from steering.studies.deception.read import unpooled

FACTS = [f"the fox number {number} was quick about money that she lied" for number in range(10)]


def frame(rows):
    return lens.Examples(pd.DataFrame(rows))


# pairs


def test_a_fact_is_said_under_both_instructions():
    pairs = deception.instructed_pairs(FACTS, honest=["tell", "say"], deceptive=["lie", "fool"], seed=1)
    rows = pairs.frame
    assert len(rows) == 20 and (rows.groupby("group")["label"].sum() == 1).all()
    assert (rows.groupby("group")["response"].nunique() == 1).all()
    assert set(rows[rows["label"] == 1]["instruction"]) == {"lie", "fool"}
    assert rows["prompt"][0] == [{"role": "user", "content": rows["instruction"][0]}]
    questions = frame([{"prompt": "is it ?", "response": "yes", "group": "a"}])
    asked = deception.instructed_pairs(questions, honest="tell", deceptive="lie").frame
    assert asked["prompt"][0] == [{"role": "system", "content": "lie"}, {"role": "user", "content": "is it ?"}]
    assert deception.instructed_pairs(questions, honest="tell", deceptive="lie", chat=False).frame["prompt"][1] == (
        "tell is it ?"
    )


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        ([], {}, "list of true statements"),
        (["a", ""], {}, "Fact 1"),
        (["a"], {"honest": "x", "deceptive": "x"}, "as honest and as deceptive"),
        (["a"], {"honest": []}, "honest instructions"),
    ],
)
def test_facts_and_instructions_that_are_none(given, options, said):
    with pytest.raises(DataError, match=said):
        deception.instructed_pairs(given, **options)


def test_unequal_pairs_are_named():
    rows = deception.instructed_pairs(FACTS).frame
    with pytest.raises(DataError, match=r"'fact 3' .* 0 deceptive and 1 honest"):
        checked_pairs(lens.Examples(rows.drop(index=6)), response=True)
    other = rows.assign(response=[*rows["response"][:-1], "another thing"])
    with pytest.raises(DataError, match=r"'fact 9' .* under one instruction only"):
        checked_pairs(lens.Examples(other), response=True)
    with pytest.raises(DataError, match="at least 8"):
        checked_pairs(lens.Examples(rows[:6]), response=True)
    with pytest.raises(DataError, match="Row 0 of the pairs has no response"):
        checked_pairs(lens.Examples(rows.drop(columns="response")), response=True)
    assert (
        checked_pairs(lens.Examples(rows.sample(frac=1, random_state=0)), response=True).labels.tolist() == [0, 1] * 10
    )


def test_a_statement_too_short_for_the_span_is_named_before_anything_runs(llama):
    given = idle(seed=0)
    with pytest.raises(SpanError, match=r"Pairs: .*such as 'response'"):
        deception.run(llama, given["pairs"], given["scenarios"], given["control"], progress=False)


# recipe


@pytest.fixture(scope="module")
def training(models):
    pairs = checked_pairs(deception.instructed_pairs(FACTS, chat=False), response=True)
    acts = unpooled(models("llama"), pairs, ["resid_post.1", "resid_post.2"], "response[:-5]", progress=False)
    return Training(acts, 10.0, 0)


def test_tokens_are_flattened_without_the_last_five(training, models):
    acts = training.acts
    rows = models("llama").rows(acts.examples.prompts, acts.examples.responses)
    counts = [len(row.ids) - row.prompt_length - 5 for row in rows]
    tokens = flat(acts)
    assert acts.mask.sum(dim=1).tolist() == counts and len(tokens) == sum(counts)
    assert tokens.labels.tolist() == np.repeat(acts.labels, counts).tolist()
    np.testing.assert_array_equal(tokens["resid_post.1"][: counts[0]], acts["resid_post.1"][0, : counts[0]])


def test_the_logistic_detector_is_that_of_the_recipe(training):
    """Standardised on the training tokens, L2 with λ = 10, scored by the mean over the response's tokens."""
    tokens = flat(training.acts)
    X, site = tokens.numpy("resid_post.1").astype(float), training.sites[0]
    scaler = StandardScaler().fit(X)
    theirs = LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000).fit(scaler.transform(X), tokens.labels)
    direction = training.direction("logistic", site)
    each = [
        scaler.transform(row[there].numpy().astype(float)) @ theirs.coef_[0] + theirs.intercept_[0]
        for row, there in zip(training.acts[site], training.acts.mask, strict=True)
    ]
    ours = direction.score(torch.from_numpy(means(training.acts, site))).numpy()
    np.testing.assert_allclose(ours, [one.mean() for one in each], atol=1e-3)
    assert direction.log_odds and direction.residual_norm > 0


def test_lat_takes_the_differences_within_pairs(training):
    tokens, site = flat(training.acts), training.sites[1]
    X, labels = tokens.numpy(site).astype(float), tokens.labels
    apart = X[labels == 1] - X[labels == 0]
    _, vectors = np.linalg.eigh(apart.T @ apart)
    ours = training.direction("lat", site).vector.numpy()
    assert abs(ours @ vectors[:, -1]) > 0.999 and ours @ apart.mean(axis=0) > 0
    assert training.paired


def test_a_layer_is_chosen_by_auroc_and_then_by_distance():
    assert chosen(np.array([[0.9, 9.0], [0.991, 1.0], [0.989, 3.0]])) == 2
    np.testing.assert_allclose(separation(np.array([0.0, 2.0, 4.0, 6.0]), np.array([0, 0, 1, 1])), [1.0, 4.0])


def test_pairs_that_choose_share_neither_fact_nor_instruction_with_those_that_fit():
    pairs = checked_pairs(
        deception.instructed_pairs(
            [f"a {k} b c d e f" for k in range(40)], honest=list("hijk"), deceptive=list("wxyz")
        ),
        response=True,
    )
    folds = held_out(pairs, seed=0)
    assert len(folds) == 2
    for known, held in folds:
        for column in ("group", "instruction"):
            assert not set(pairs.frame[column].iloc[known]) & set(pairs.frame[column].iloc[held])
        assert set(pairs.labels[known]) == set(pairs.labels[held]) == {0, 1}
    assert len(held_out(lens.Examples(pairs.frame.drop(columns="instruction")), seed=0)) == 1


# numbers


def test_the_three_numbers_by_hand():
    control = np.arange(200.0)  # two of them may pass: above 197
    score = np.array([198.0, 197.0, 300.0, 500.0, 198.0, 0.0, 400.0])
    labels, inside = np.array([1, 1, 1, 0, 0, 0, 0]), np.array([1, 1, 0, 1, 1, 1, 0], bool)
    found = three(score, control, labels, inside, fpr=0.01)
    assert found["threshold"] == 197 and found["recall"] == pytest.approx(2 / 3)
    assert found["flagged"] == pytest.approx(2 / 3) and found["flagged_n"] == 3, "only honest rows in a scenario"
    assert (found["flagged_low"], found["flagged_high"]) == wilson(2, 3) and np.isnan(found["recall_strict"])
    assert three(score, np.arange(1000.0) / 10, labels, inside, fpr=0.01)["recall_strict"] == 1.0


def test_permuted_labels_stay_in_their_groups_and_whole_groups_move():
    groups, labels = np.repeat(["a", "b", "c", "d"], 3), np.array([0, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    drawn = permutations(labels, groups, draws=400, seed=0)
    assert (drawn[:, :3].sum(axis=1) == 2).all() and drawn[:, :3].mean(axis=0).min() > 0.5
    assert all(len(set(row[k : k + 3])) == 1 for row in drawn for k in (3, 6, 9))
    assert drawn[:, 3].mean() == pytest.approx(2 / 3, abs=0.1)


def test_a_gap_of_flag_rates_needs_lies_that_are_flagged_more():
    labels, groups = np.tile([1, 0], 30), np.arange(60) // 2
    test = Compared(labels, groups, np.ones(60, bool), draws=499)
    every, lies, none = (test.gap(flags) for flags in (np.ones(60, bool), labels == 1, np.zeros(60, bool)))
    assert every.value == none.value == 0 and every.p == none.p == 1
    assert lies.value == 1 and lies.p == 1 / 500 and lies.low == 1
    part = Compared(labels, groups, np.arange(60) < 30, draws=99).gap(labels == 1)
    assert part.n == 30 and part.groups == 15


def test_auroc_of_permuted_labels_gives_valid_p():
    rng, p = np.random.default_rng(0), []
    for seed in range(150):
        groups = np.arange(40) // 2
        labels = np.repeat(rng.permutation(np.repeat([0, 1], 10)), 2)
        score = np.repeat(rng.standard_normal(20), 2)  # rows of a group are alike
        p.append(Compared(labels, groups, np.ones(40, bool), seed=seed, draws=99).told(score).p)
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 2 * (0.05 * 0.95 / 150) ** 0.5
