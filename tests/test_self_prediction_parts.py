"""The parts of self-prediction: properties, probes in folds, gaps, and how often nothing is taken for something."""

import numpy as np
import pandas as pd
import pytest
from self_predicted import evidence, judged_of

import lens
from probes.fit import make
from steering.studies.result import judged
from steering.studies.self_prediction import answering, comparing, reading

RUNS = 200
# Of 200 draws at .05, no more than this with probability .99.
MOST = 18


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("answer", ["The 12 apples", "no!", "é 7", None]),
        ("first word", ["the", "no", "é", None]),
        ("second word", ["12", None, "7", None]),
        ("first character", ["t", "n", "é", None]),
        ("second character", ["h", "o", "7", None]),
        ("third character", ["e", "!", None, None]),
        ("vowel", ["no", "no", "no", None]),
        ("even", ["yes", None, "no", None]),
    ],
)
def test_properties(name, values):
    given = answering.property_of(name)
    assert [given(text) for text in (" The 12 apples", "no!", "é 7", " ")] == values


def test_vowels_and_functions():
    vowel = answering.property_of("vowel")
    assert [vowel(text) for text in ("Amber", "coral", "7 apples", "'a'")] == ["yes", "no", None, None]
    length = answering.property_of(lambda text: len(text) or None)
    assert [length("abc"), length("")] == ["3", None]
    assert answering.property_of(lambda text: "")("abc") is None


def test_options_are_lists_for_all_or_each():
    rows = lens.Examples(
        pd.DataFrame({"prompt": ["a", "b"], "few": [["x", "y"], ["y", "z"]], "bad": [["x", "y"], "y"]})
    )
    assert answering.options_of(rows, ["x", "y"]) == [["x", "y"]] * 2
    assert answering.options_of(rows, "few") == [["x", "y"], ["y", "z"]]
    with pytest.raises(lens.DataError, match="Row 1: column 'bad' holds 'y'"):
        answering.options_of(rows, "bad")


def test_frequencies_of_values_and_none_where_nothing_was_sampled():
    table = pd.DataFrame({"values": [["b", "a"], [], ["c"]], "shares": [[0.75, 0.25], [], [1.0]]})
    found = answering.frequencies(table, ["a", "b"])
    assert found[0].tolist() == [0.25, 0.75] and np.isnan(found[1]).all() and found[2].tolist() == [0.0, 0.0]


def planted(seed=0, n=60, sites=4, signal=None, width=5, k=2):
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.arange(n) % k)
    arrays = {f"site {number}": rng.standard_normal((n, width)) for number in range(sites)}
    if signal is not None:
        for code in range(k):
            arrays[f"site {signal}"][:, code] += 4.0 * (codes == code)
    return arrays, codes, np.arange(n).astype(str)


@pytest.mark.parametrize("k", [2, 3])
def test_the_site_that_holds_it_is_chosen_and_read(k):
    arrays, codes, groups = planted(signal=2, k=k)
    table = reading.read(arrays, codes, reading.folds_of(codes, groups, 3, 0), k)
    chosen = table[table["chosen"]].sort_values("row")
    assert chosen["row"].tolist() == list(range(60)) and set(chosen["site"]) == {"site 2"}
    right = chosen["predicted"].to_numpy() == codes
    assert right.mean() > 0.85
    assert (chosen["p"].to_numpy()[right] > 1 / k).all() and chosen["p"].between(0.003, 1).all()


def test_the_choice_of_a_site_is_paid_for():
    """Of eight sites that hold nothing, the best is right more often than not; the one that folds choose is not."""
    best, paid = [], []
    for seed in range(4):
        arrays, codes, groups = planted(seed, n=36, sites=8)
        table = reading.read(arrays, codes, reading.folds_of(codes, groups, 3, 0), 2)
        right = (table["predicted"] == codes[table["row"]]).astype(float)
        best.append(right.groupby(table["site"]).mean().max())
        paid.append(right[table["chosen"]].mean())
    assert np.mean(best) > 0.6 and np.mean(paid) < 0.56


def test_a_group_is_never_read_by_a_probe_that_has_seen_it():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 6).astype(str)
    codes = np.repeat(rng.permutation(np.arange(20) % 2), 6)
    place = np.repeat(rng.standard_normal((20, 20)), 6, axis=0)  # the same in all rows of a group
    table = reading.read({"site": place}, codes, reading.folds_of(codes, groups, 4, 0), 2)
    assert (table["predicted"].to_numpy() == codes[table["row"]])[table["site"] == "site"].mean() < 0.8


