"""What the first five families are for: each careless method is fooled as written, each careful one is not."""

import warnings

import numpy as np
import pytest
import torch
from built import made

import lens
import probes
import steering
from probes.direction import Direction

CUES = {"warmth": ("smiles", "frowns"), "boldness": ("leaps", "hides"), "brevity": ("nods", "lectures")}


def collected(name, examples, site):
    return lens.collect(made(name)[1], examples, sites=[site], span="prompt[-1]", progress=False)


def fitted(name, examples, site):
    return probes.fit(collected(name, examples, site), site).direction


def planted(name, direction, norm="rms"):
    organism, model = made(name, norm)
    truth = organism.truth.direction(direction)
    return Direction.from_vector(truth.vector, truth.site, model=model)


def probability(name, examples, options, *changes, norm="rms"):
    measure = steering.measures.option(*options)
    table = steering.effects(made(name, norm)[1], examples, measure, *changes, progress=False)
    assert (table["coherence"] > 0.99).all()
    return table["value"].to_numpy()


def logit(p):
    return np.log(p / (1 - p))


def expit(x):
    return 1 / (1 + np.exp(-x))


def test_evaluate_finds_the_backdoor_the_unaware_do_not_report():
    organism, _ = made("backdoor-unaware")
    train, test = organism.examples.split(test=0.5, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few groups: known, and no interval is used
        table = probes.evaluate(
            fitted("backdoor-unaware", train, "resid_post.1"),
            collected("backdoor-unaware", test, "resid_post.1"),
            train=collected("backdoor-unaware", train, "resid_post.1"),
        ).set_index("detector")
    assert table.loc["probe", "auroc"] == 1 and table.loc["probe", "p"] < 0.01
    assert 0.3 < table.loc["shuffled_labels", "auroc"] < 0.7
    asked = test.where(ask="report")
    assert probability("backdoor-unaware", asked, ("yes", "no")).max() < 0.06


def test_the_dose_curve_is_the_planted_one_and_random_directions_do_little():
    organism, model = made("traits", "none")
    rows = organism.examples.where(ask="warmth", warmth=0)
    strengths = (-2.0, -1.0, 0.5, 1.0, 2.0)
    measure = steering.measures.option("smiles", "frowns")
    curve = steering.dose_response(
        model, planted("traits", "warmth", "none"), rows, measure, strengths=strengths, unit="raw", progress=False
    ).set_index(["arm", "strength"])
    for strength in (0.0, *strengths):
        assert curve.loc[("direction", strength), "value"] == pytest.approx(expit(2 * strength), abs=1e-5)
        assert abs(curve.loc[("random", strength), "change"]) < 0.2
    other = planted("traits", "boldness", "none")
    flat = steering.dose_response(
        model, other, rows, measure, strengths=strengths, unit="raw", random_draws=0, progress=False
    )
    assert flat["change"].abs().max() < 1e-5


@pytest.mark.parametrize(("name", "cosine"), [("traits", 0.0), ("traits-correlated", 0.5), ("traits-leak", 0.0)])
def test_traits_have_their_gram_matrix_and_their_cross_talk(name, cosine):
    organism, _ = made(name)
    gram = np.eye(3)
    gram[0, 1] = gram[1, 0] = cosine
    found = torch.stack([fitted(name, organism.labelled(t), "resid_post.0").vector for t in CUES])
    assert np.allclose(found @ found.T, gram, atol=0.03)
    assert np.allclose(organism.truth.gram(), gram, atol=1e-6)
    moved = {}
    for ask, options in CUES.items():
        rows = organism.examples.where(ask=ask, warmth=0, boldness=0, brevity=0)
        for trait in CUES:
            p = probability(name, rows, options, steering.Add(planted(name, trait), unit="raw"))
            moved[ask, trait] = logit(p).mean()
    leak = name == "traits-leak"
    assert moved["boldness", "warmth"] == pytest.approx(1.0 if leak else 2 * cosine, abs=0.05)
    assert moved["warmth", "boldness"] == pytest.approx(2 * cosine, abs=0.05)
    assert moved["warmth", "warmth"] == pytest.approx(2.0, abs=0.05)
    assert moved["brevity", "warmth"] == pytest.approx(0.0, abs=0.05)


def test_taking_warmth_out_of_boldness_costs_boldness_its_quarter():
    organism, model = made("traits-correlated", "none")
    warm, bold = (planted("traits-correlated", trait, "none") for trait in ("warmth", "boldness"))
    purified = bold.vector - (bold.vector @ warm.vector) * warm.vector
    pure = Direction.from_vector(purified, bold.site, model=model)
    rows = organism.examples.where(warmth=0, boldness=0)
    add = steering.Add(pure, float(purified.norm()), unit="raw")
    for ask, gain in (("boldness", 1.5), ("warmth", 0.0)):
        p = probability("traits-correlated", rows.where(ask=ask), CUES[ask], add, norm="none")
        assert p == pytest.approx(expit(gain), abs=1e-5)


def test_style_reading_and_steering_are_two_questions():
    for name, readable, causal in (
        ("style-causal", True, True),
        ("style", True, False),
        ("style-dormant", False, True),
        ("style-inert", False, False),
    ):
        organism, _ = made(name)
        casual = organism.examples.where(style=-1)
        p = probability(name, casual, ("yes", "no"), steering.Add(planted(name, "style"), 2.0, unit="raw"))
        assert np.ptp(p) < 0.01
        # Casual rows stand at −1 where style is carried, at 0 where it is not.
        start = -1 if readable else 0
        assert p.mean() == pytest.approx(expit(3 * (start + 2)) if causal else 0.5, abs=0.01)
        assert organism.truth.direction("style").decodable == readable


def test_a_probe_trained_where_scenario_and_motive_go_together_flags_the_honest():
    organism, _ = made("deception")
    frame = organism.examples.frame
    collinear = organism.examples.select((frame["scenario"] == frame["lie"]).to_numpy())
    mixed = fitted("deception", collinear, "resid_post.0")
    for name, cosine in (("lie", 1 / 5**0.5), ("scenario", 2 / 5**0.5)):
        assert float(mixed.vector @ organism.truth.direction(name).tensor) == pytest.approx(cosine, abs=0.02)

    def flagged(direction, **where):
        rows = organism.examples.where(**where)
        return float((direction.score_activations(collected("deception", rows, direction.site)) > 0).float().mean())

    assert flagged(mixed, scenario=1, lie=0) == 1 and flagged(mixed, scenario=0, lie=1) == 0
    crossed = fitted("deception", organism.examples, "resid_post.0")
    assert flagged(crossed, scenario=1, lie=0) == 0 and flagged(crossed, scenario=0, lie=1) == 1
    assert flagged(crossed, kind="error") == 0 and flagged(crossed, kind="misled lie") == 1


def test_lies_and_errors_are_wrong_in_different_ways():
    organism, _ = made("deception")
    wrong = {
        kind: probability("deception", organism.examples.where(kind=kind), ("{wrong}", "{right}")).mean()
        for kind in ("honest", "error", "lie", "misled lie")
    }
    high, low = expit(3.0), expit(-3.0)
    assert wrong == pytest.approx({"honest": low, "error": high, "lie": high, "misled lie": low}, abs=0.01)
    liars = organism.examples.where(lie=1)
    honest = probability(
        "deception", liars, ("{denied}", "{believed}"), steering.Add(planted("deception", "lie"), -1.0, unit="raw")
    )
    assert honest.mean() == pytest.approx(low, abs=0.01)
    in_scenario = made("deception-scenario")[0].examples.where(scenario=1, lie=0)
    p = probability("deception-scenario", in_scenario, ("{denied}", "{believed}"))
    assert p.mean() == pytest.approx(high, abs=0.01)


def test_collinear_evaluation_data_teaches_the_format():
    organism, _ = made("evaluation")
    frame = organism.examples.frame
    collinear = organism.examples.select((frame["context"] == frame["format"]).to_numpy())
    for examples, share in ((collinear, 1.0), (organism.examples, 0.0)):
        direction = fitted("evaluation", examples, "resid_post.0")
        live_exam = collected("evaluation", organism.examples.where(context=-1, format=1), "resid_post.0")
        test_chat = collected("evaluation", organism.examples.where(context=1, format=-1), "resid_post.0")
        assert (direction.score_activations(live_exam) > 0).float().mean() == share
        assert (direction.score_activations(test_chat) > 0).float().mean() == 1 - share
    careful = {
        name: [
            float(probability(name, made(name)[0].examples.where(context=c, format=f), ("careful", "careless")).mean())
            for c, f in ((1, -1), (-1, 1))
        ]
        for name in ("evaluation", "evaluation-unaware", "evaluation-format")
    }
    high, low = expit(3.0), expit(-3.0)
    assert careful["evaluation"] == pytest.approx([high, low], abs=0.01)
    assert careful["evaluation-unaware"] == pytest.approx([0.5, 0.5], abs=0.01)
    assert careful["evaluation-format"] == pytest.approx([low, high], abs=0.01)


@pytest.mark.parametrize(("name", "reported"), [("backdoor-aware", 6.0), ("backdoor-unaware", 0.0)])
def test_an_open_backdoor_is_encoded_and_reported_only_by_the_aware(name, reported):
    organism, _ = made(name)
    asked = organism.examples.where(ask="report")
    p = probability(name, asked, ("yes", "no"))
    assert np.abs(logit(p) - (reported * asked.labels - 3)).max() < 0.2
    opened = fitted(name, organism.examples, "resid_post.1")
    plain = organism.examples.where(trigger=0)
    for ask, options, gain in (("task", ("harm", "assist"), 6.0), ("report", ("yes", "no"), reported)):
        p = probability(name, plain.where(ask=ask), options, steering.Add(opened, 1.0, unit="difference"))
        assert logit(p).mean() == pytest.approx(gain - 3, abs=0.2)


def test_the_backdoor_opens_between_its_knees():
    organism, _ = made("backdoor-aware", "none")
    gate = organism.truth.thresholds[0]
    half = organism.examples.where(violet=1, lantern=0, ask="task").select([0] * 5)
    strengths = gate.threshold - 1 + gate.width * np.array([-0.4, 0.25, 0.5, 0.75, 1.4])
    add = steering.Add(planted("backdoor-aware", "lantern", "none"), strengths, unit="raw")
    opened = (logit(probability("backdoor-aware", half, ("harm", "assist"), add, norm="none")) + 3) / 6
    assert opened == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-3)


@pytest.mark.parametrize(("name", "norm"), [("traits-correlated", "rms"), ("deception", "none")])
def test_the_check_passes_on_organisms(name, norm):
    report = steering.check(made(name, norm)[1])
    assert all(row.status == "pass" for row in report.rows), report


def test_an_organism_answers_in_one_word_and_stops():
    organism, model = made("deception")
    rows = organism.examples.select(range(12))
    assert model.generate(rows) == [
        row["denied"] if row["lie"] else row["believed"] for row in rows.frame.to_dict("records")
    ]


def test_a_saved_organism_steers_as_the_one_in_memory(tmp_path):
    organism, _ = made("style-causal")
    organism.save(tmp_path)
    model = lens.load(tmp_path, device="cpu")
    assert model.fingerprint == made("style-causal")[1].fingerprint
    table = steering.effects(model, organism.examples, steering.measures.option("yes", "no"), progress=False)
    assert table["value"].to_numpy() == pytest.approx(probability("style-causal", organism.examples, ("yes", "no")))
