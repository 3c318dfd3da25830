"""Parts of the study of personas: pushes, options, matching, ranks, casts, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from persona_data import TRAITS, cast, personas, tables
from scipy.stats import spearmanr

import lens
import steering
from lens import DataError, ModelError
from lens.errors import ArtifactError
from probes.direction import Direction
from steering.studies import personas as study
from steering.studies.asked import Asked, unpushed
from steering.studies.firsts import Firsts, texts_of
from steering.studies.personas import matching, ranks
from steering.studies.personas.cast import Cast
from steering.studies.personas.geometry import Place
from steering.studies.personas.study import MATCHED, MULTIPLES
from steering.studies.personas.told import Told
from steering.studies.steps import Steps

SIDES = ("refuse", "comply")


def test_every_copy_gets_its_own_push_in_every_row(model):
    """As adding the same vectors one at a time, whatever the batches."""
    rows, site = texts_of(tables()[0].select(np.arange(7)), SIDES), model.sites("resid_post.1")[0]
    steps = np.random.default_rng(0).standard_normal((5, model.d_model))
    found = Asked(model, rows, SIDES, progress=False).pushed(site, steps)
    small = Asked(model, rows, SIDES, batch_tokens=20, progress=False).pushed(site, steps[[3]])
    np.testing.assert_allclose(small[0], found[3], atol=2e-4)
    option = steering.measures.option("{comply}", "{refuse}")
    for step, answers in zip(steps, found, strict=True):
        one = Direction.from_vector(step, site, model=model)
        push = steering.Add(one, float(np.linalg.norm(step)), unit="raw")
        value = steering.effects(model, rows, option, push, progress=False)
        np.testing.assert_allclose(np.exp(answers).sum(axis=1), value["coherence"], rtol=2e-3)
        np.testing.assert_allclose(np.exp(answers[:, 1]) / np.exp(answers).sum(axis=1), value["value"], atol=2e-4)
    plain = unpushed(model, rows, SIDES, progress=False)
    np.testing.assert_allclose(Asked(model, rows, SIDES, progress=False).pushed(site, 0 * steps)[2], plain, atol=2e-4)


def test_pushes_of_another_width_are_refused(llama):
    with (
        pytest.raises(ArtifactError, match="Steps have width 3"),
        steering.apply(llama, Steps(torch.zeros(2, 3), sites=("resid_post.0",))),
    ):
        pass


def test_what_is_neither_refusal_nor_compliance_counts_as_neither():
    firsts = Firsts(torch.tensor([[[0, 1], [2, 2]]]), torch.tensor([[[True, True], [True, False]]]))
    found = np.exp(firsts.log_masses(torch.tensor([0]), torch.log(torch.tensor([[0.1, 0.2, 0.3, 0.4]]))))
    np.testing.assert_allclose(found, [[0.3, 0.3]], atol=1e-6)
    drowned = np.exp(firsts.log_masses(torch.tensor([0]), torch.tensor([[0.0, 0.0, 9.0, 40.0]])))
    assert drowned[0, 1] > drowned[0, 0] and drowned[0, 1] < 1e-10


def told(words, push):
    """The part of the study that reads ρ over strengths, of compliance [persona] and [persona, multiple]."""
    one, rows = object.__new__(Told), 6
    one.study, one.tables, one.notes = SimpleNamespace(seed=0), {}, []
    noise = 1 + 0.01 * np.random.default_rng(0).standard_normal(rows)
    shape = np.asarray(push)[..., None] * noise
    one.words = np.stack([0.1 + 0 * shape[:, 0], np.asarray(words)[:, None] * noise], axis=-1)
    one.push = np.stack([np.full_like(shape, 0.5), shape], axis=-1)
    one.neutral, one.groups = np.full((rows, 2), 0.25), np.arange(rows).astype(str)
    return one


def test_an_inversion_has_to_hold_around_the_matched_strength_and_coherently():
    words = np.linspace(0.1, 0.4, 5)
    down, up = words[::-1, None], words[:, None]
    everywhere = np.repeat(down, len(MULTIPLES), axis=1)
    assert told(words, everywhere)._ablation() == (True, True)
    alone = np.repeat(up, len(MULTIPLES), axis=1)
    alone[:, [MATCHED]] = down
    assert told(words, alone)._ablation() == (True, False)
    # What answers hardly at all: compliance falls, and that is not safety.
    broken = told(words, everywhere)
    broken.push[..., 0] = 0.0
    assert broken._ablation() == (False, False)
    beyond = np.repeat(up, len(MULTIPLES), axis=1)
    beyond[:, [-1]] = down
    one = told(words, beyond)
    assert one._ablation() == (True, False) and "At 3 times the matched strength" in one.notes[0]


@pytest.fixture(scope="module")
def small() -> Cast:
    return cast()


def checks_of(small: Cast, gains: np.ndarray, strengths: np.ndarray, rows: int = 4):
    """Log-odds gains · strength on every check of every persona."""
    found = {}
    for number, trait in enumerate(small.traits):
        moved = small.signs[:, number, None] * gains[:, None] * strengths
        odds = np.repeat(moved[..., None], rows, axis=-1)
        found[trait] = np.stack([np.log(0.5) + odds / 2, np.log(0.5) - odds / 2], axis=-1)
    return found


def test_strengths_are_solved_for_and_told_where_there_is_none(small):
    gains = np.linspace(0.5, 4.0, len(small.names))
    gains[0], gains[1] = -1.0, 0.05
    plain = {trait: np.full((4, 2), np.log(0.5)) for trait in small.traits}
    target = np.full(len(gains), 1.0)
    target[2] = -np.inf
    table = matching.solve(small, target, plain, lambda s: checks_of(small, gains, s), tolerance=0.1)
    assert table["matched"].sum() == len(gains) - 3 and not table["matched"].iloc[:3].any()
    np.testing.assert_allclose(table["strength"][3:], 1 / gains[3:], rtol=0.03)
    assert (table["check"][3:] >= 1).all()
    assert table["note"][:3].tolist() == [
        *["no strength does as much to its traits"] * 2,
        "its words do not move its traits",
    ]

    def drowned(strengths):
        return {trait: one - 1.0 for trait, one in checks_of(small, gains, strengths).items()}

    faint = matching.solve(small, target, plain, drowned, tolerance=0.1)
    assert not faint["matched"].any() and faint["note"].iloc[-1] == "incoherent where it is matched"


def test_a_check_is_signed_and_a_mean_over_the_traits_that_a_persona_has(small):
    gains, strengths = np.ones(len(small.names)), np.full((len(small.names), 1), 2.0)
    plain = {trait: np.full((4, 2), np.log(0.5)) for trait in small.traits}
    found, by_row = matching.shifts(small, checks_of(small, gains, strengths), plain)
    np.testing.assert_allclose(found, 2.0)
    # As what is said moves them: every persona alike.
    single = {trait: one[:, 0] for trait, one in checks_of(small, gains, strengths).items()}
    low = matching.moved(small, matching.shifts(small, single, plain)[1], dict.fromkeys(TRAITS, np.arange(4)), 0)
    np.testing.assert_allclose(low, 2.0)
    assert by_row["one"].shape == (len(small.names), 1, 4)


def test_traits_count_alike_however_many_checks_they_have(small):
    """30 rows that rise by 2 and 10 that fall by 3: the mean of both traits falls."""
    person = next(k for k, signs in enumerate(small.signs) if (signs[:2] != 0).all())
    by_row = {trait: np.zeros((len(small.names), 10)) for trait in small.traits}
    by_row["one"] = np.tile(np.r_[np.full(30, 1.0)], (len(small.names), 1))
    by_row["two"] = np.full((len(small.names), 10), -1.5)
    groups = {trait: np.array([f"{trait} {k}" for k in range(by_row[trait].shape[1])]) for trait in small.traits}
    assert matching.moved(small, by_row, groups, 0)[person] < 0


def test_ranks_agree_with_scipy_and_constants_with_nothing():
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 9))
    assert ranks.spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert ranks.spearman(one, np.ones(9)) == 0.0 and ranks.spearman(one, 1e-9 * one) == 0.0
    low, high = ranks.interval(np.tile(one[:, None], 6), np.tile(one[::-1, None], 6), np.arange(6).astype(str), seed=0)
    assert low == high == pytest.approx(float(ranks.spearman(one, one[::-1])))


def test_p_takes_the_size_of_the_agreement_from_random_directions():
    one = np.linspace(-1, 1, 8)
    rng = np.random.default_rng(0)
    weak, strong = 0.1 * rng.standard_normal((2, 1, 199, 8))
    p = ranks.p_values(one, one, np.concatenate([weak, 30 * strong]))
    assert p[0] < 0.001 and p[1] == 1 / 200 and p[2] > 0.05
    assert ranks.p_values(one, one, np.concatenate([weak, strong]), sign=-1.0).min() > 0.9
    flat = [ranks.p_values(rng.standard_normal(8), rng.standard_normal(8), weak, seed=k)[0] for k in range(100)]
    assert 0.3 < np.mean(flat) < 0.7 and np.mean(np.array(flat) < 0.05) < 0.12


def test_random_directions_stand_in_the_traits_places():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((30, 8)) * np.array([10.0, *[0.1] * 7])
    place = Place(lens.Site("resid_post", 0), np.eye(8)[:2], np.eye(8)[2], 4.0, noise)
    assert place.isotropic(5, 0).shape == place.matched(5, 0).shape == (5, 2, 8)
    np.testing.assert_allclose(np.linalg.norm(place.matched(5, 0), axis=-1), 1.0)
    assert np.abs(place.matched(50, 0)[..., 0]).mean() > 0.95 > 0.5 > np.abs(place.isotropic(50, 0)[..., 0]).mean()
    assert place.random_refusal(50, 0)[1, :, 0].__abs__().mean() > 0.95
    steps = place.steps(np.array([[1.0, 0.0], [1.0, -1.0]]), place.traits)
    np.testing.assert_allclose(steps[:, :2], [[4, 0], [8**0.5, -(8**0.5)]])


def test_parts_share_no_group_and_each_has_everything():
    for seed in range(5):
        made = cast(seed)
        for part in ("train", "validation", "test"):
            assert set(made.rows(made.requests, part).labels) == {0, 1}
            assert set(made.rows(made.checks, part).frame["trait"]) == set(TRAITS)
        groups = [set(made.rows(made.requests, part).groups) for part in ("train", "validation", "test")]
        assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
        assert len(groups[2]) >= 8


REFUSES = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
DROPS = "{% if messages[0]['role'] == 'system' %}{% set messages = messages[1:] %}{% endif %}"
SHOWS = "{% for one in messages %}<{{ one['content'] }}>{% endfor %}"


@pytest.mark.parametrize("start, system", [(REFUSES, False), (DROPS, False), ("", True)])
def test_a_persona_is_said_whatever_the_chat_template_takes(start, system):
    hf, tokenizer = tiny.hugging_face("llama", chat=True)
    tokenizer.chat_template = start + SHOWS
    rows = tables(chat=True)[0].select([0])
    prompt = rows.prompts[0]
    told = cast(chat=True).said(lens.wrap(hf, tokenizer, name="llama"), rows, ["be warm", ""]).prompts
    before = {"role": "system", "content": "be warm"}
    joined = [{"role": "user", "content": f"be warm {prompt[0]['content']}"}]
    assert told == [[before, *prompt] if system else joined, prompt]


def test_bad_casts_are_told_before_anything_runs(llama, models):
    people, (requests, checks) = personas(), tables()
    for changed, message in (
        (people.drop(columns="line"), "need a column 'line'; available: persona"),
        (people[["persona", "line"]], "a column for each trait"),
        (people.assign(one="much"), "Persona 0: 'one' is 'much', not a number"),
        (people.assign(line=None), "column 'line' holds None"),
        (people.assign(four=0), "No persona has any of four"),
        (pd.concat([people, people.iloc[:1]]), "Several personas without any trait"),
        (people.assign(persona="x"), "At least 4 personas of different names"),
        (people.assign(four=people["one"]), "go together in the 18 personas"),
    ):
        with pytest.raises(DataError, match=message):
            Cast.of(changed, requests, checks)
    chat = lens.Examples.from_texts(
        [[{"role": "system", "content": "be"}, {"role": "user", "content": "hi"}]] * 2, [0, 1]
    )
    for rows, message in (
        (requests.where(label=1), "Requests of both kinds"),
        (lens.Examples(chat.frame.assign(group=[0, 1])), "Row 0 begins with a system message"),
        (lens.Examples(requests.frame.drop(columns="comply")), "No column 'comply'"),
        (lens.Examples(requests.frame.assign(comply="no")), "Row 0: no is among both 'refuse' and 'comply'"),
        (lens.Examples(requests.frame.assign(comply=3)), "Row 0: 'comply' holds 3"),
        (requests.select([0, 1, 2, 3, 5]), "Harmless requests are of 2 groups"),
    ):
        with pytest.raises(DataError, match=message):
            Cast.of(people, rows, checks)
    with pytest.raises(DataError, match="No check of three; the checks are of one, two"):
        Cast.of(people, requests, checks.where(trait=["one", "two"]))
    with pytest.raises(DataError, match="need a column 'trait'"):
        Cast.of(people, requests, requests)
    with pytest.raises(DataError, match="Give a cast"):
        study.run(llama)
    with pytest.raises(DataError, match="draws=0 is at least 1"):
        study.run(llama, cast(), draws=0)
    with pytest.raises(ModelError, match="encoder"):
        study.run(models("bert"), cast())
    alike = lens.Examples(requests.frame.assign(comply="no way|maybe"))
    with pytest.raises(DataError, match="Row 0: 'refuse' no,  no and 'comply' no way, maybe begin with the same token"):
        study.run(llama, Cast.of(people, alike, checks))
    assert texts_of(requests, SIDES).frame["comply"].iloc[0] == ["yes", " yes"]
    with pytest.raises(DataError, match="no readable CSV"):
        study.read_personas("nowhere.csv")