def test_choices_are_those_of_plain_folds_within_folds():
    arrays, codes, groups = planted(seed=3, n=30, sites=3, signal=None)
    arrays["site 1"][:, 0] += codes
    plan = reading.folds_of(codes, groups, 4, 0)
    wanted = []
    for f, (train, _) in enumerate(plan):
        loss = {}
        for name, X in arrays.items():
            each = []
            for g, (_, test) in enumerate(plan):
                if g != f:
                    inner = np.setdiff1d(train, test)
                    p = make("logistic").fit(X[inner], codes[inner]).predict_proba(X[test])
                    p = 0.99 * p + 0.01 / 2
                    each += (-np.log(p[np.arange(len(test)), codes[test]])).tolist()
            loss[name] = np.sum(each)
        constant = 0.0
        for g, (_, test) in enumerate(plan):
            if g != f:
                share = 0.99 * np.bincount(codes[np.setdiff1d(train, test)]) / len(np.setdiff1d(train, test)) + 0.005
                constant -= np.log(share[codes[test]]).sum()
        loss[reading.CONSTANT] = constant
        wanted.append(min(loss, key=loss.get))
    assert reading.choices(arrays, codes, plan, 2, "logistic") == wanted and len(set(wanted)) > 1


def test_where_nothing_is_held_the_commonest_value_is_said():
    arrays, codes, groups = planted(seed=1, sites=1)
    codes = (np.arange(60) % 3 == 0).astype(int)
    table = reading.read(arrays, codes, reading.folds_of(codes, groups, 3, 0), 2)
    chosen = table[table["chosen"]]
    assert set(chosen["site"]) == {reading.CONSTANT} and (chosen["predicted"] == 0).all()
    # Of 40 and 20 rows, in folds with as many of each.
    assert -np.log(chosen["p"]).mean() == pytest.approx(0.637, abs=0.01)


def test_rows_read_again_are_predicted_by_probes_of_the_first_reading():
    arrays, codes, groups = planted(signal=0, sites=1)
    plan = reading.folds_of(codes, groups, 3, 0)
    turned = {"site 0": arrays["site 0"][:, [1, 0, 2, 3, 4]]}
    first = reading.read(arrays, codes, plan, 2).query("chosen").sort_values("row")
    again = reading.read(arrays, codes, plan, 2, later=turned).query("chosen").sort_values("row")
    assert (first["predicted"].to_numpy() == codes).mean() > 0.9
    assert (again["predicted"].to_numpy() == 1 - codes).mean() > 0.9


def test_text_that_tells_is_read_and_a_value_of_one_group_breaks_nothing():
    rng = np.random.default_rng(0)
    codes = np.arange(40) % 2
    texts = [f"{'red' if code else 'blue'} {rng.choice(list('abcdef'))} {rng.choice(list('abcdef'))}" for code in codes]
    table = reading.read_texts(texts, codes, reading.folds_of(codes, np.arange(40).astype(str), 3, 0), 2, "logistic")
    right = (table["predicted"] == codes[table["row"]]).groupby(table["site"]).mean()
    assert right.to_dict() == {"words": 1.0, "characters": 1.0, "spelling": 1.0}
    rare = np.where(np.arange(40) == 7, 2, codes)
    table = reading.read_texts(texts, rare, reading.folds_of(rare, np.arange(40).astype(str), 3, 0), 3, "logistic")
    wrong = table[(table["predicted"] != rare[table["row"]])]
    assert set(wrong["row"]) == {7} and len(table) == 120


def test_a_gap_is_to_the_best_of_the_others_and_its_p_to_the_nearest():
    groups = np.arange(40).astype(str)
    own = np.arange(40) < 30
    far, near = np.arange(40) < 10, np.arange(40) < 20
    found = comparing.gap(own, {"far": far, "near": near}, groups, 0)
    assert (found.value, found.best, found.headroom) == (0.25, "near", 0.5)
    p = comparing.above(np.stack([own * 1.0 - near, own * 1.0 - far]), groups, 0)
    assert found.p == p[0] > p[1]
    # Ten rows of forty: about .25 ± 1.96 √(.25 · .75 / 40).
    assert (found.low, found.high) == pytest.approx((0.25 - 0.134, 0.25 + 0.134), abs=0.03)
    assert comparing.gap(near, {"far": far, "own": own}, groups, 0).value == -0.25


def test_above_is_one_sided_and_by_groups():
    groups = np.arange(12).astype(str)
    d = np.stack([np.ones(12), -np.ones(12), np.zeros(12)])
    more, less, none = comparing.above(d, groups, 0)
    assert more < 0.002 and less > 0.99 and none == 1
    # Two groups of six: both signs are kept a quarter of the time.
    assert comparing.above(d[:1], np.repeat(["a", "b"], 6), 0) == pytest.approx(0.25, abs=0.02)


