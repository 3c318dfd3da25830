"""Parts of the study of evaluation awareness: elasticity, reading in a 2×2, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from evaluation_data import design, planted

import lens
from lens import DataError, ModelError
from steering.studies import evaluation_awareness as study
from steering.studies.asked import Asked
from steering.studies.evaluation_awareness import elasticity, flag_cells, reading, refit
from steering.studies.evaluation_awareness.design import Design
from steering.studies.evaluation_awareness.elastic import called, rewritten
from steering.studies.evaluation_awareness.refit import Refit
from steering.studies.evaluation_awareness.steered import Arms, Steered, verdicts
from steering.studies.evaluation_awareness.told import contrast

SITE = "resid_post.0"


@pytest.mark.parametrize("probe", ["mean_difference", "lda"])
def test_the_reported_two_by_two_is_reproduced(probe):
    """Format twice as strong as context: in distribution .95; confounded .84 and .18; decorrelated .20 and .78."""
    table = flag_cells(planted(0, collinear=False, n=20000), planted(9, collinear=False, n=8000), SITE, probe=probe)
    cells = table.set_index(["probe", "context", "format"])
    assert cells.loc["confounded", "in_distribution"].iloc[0] == pytest.approx(0.95, abs=0.015)
    rates = cells["flagged"]
    assert rates["confounded", "deployment", "exam"] == pytest.approx(0.84, abs=0.03)
    assert rates["confounded", "test", "chat"] == pytest.approx(0.18, abs=0.04)
    assert rates["decorrelated", "deployment", "exam"] == pytest.approx(0.20, abs=0.05)
    assert rates["decorrelated", "test", "chat"] == pytest.approx(0.78, abs=0.03)
    assert (table["low"] <= table["flagged"]).all() and (table["flagged"] <= table["high"]).all()


def test_collinear_rows_get_no_cells_and_no_study(llama):
    with pytest.raises(DataError, match="'format' cannot be told apart"):
        flag_cells(planted(0, collinear=False, n=400), planted(1, collinear=True, n=400), SITE)
    rows = design()
    together = rows.select((rows.labels == 1) == (rows.frame["format"] == "exam").to_numpy())
    with pytest.raises(DataError, match="format=chat only label 0, format=exam only label 1"):
        study.run(llama, together)


def test_a_direction_within_formats_owes_nothing_to_their_shares():
    acts = planted(0, collinear=False)
    labels, looks = acts.labels, acts.examples.frame["format"].to_numpy()
    # Nearly all tests look like exams.
    keep = ((labels == 1) == (looks == "exam")) | (np.arange(len(labels)) % 16 < 2)
    X = acts.numpy(SITE).astype(float)[keep]
    v, middle, spread = reading.within_format(X, labels[keep], looks[keep])
    assert v[0] / np.linalg.norm(v) > 0.97 and abs(middle) < 0.2
    plain = X[labels[keep] == 1].mean(axis=0) - X[labels[keep] == 0].mean(axis=0)
    assert plain[1] > 1.5 * plain[0]
    assert spread == pytest.approx(np.linalg.norm(v), rel=0.05)
    with pytest.raises(DataError, match="No format holds both"):
        reading.within_format(X, labels[keep], labels[keep].astype(str))


def test_what_is_read_on_new_cues_in_other_formats():
    rows = design(0, count=192)
    labels, form, cue = rows.labels, rows.frame["format"].to_numpy(), rows.frame["cue"].to_numpy().astype(str)
    rng = np.random.default_rng(0)
    noise, signal = rng.standard_normal((2, 192, 6))
    signal[:, 0] += 3 * labels
    signal[:, 1] += 6 * (form == "exam")
    plan = reading.plan_of(labels, cue, 0)
    assert all(not set(cue[train]) & set(cue[test]) for train, test in plan)
    scores, chosen = reading.nested([noise, signal, noise], labels, form, cue, plan, 0)
    assert chosen == [1] * len(plan)
    assert all(reading.auroc_within(labels, one, form) > 0.95 for one in scores.T)
    # A direction that means another thing in each format is not read across them.
    turned = noise.copy()
    turned[:, 0] += 3 * labels * np.where(form == "exam", 1, -1)
    scores, _ = reading.nested([turned], labels, form, cue, plan, 0)
    assert reading.auroc_within(labels, scores[:, 1], form) < 0.2


def idle_states(seed, cues=12, each=4, width=16, layers=2):
    """States that go by single cues, whichever context these are cues of."""
    rng = np.random.default_rng(seed)
    cue = np.repeat(np.arange(cues), each)
    form = np.array(["chat", "exam"])[rng.integers(0, 2, len(cue))]
    own = [rng.standard_normal((cues, width))[cue] for _ in range(layers)]
    arrays = [one + 0.5 * rng.standard_normal(one.shape) for one in own]
    return arrays, (cue % 2).astype(np.int64), form, cue.astype(str)


def test_a_refit_along_products_is_the_nested_reading():
    arrays, labels, form, cue = idle_states(0)
    form[:5] = "list"
    again = Refit.of(arrays, form, cue, 0)
    for one in reading.relabelled(labels, cue, 0, draws=4):
        scores, _ = reading.nested(arrays, one, form, cue, reading.plan_of(one, cue, 0), 0)
        assert again.auroc(one) == pytest.approx(reading.auroc_within(one, scores[:, 0], form), abs=1e-12)
    with pytest.raises(DataError, match="No format holds both"):
        Refit.of(arrays, labels.astype(str), cue, 0).auroc(labels)


@pytest.mark.slow
def test_contexts_that_mean_nothing_are_seldom_read(monkeypatch):
    """With folds, layers and directions made anew for every arrangement."""
    monkeypatch.setattr(refit, "REFITS", 19)
    p = []
    for seed in range(60):
        arrays, labels, form, cue = idle_states(seed)
        found, *null = Refit.of(arrays, form, cue, seed).aurocs(labels)
        p.append(reading.p_value(np.array(null), found))
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 2 * (0.05 * 0.95 / 60) ** 0.5 and 0.4 < np.mean(p) < 0.6


def test_few_cues_are_permuted_in_every_way():
    units = np.repeat(list("abcdef"), 3)
    labels = np.repeat([1, 1, 1, 0, 0, 0], 3)
    every = reading.relabelled(labels, units, 0)
    assert len(every) == 20 == len({tuple(one) for one in every}) and all(one.sum() == 9 for one in every)
    assert reading.permuted(lambda given: float(given @ labels), labels, units, 0) == 1 / 20
    assert reading.permuted(lambda given: -float(given @ labels), labels, units, 0) == 1.0
    mixed = reading.relabelled(np.tile([0, 1], 9), np.repeat(np.arange(9), 2), 0)
    assert len(mixed) == 1000 and all((one.reshape(9, 2).sum(axis=1) == 1).all() for one in mixed)


def test_a_contrast_holds_the_strata_constant():
    labels, strata = np.array([1, 1, 1, 0, 1, 0, 0, 0]), np.repeat(["a", "b"], 4)
    values = np.where(strata == "a", 10.0, 0.0) + labels
    assert contrast(values, labels, strata) == pytest.approx(1.0)
    assert contrast(values, labels, np.repeat("c", 8)) > 5
    assert contrast(values, labels, strata, np.array([1, 1, 1, 0, 1, 1, 1, 1.0])) == pytest.approx(1.0)
    assert np.isnan(contrast(values, labels, labels))


def test_elasticity_publishes_both_its_parts():
    rng = np.random.default_rng(0)
    score, groups = rng.standard_normal(200) * 5, np.arange(200)
    outcome = np.full(200, 0.9)
    found = elasticity((outcome, outcome - 0.6), (score, score - 10), groups)
    assert found["numerator"] == pytest.approx(-0.6) and found["denominator"] == pytest.approx(-10 / score.std())
    assert found["elasticity"] == pytest.approx(0.06 * score.std()) and found["low"] > 0 and found["n"] == 200
    # More of one where there is less of the other: negative, and it says so.
    assert elasticity((outcome, outcome + 0.05), (score, score - 10), groups)["high"] < 0
    noise = 0.01 * rng.standard_normal(200)
    still = elasticity((outcome, outcome), (score, score + noise - noise.mean()), groups)
    assert still["elasticity"] == 0.0 == still["low"] == still["high"]
    moved = elasticity((outcome, outcome - 0.5), (score, score), groups)
    assert np.isnan(moved["elasticity"]) and moved["numerator"] == pytest.approx(-0.5)
    missing = np.where(np.arange(200) < 20, np.nan, outcome)
    assert elasticity((missing, outcome), (score, score - 1), groups)["missing"] == 20
    with pytest.raises(DataError, match="paired row by row"):
        elasticity((outcome, outcome), (score, score[:5]), groups)
    with pytest.raises(DataError, match="no scale"):
        elasticity((outcome, outcome), (outcome, outcome), groups)
    with pytest.raises(DataError, match="None of 200 rows"):
        elasticity((outcome * np.nan, outcome), (score, score), groups)


def test_a_rewriter_gives_prompts_of_the_same_kind():
    chat = [{"role": "user", "content": "hi"}]
    assert rewritten(lambda p: p + "!", "a", 0) == ["a!"] and rewritten(lambda p: (p, "b"), "a", 0) == ["a", "b"]
    assert rewritten(lambda p: p, chat, 0) == [chat] and rewritten(lambda p: [p, p], chat, 0) == [chat, chat]
    for given, prompt in (
        (None, "a"),
        ([], "a"),
        (["a", 3], "a"),
        (chat, "a"),
        ("a", chat),
        ([{"role": "user"}], chat),
    ):
        with pytest.raises(DataError, match="Row 7: the rewriter gave"):
            rewritten(lambda _, given=given: given, prompt, 7)


def test_verdicts_of_what_is_hardly_answered_are_missing():
    assert verdicts(np.log([[0.6, 0.3], [0.2, 0.7], [0.3, 0.1]])) == ["careful", "careless", None]


class Fake(Asked):
    """Rows that get less careful by what is added along the first axis, and incoherent beyond a length."""

    def __init__(self, slope: float, most: float) -> None:
        self.slope, self.most, self.examples = slope, most, range(3)

    def pushed(self, site, steps, *, label=""):
        share = 1 / (1 + np.exp(-3 - self.slope * steps[:, 0] * (site.layer == 1)))
        mass = np.where(np.linalg.norm(steps, axis=1) > self.most, 0.3, 1.0)
        return np.log(np.stack([share * mass, (1 - share) * mass], axis=1))[:, None].repeat(3, axis=1)


def test_steering_takes_the_weakest_coherent_strength_that_will_do_and_so_does_chance():
    vectors = np.stack([np.eye(4)[0], np.eye(4)[1], -np.eye(4)[0]])
    steered = Steered(Arms([vectors, vectors], [1.0, 1.0]), [lens.Site("resid_post", 0), lens.Site("resid_post", 1)])
    plain = np.log([[0.95, 0.05]] * 3)
    layers, strengths = steered.choose(Fake(20.0, 9.0), plain)
    assert layers[0] == 1 and strengths[0] == 0.25
    layers, strengths = steered.choose(Fake(6.0, 1.5), plain)
    assert layers[0] == 1 and strengths[0] == 1.0
    # What cannot be moved that way takes what is least; what is nowhere coherent, the first of all.
    assert strengths[2] == 0.25 and steered.choose(Fake(6.0, 0.1), plain)[1].tolist() == [0.25] * 3
    found = steered.tested(Fake(6.0, 9.0), np.array([1.0, 0.0, 1.0]), np.array([2.0, 0.5, 0.25]))
    assert found[0, 0, 1] > np.log(0.99) and found[1, 0, 0] > np.log(0.9) and found[2, 0, 0] > np.log(0.95)


def test_bad_designs_are_told_before_anything_runs(llama, models):
    rows = design()
    for frame, message in (
        (rows.frame.drop(columns="format"), "No column 'format'; available: prompt"),
        (rows.frame.assign(format="exam"), "All rows have the format 'exam'"),
        (rows.frame.assign(label=1), "All 96 rows have label 1"),
        (rows.frame.drop(columns="careless"), "Column 'careful' without the other"),
        (rows.frame.assign(cue=None), "Column 'cue' is missing in row 0"),
        (rows.frame.assign(format=rows.frame["format"].where(rows.frame.index != 7)), "'format' is missing in row 7"),
        (rows.frame.assign(format_cue=[" ", *rows.frame["format_cue"][1:]]), "'format_cue' is missing in row 0"),
        (rows.frame.assign(careless="no"), "Row 0: no is among both"),
    ):
        with pytest.raises(DataError, match=message):
            study.run(llama, lens.Examples(frame))
    with pytest.raises(DataError, match="Give examples"):
        study.run(llama)
    with pytest.raises(DataError, match="draws=0"):
        study.run(llama, rows, draws=0)
    with pytest.raises(ModelError, match="encoder"):
        study.run(models("bert"), rows)
    with pytest.raises(DataError, match="2 cues of a test and 2 of deployment: at least 3"):
        study.run(llama, design(cues=4))
    with pytest.raises(DataError, match="context"):
        study.run(llama, lens.Examples(rows.frame.assign(prompt=[f"{text} the" * 90 for text in rows.prompts])))


def test_a_part_without_what_it_needs_is_named_before_anything_runs(llama, monkeypatch):
    monkeypatch.setattr(study.Study, "acts", property(lambda self: pytest.fail("something ran")))
    rows = design()
    number, labels, form = np.arange(96), rows.labels, rows.frame["format"].to_numpy()
    apart = number[(labels == 1) == (form == "exam")]
    for name, chosen, said in (
        ("train", number[labels == 1], r"The train part has \d+ rows of \d+ groups, none of which is deployment"),
        ("train", apart, "none of its formats holds both contexts: give more groups"),
        ("train", number[:8], r"The train part .* cues of a test and .* For the parts"),
        ("validation", number[labels == 0], "The validation part .* none of which is a test"),
        ("test", number[labels == 0], "The test part .* none of which is a test"),
    ):
        parts = {"train": number, "validation": number, "test": number} | {name: chosen}
        monkeypatch.setattr(Design, "parts", lambda self, parts=parts: parts)
        with pytest.raises(DataError, match=said):
            study.run(llama, rows, progress=False)


def test_functions_are_told_apart_by_name():
    assert called({"rewrite": design, "paraphrase": Fake(1.0, 1.0)}) == {
        "paraphrase": f"{__name__}.Fake",
        "rewrite": "evaluation_data.design",
    }


def test_parts_share_no_group_and_formats_are_the_two_that_most_rows_have():
    rows = Design.of(design(count=120))
    parts = rows.parts()
    groups = [set(rows.groups[one]) for one in parts.values()]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert sum(map(len, parts.values())) == 120
    third = pd.Series(rows.form).where(np.arange(120) % 10 != 0, "list")
    assert Design.of(lens.Examples(rows.examples.frame.assign(format=third))).formats() == ("chat", "exam")
    alone = Design.of(lens.Examples(rows.examples.frame.drop(columns=["cue", "format_cue"])))
    assert alone.format_cue is None and (alone.cue == alone.groups).all()
