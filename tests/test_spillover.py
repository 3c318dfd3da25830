"""Spillover: what steering one trait does to the others is what is planted, and nothing where nothing is."""

import built
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from scipy.special import logit

import lens
import probes
import steering
from lens.intervals import mean_interval
from lens.organisms.constructed import agents, traits
from probes.direction import Direction
from steering.measures import Measure

pytestmark = pytest.mark.filterwarnings("ignore:Read on few groups")
GAIN, NAMES = traits.GAIN, tuple(traits.CUES)


def made(name, norm="none"):
    return built.made(name, norm)


def planted(name, norm="none"):
    organism, model = made(name, norm)
    return {one: direction(organism.truth.direction(one).tensor, model) for one in NAMES}


def direction(vector, model=None, site="resid_post.0"):
    return Direction.from_vector(vector, site, model=model, residual_norm=4.0, difference=2.0)


def log_odds(*options):
    share = steering.measures.option(*options)
    return Measure(f"log-odds of {options[0]}", "logits", lambda o: logit(share(o)), share.coherence)


MEASURES = {trait: log_odds(*options) for trait, options in traits.ANSWERS.items()}


def asked(name, trait, norm="none"):
    return made(name, norm)[0].examples.where(ask=trait, brevity=[0, 1])


def spilled(name, directions, norm="none", measures=MEASURES, draws=1, unit="raw", **options):
    tables = {trait: asked(name, trait, norm) for trait in NAMES if trait in {*measures, *options.get("probes", ())}}
    model = made(name, norm)[1]
    return steering.spillover(
        model, directions, tables, measures, unit=unit, random_draws=draws, progress=False, **options
    )


def square(table, kind, column="change"):
    one = table[table["kind"] == kind].pivot(index="steered", columns="read", values=column)
    return one.loc[list(dict.fromkeys(table["steered"])), list(NAMES)].to_numpy(dtype=float)


@pytest.mark.parametrize(("name", "cosine"), [("traits", 0.0), ("traits-correlated", 0.5), ("traits-near", 0.6)])
def test_spillover_is_the_planted_gram_matrix(name, cosine):
    own = planted(name)
    gram = made(name)[0].truth.gram().numpy()
    assert gram[0, 1] == pytest.approx(cosine, abs=1e-6)
    table = spilled(name, own, probes=own)
    for kind, wanted in (("measure", GAIN * gram), ("probe", gram)):
        found, low, high = (square(table, kind, column) for column in ("change", "low", "high"))
        assert found == pytest.approx(wanted, abs=2e-5)
        assert (low - 2e-5 <= wanted).all() and (wanted <= high + 2e-5).all()
        # Planted is what is clear, and all of it.
        clear = square(table, kind, "clear").astype(bool)
        assert (clear == (np.abs(gram) > 0.1)).all()
    assert (table["n"] == 36).all() and (table["groups"] > 15).all() and (table["missing"] == 0).all()


def test_fitted_directions_spill_as_their_planted_ones_in_an_ordinary_model():
    organism, model = made("traits-correlated", "rms")
    fitted = {}
    for trait in NAMES:
        acts = lens.collect(model, organism.labelled(trait), sites=[traits.SITE], progress=False)
        fitted[trait] = probes.fit(acts, traits.SITE).direction
    gram = organism.truth.gram().numpy()
    table = spilled("traits-correlated", fitted, "rms", probes=fitted)
    assert square(table, "measure") == pytest.approx(GAIN * gram, abs=0.1)
    assert square(table, "probe") == pytest.approx(gram, abs=0.03)
    assert (square(table, "measure", "clear").astype(bool) == (np.abs(gram) > 0.1)).all()


def test_on_a_bounded_measure_the_interval_holds_what_the_planted_logits_give():
    organism, _ = made("traits-near")
    shares = {trait: steering.measures.option(*options) for trait, options in traits.ANSWERS.items()}
    table = spilled("traits-near", planted("traits-near"), measures=shares).set_index(["steered", "read"])
    gram = organism.truth.gram().numpy()
    for i, steered in enumerate(NAMES):
        for j, read in enumerate(NAMES):
            rows = asked("traits-near", read).frame
            odds = GAIN * rows[list(NAMES)].to_numpy(dtype=float) @ gram[j]
            change = 1 / (1 + np.exp(-odds - GAIN * gram[i, j])) - 1 / (1 + np.exp(-odds))
            row = table.loc[(steered, read)]
            assert row["change"] == pytest.approx(change.mean(), abs=1e-5)
            assert row["low"] - 1e-5 <= change.mean() <= row["high"] + 1e-5
            assert (row["low"], row["high"]) == pytest.approx(mean_interval(change, rows["group"].to_numpy()), abs=1e-5)
            assert row["after"] - row["before"] == pytest.approx(row["change"], abs=1e-6)