def rights(**rates):
    """Rows that are right: the first so many of a hundred."""
    return {(name[0], name[1]): np.arange(100) < rate for name, rate in rates.items()}


@pytest.mark.parametrize(
    ("rates", "corrected", "capability"),
    [
        ({"AA": 90, "BA": 60, "BB": 90, "AB": 60}, 0.3, 0.0),  # each knows itself
        ({"AA": 90, "BA": 60, "BB": 60, "AB": 90}, 0.0, 0.3),  # A reads anything better
        ({"AA": 90, "BA": 50, "BB": 50, "AB": 50}, 0.2, 0.2),  # A knows itself, B nothing
    ],
)
def test_the_correction_takes_off_what_one_model_reads_better_of_both(rates, corrected, capability):
    found = comparing.corrected(rights(**rates), np.arange(100).astype(str), 0)
    assert found["corrected"] == pytest.approx(corrected) and found["capability"] == pytest.approx(capability)
    assert found["corrected_low"] <= corrected <= found["corrected_high"]


def test_a_better_reader_of_both_is_not_said_to_know_itself():
    crossed, groups = rights(AA=95, BA=55, BB=55, AB=95), np.arange(100).astype(str)
    plain = {target: {"mode": np.arange(100) < 50} for target in "AB"}
    made, gaps = comparing.claims(crossed, plain, {}, groups, 0)
    table = judged(made)
    assert table["p_holm"].iloc[0] < 0.05 and table["low"].iloc[0] > 0 and not table["shown"].any()
    assert gaps["capability"].tolist() == pytest.approx([0.4, -0.4])
    table = judged(comparing.claims(rights(AA=95, BA=55, BB=95, AB=55), plain, {}, groups, 0)[0])
    assert table["shown"].all() and table["value"].tolist() == pytest.approx([0.4, 0.4])


def test_worse_than_the_text_is_never_shown():
    groups = np.arange(100).astype(str)
    plain = {target: {"words": np.arange(100) < 99, "mode": np.arange(100) < 50} for target in "AB"}
    made, _ = comparing.claims(rights(AA=80, BA=50, BB=80, AB=50), plain, {"A": np.arange(100) < 80}, groups, 0)
    table = judged(made)
    assert table["value"].tolist() == pytest.approx([-0.19] * 3) and not table["shown"].any()


def test_kappa():
    one, other = np.array(list("aabb")), np.array(list("abab"))
    assert comparing.alike(one, other) == {"agreement": 0.5, "kappa": 0.0}
    assert comparing.alike(one, one)["kappa"] == 1 and np.isnan(comparing.alike(one[:2], one[:2])["kappa"])


@pytest.mark.parametrize("rate", [pytest.param(0.5, marks=pytest.mark.slow), 0.8])
def test_of_models_that_know_each_other_as_well_as_themselves_nothing_is_shown(rate):
    """Right as often, each on rows of its own: the null that is hardest to keep."""
    groups, shown, small = np.arange(30).astype(str), 0, 0
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        right = {(a, b): rng.random(30) < rate for a in "AB" for b in "AB"}
        plain = {target: {"words": rng.random(30) < rate, "mode": rng.random(30) < 0.5} for target in "AB"}
        made, _ = comparing.claims(right, plain, {name: rng.random(30) < rate for name in "AB"}, groups, seed)
        shown += bool(judged(made)["shown"].any())
        small += comparing.above((right["A", "A"] * 1.0 - right["B", "A"])[None], groups, seed)[0] < 0.05
    assert shown <= MOST and small <= MOST


@pytest.mark.slow
@pytest.mark.parametrize("holds", [{"A": "", "B": ""}, {"A": "AB", "B": "AB"}, {"A": "AB", "B": ""}])
def test_nothing_is_shown_where_nothing_is_true_from_the_activations_on(holds):
    """Nothing held; both answers held by both; both held by one model, the better reader."""
    shown = sum(bool(judged_of(evidence(seed, holds, sites=1, texts=False))["shown"].any()) for seed in range(RUNS))
    assert shown <= MOST


def test_what_is_held_is_shown():
    found = evidence(0, {"A": "A", "B": "B"}, groups=60)
    assert judged_of(found)["shown"].tolist() == [True, True, False, False]


def test_a_value_may_be_said_in_other_words(models):
    words = {"yes": " fox", "no": " money"}
    plain = answering.spoken_answers(models("gpt2"), ["the quick", "she"], [" fox", " money"], {}, progress=False)
    said = answering.spoken_answers(models("gpt2"), ["the quick", "she"], ["no", "yes"], words, progress=False)
    assert [row[::-1] for row in said["shares"]] == plain["shares"].tolist()
    assert said["mass"].tolist() == plain["mass"].tolist() and (said["by"] == "next token").all()