def test_a_leak_that_the_gram_matrix_does_not_show_is_in_the_answers():
    own = planted("traits-leak")
    table = spilled("traits-leak", own, probes=own)
    wanted = GAIN * np.eye(3)
    wanted[0, 1] = GAIN * traits.LEAK
    assert square(table, "measure") == pytest.approx(wanted, abs=2e-5)
    assert square(table, "probe") == pytest.approx(np.eye(3), abs=2e-5)


def test_where_nothing_is_read_nothing_spills():
    table = spilled("traits-inert", planted("traits-inert", "rms"), "rms")
    assert not table["clear"].any() and table["change"].abs().max() < 0.05


@pytest.mark.parametrize("name", ["traits-near", "traits-leak"])
def test_projecting_the_reading_direction_out_takes_the_leak_out_exactly(name):
    """Of boldness the direction where it is correlated; where it leaks, what its answers are read along."""
    own = planted(name)
    read = own["boldness"]
    if name == "traits-leak":
        read = direction(own["boldness"].vector + traits.LEAK * own["warmth"].vector, made(name)[1])
    pure = probes.purify(own["warmth"], [read])
    steered = {"naive": own["warmth"], "pure": pure.direction}
    two = {trait: MEASURES[trait] for trait in ("warmth", "boldness")}
    table = spilled(name, steered, measures=two).set_index(["steered", "read"])["change"]
    assert table["naive", "boldness"] > 0.9
    assert table["pure", "boldness"] == pytest.approx(0, abs=1e-5)
    assert table["pure", "warmth"] == pytest.approx(GAIN * pure.kept, abs=1e-4)
    if name == "traits-leak":
        useless = probes.purify(own["warmth"], [own["boldness"]]).direction
        bold = {"boldness": MEASURES["boldness"]}
        naive = spilled(name, {"orthogonal": useless}, measures=bold).set_index("read")["change"]
        assert naive["boldness"] == pytest.approx(GAIN * traits.LEAK, abs=1e-5)


def test_a_vector_orthogonal_to_every_read_out_changes_nothing():
    hf = made("traits-correlated")[0].hf
    later = [
        p for name, p in hf.named_parameters() if p.ndim == 2 and (".layers." not in name or ".layers.0." not in name)
    ]
    readers = torch.cat(
        [p.detach() for p in later if p.shape[1] == 64 and p is not hf.get_input_embeddings().weight]
    ).double()
    unread = torch.linalg.svd(readers)[2][-1]
    assert float((readers @ unread).detach().abs().max()) < 1e-4
    table = spilled("traits-correlated", {"unread": direction(unread)}, strength=2.0)
    assert table["change"].abs().max() < 1e-5 and not table["clear"].any()


def test_random_directions_are_seldom_clear_and_their_range_holds_zero():
    model = made("traits", "rms")[1]
    like = direction(torch.ones(64), model)
    random = {f"random {seed}": like.random_like(1000 + seed) for seed in range(5)}
    rows = made("traits", "rms")[0].examples.where(ask="warmth", boldness=0)
    one = {"warmth": MEASURES["warmth"]}
    table = steering.spillover(model, random, rows, one, unit="raw", random_draws=19, progress=False)
    assert ((table["random_low"] < 0) & (table["random_high"] > 0)).all()
    # Each changes something, all rows alike; 1 in 20 by more than all 19.
    assert (table["p_holm"] < 0.05).mean() > 0.5 > 0.15 > table["clear"].mean()


def test_everything_is_what_separate_runs_give(llama):
    frame = pd.DataFrame({"prompt": [*tiny.TEXTS, "was that"], "group": [0, 0, 1, 1, 2, 2]})
    examples = lens.Examples(frame)
    steered, later = (direction(torch.randn(64, generator=torch.Generator().manual_seed(k))) for k in (0, 1))
    later = later.at("resid_post.3")
    share = steering.measures.option(" yes", " no")
    with pytest.warns(UserWarning, match="few groups"):
        table = steering.spillover(
            llama,
            {"a": steered, "b": later},
            examples,
            {"yes": share},
            probes={"near": steered, "far": later},
            strength={"a": 0.5, "b": -1.0},
            random_draws=2,
            seed=5,
            progress=False,
        ).set_index(["steered", "read"])
    for name, one, strength in (("a", steered, 0.5), ("b", later, -1.0)):
        plain = steering.effects(llama, examples, share)["value"].to_numpy()
        changes = [
            steering.effects(llama, examples, share, steering.Add(d, strength))["value"].to_numpy() - plain
            for d in (one, one.random_like(5), one.random_like(6))
        ]
        row = table.loc[(name, "yes")]
        assert row["change"] == pytest.approx(changes[0].mean(), abs=1e-6)
        null = sorted(change.mean() for change in changes[1:])
        assert [row["random_low"], row["random_high"]] == pytest.approx(null, abs=1e-6)
        for read, probe in (("near", steered), ("far", later)):
            if (name, read) == ("b", "near"):
                continue
            sites = {"sites": [probe.site], "progress": False}
            before = lens.collect(llama, examples, **sites)[probe.site] @ probe.vector
            with steering.apply(llama, steering.Add(one, strength)):
                after = lens.collect(llama, examples, **sites)[probe.site] @ probe.vector
            assert table.loc[(name, read), "change"] == pytest.approx(float((after - before).mean()) / 4, abs=1e-5)
    assert table.loc[("a", "near"), "change"] == pytest.approx(0.5, abs=1e-5)
    upstream = table.loc[("b", "near")]
    assert np.isnan(upstream["change"]) and upstream["reason"] == f"{steered.site} comes before {later.site}"
    known = table["p"].notna()
    assert known.sum() == 5
    assert table.loc[known, "p_holm"].to_numpy() == pytest.approx(
        probes.metrics.adjust(table.loc[known, "p"].to_numpy())
    )


def test_answers_that_are_missing_are_counted(llama, examples):
    never = steering.measures.text(lambda text, row: 1.0, name="said", max_new_tokens=2)
    with pytest.warns(UserWarning, match="few groups"):
        table = steering.spillover(llama, {"a": direction(torch.ones(64))}, examples, {"said": never}, random_draws=1)
    row = table.iloc[0]
    assert (row["n"], row["missing"], row["reason"]) == (0, len(examples), "every answer is missing")
    assert np.isnan(row["change"]) and not row["clear"]


def mistakes(model, examples):
    one = direction(torch.ones(64))
    share = {"yes": steering.measures.option(" yes", " no")}
    bare = Direction.from_vector(torch.ones(64), "resid_post.1")
    return {
        "needs directions": (lens.DataError, ({}, examples, share), {}),
        "measures or probes": (lens.DataError, ({"a": one}, examples), {}),
        "One strength for each of a, b": (
            lens.DataError,
            ({"a": one, "b": one}, examples, share),
            {"strength": {"a": 1}},
        ),
        "One table of examples": (lens.DataError, ({"a": one}, {"no": examples}, share), {}),
        "does not know its unit 'norm'": (lens.ArtifactError, ({"a": one}, examples), {"probes": {"b": bare}}),
        "width 32": (lens.ArtifactError, ({"a": one}, examples), {"probes": {"b": direction(torch.ones(32))}}),
        "4 blocks": (lens.SiteError, ({"a": one.at("resid_post.7")}, examples, share), {}),
        "run apart": (lens.SiteError, ({"a": one}, examples), {"probes": {"b": one.at("blocks.1.attn.hook_z")}}),
        "begins after": (
            lens.SpanError,
            ({"a": one}, examples),
            {"probes": {"b": one}, "span": "prompt[-1]:", "read": "prompt[0]"},
        ),
    }


@pytest.mark.parametrize("message", list(mistakes(None, None)))
def test_a_mistake_is_told_before_anything_runs(message, llama, examples, monkeypatch):
    monkeypatch.setattr(lens.Model, "forward", None)
    error, given, options = mistakes(llama, examples)[message]
    with pytest.raises(error, match=message):
        steering.spillover(llama, *given, **options)


@pytest.mark.parametrize(("name", "cost"), [("agents", 0.0), ("agents-entangled", -agents.GAIN / agents.TAG)])
def test_silencing_the_malicious_voice_costs_the_verdict_where_they_are_entangled(name, cost):
    organism, model = made(name)
    spoken = organism.examples.where(agent="malicious")
    table = steering.spillover(
        model,
        {"malicious": direction(organism.truth.direction("malicious").tensor, model)},
        {"bad word": spoken.where(ask="speak", persona=0), "verdict": spoken.where(ask="verdict")},
        {"bad word": log_odds(agents.WORDS["malicious"], agents.HM), "verdict": log_odds("{correct}", "{incorrect}")},
        strength=-1.0,
        unit="raw",
        random_draws=3,
        progress=False,
    ).set_index("read")
    assert table.loc["bad word", "change"] == pytest.approx(-agents.VOICE, abs=1e-3) and table.loc["bad word", "clear"]
    assert table.loc["verdict", "change"] == pytest.approx(cost, abs=1e-3)
    assert table.loc["verdict", "clear"] == (cost != 0)
