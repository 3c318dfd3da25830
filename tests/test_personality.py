"""The study of personality, on organisms whose report, behaviour and biases are known, and on models with nothing."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from built import made
from personality_data import WORDS, found, random_run, trained
from scipy.stats import spearmanr

import lens
from lens import ArtifactError, DataError
from probes import Direction
from steering import AblateSubspace, Add, measures
from steering.studies import Result, personality
from steering.studies.personality import Behaviour, Condition

pytestmark = pytest.mark.filterwarnings("ignore:Only")
FAMILY = ("selfreport", "selfreport-acquiescent", "selfreport-position", "selfreport-detached")


def shown(result: Result) -> set[str]:
    return set(result.claims[result.claims["shown"]]["claim"])


def test_a_faithful_report_and_the_behaviour_follow_the_trait_and_not_the_persona():
    result = found("selfreport")
    assert shown(result) == {
        "self-report follows trait",
        "behaviour follows trait",
        "state holds trait",
        "state holds persona",
    }
    # Planted: ratings 1.954 and 4.046 of a scale from 1 to 5; P(smiles) .119 and .881.
    assert result.row("self-report follows trait")["value"] == pytest.approx((4.046 - 1.954) / 4, abs=0.02)
    assert result.row("behaviour follows trait")["value"] == pytest.approx(0.762, abs=0.01)
    for claim in ("self-report follows persona", "behaviour follows persona"):
        assert abs(result.row(claim)["value"]) < 0.01
    assert result.row("state holds persona")["value"] == pytest.approx(1.0, abs=0.05)


def test_where_the_report_follows_the_persona_and_the_act_the_trait_they_part_both_ways():
    result = found("selfreport-detached")
    assert shown(result) == {
        "self-report follows persona",
        "behaviour follows trait",
        "self-report and behaviour part: persona",
        "self-report and behaviour part: trait",
        "state holds trait",
        "state holds persona",
    }
    assert result.row("self-report and behaviour part: persona")["value"] > 0.4
    assert result.row("self-report and behaviour part: trait")["value"] < -0.7
    assert "self-report follows persona" in result.row("self-report and behaviour part: persona")["reading"]
    assert "behaviour follows trait" in result.row("self-report and behaviour part: trait")["reading"]


@pytest.mark.parametrize("name", FAMILY)
def test_biases_are_flagged_where_they_are_planted_and_nowhere_else(name):
    biases = {"agrees with everything", "takes the option printed first"}
    planted = {"selfreport-acquiescent": {"agrees with everything"}}
    planted["selfreport-position"] = {"takes the option printed first"}
    assert shown(found(name)) & biases == planted.get(name, set())
    row = found(name).tables["reliability"].iloc[0]
    truth = made(name)[0].truth.structure["ratings"]
    cells = pd.DataFrame([one for one in truth if one["trait"] == 0])
    plain = cells if name != "selfreport-detached" else cells.assign(rating=3.0)
    assert row["agreement"] == pytest.approx(plain["rating"].mean() - 3, abs=0.05)
    gap = plain.groupby("order")["rating"].mean()
    assert row["order_gap"] == pytest.approx(gap[1] - gap[-1], abs=0.06)


@pytest.mark.parametrize("name", ["selfreport-acquiescent", "selfreport-position"])
def test_a_biased_report_still_follows_the_trait_by_expected_values_and_not_by_likeliest_options(name):
    assert "self-report follows trait" in shown(found(name))
    table = found(name).tables["wordings"]
    mine = table[table["condition"] == "trait"]
    assert spearmanr(mine["side"], mine["score"].round(3)).statistic == pytest.approx(1.0)
    assert np.ptp(mine["likeliest"]) == 0


def test_items_of_one_key_show_nothing_of_a_trait():
    """Rated higher, they may only be agreed with."""
    _, model = made("selfreport")
    options = personality.of_organism("selfreport")
    asked = options["inventory"]
    asked = dataclasses.replace(asked, items=asked.items[asked.items["key"] == 1], skipped=2)
    given = {"inventory": asked, "conditions": options["conditions"][:1], "contexts": options["contexts"][:2]}
    result = personality.run(model, **options | given | {"behaviours": []}, progress=False)
    row = result.row("self-report follows trait")
    assert row["value"] > 0.4 and row["p"] < 0.01 and not row["shown"]
    assert "agrees with everything" not in set(result.claims["claim"])
    for says in ("all items have the same key", "Items of one key only", "2 items of the file have no key"):
        assert any(says in note for note in result.notes)


def test_expected_values_are_those_of_the_measure():
    """Both orders averaged, keyed, as `measures.expected_value` has them."""
    _, model = made("selfreport")
    asked = personality.of_organism("selfreport")["inventory"]
    context = "kind , the basket near the river , as a nurse ,"
    rows = asked.items.assign(prompt="?", group=range(len(asked)))

    def prompt(row, options):
        return f"{context} it {row['text']} people : {' '.join(options)} , rate ?"

    from steering.effects import effects

    measure = measures.expected_value(asked.scale, prompt=prompt, key="key")
    expected = effects(model, lens.Examples(rows), measure, progress=False)
    table = personality.administer(model, asked, [context], progress=False)
    from steering.studies.personality.answering import keyed, ratings

    got = keyed(ratings(table, asked), asked)[0]
    np.testing.assert_allclose(got, expected["value"], atol=1e-4)
    np.testing.assert_allclose(table.groupby("item")["mass"].mean(), expected["coherence"], atol=1e-4)


def test_seven_levels_of_the_trained_organism_are_told_apart_by_expected_values_alone():
    from lens.organisms.grammar_persona import persona_line

    model, own = lens.load("organism"), personality.of_organism()
    import random

    texts = [persona_line(random.Random(0), "warmth", level) for level in range(-3, 4)]
    asked = own["inventory"].only(traits=["warmth"], templates=[0])
    table = personality.administer(model, asked, texts, progress=False)
    from steering.studies.personality.answering import keyed, ratings

    ev, likeliest = (keyed(ratings(table, asked, column=c), asked).mean(axis=1) for c in ("ev", "likeliest"))
    assert (np.diff(ev) > 0).all()
    # Levels 2 and 3, and −2 and −3, have the same likeliest answer.
    assert len(set(likeliest.round(2))) < 7


def test_the_trained_organism_says_does_and_holds_what_personas_ask_and_steered_it_only_does():
    result = trained()
    for trait in ("warmth", "caution", "verbosity"):
        for claim in ("self-report follows {}", "behaviour follows {}", "state holds {}"):
            assert result.shows(claim.format(trait))
        assert not result.shows(f"self-report and behaviour part: {trait}")
        # Ratings of levels −2 and 2 are 1.5 and 4.5.
        assert result.row(f"self-report follows {trait}")["value"] == pytest.approx(0.73, abs=0.04)
        assert result.row(f"behaviour follows {trait}")["value"] == pytest.approx(0.88, abs=0.04)
    assert "takes the option printed first" not in set(result.claims["claim"])  # nothing is printed
    assert not result.shows("agrees with everything")
    # The direction of chats moves what it says in chats, and no questionnaire.
    assert result.row("behaviour follows warmth, steered")["value"] > 0.15
    assert abs(result.row("self-report follows warmth, steered")["value"]) < 0.05
    random = result.tables["random"]
    assert len(random) == 6 * 3 and random["shift"].notna().all()
    shifts = result.tables["shifts"]
    other = shifts[
        (shifts["kind"] == "behaviour") & (shifts["trait"] != shifts["measured"]) & shifts["random_low"].isna()
    ]
    assert other[~other["condition"].str.contains("steered")]["shift"].abs().max() < 0.05
    # Added where the closing word is due, it leaves it hardly any probability: missing, and said so.
    lost = shifts[shifts["condition"].str.contains("steered") & (shifts["measured"] == "verbosity")]
    missing, n = lost.loc[lost["kind"] == "behaviour", ["missing", "n"]].iloc[0]
    assert missing > 0 and any(f"{missing} of {missing + n} values are missing" in note for note in result.notes)


def test_steering_beside_random_directions_shows_what_is_planted():
    """Adding the trait moves report and act; adding the persona neither."""
    organism, model = made("selfreport")
    options = personality.of_organism("selfreport")
    conditions = []
    for name in ("trait", "persona"):
        truth = organism.truth.direction(name)
        along = Direction.from_vector(truth.vector, truth.site, model=model)
        pair = Add(along, 1.0, unit="raw"), Add(along, -1.0, unit="raw")
        conditions.append(Condition.steered("kindness", *pair, name=name))
    result = personality.run(model, **options | {"conditions": conditions}, random_draws=4, progress=False)
    assert shown(result) == {"self-report follows trait", "behaviour follows trait"}
    # 2.0 and 1.2 nats a unit, each way: as words of the trait do.
    assert result.row("self-report follows trait")["value"] == pytest.approx(0.51, abs=0.02)
    assert result.row("behaviour follows trait")["value"] == pytest.approx(0.76, abs=0.02)
    assert not any(name.startswith("state") for name in result.claims["claim"])
    assert sum("its state is not read" in note for note in result.notes) == 2
    bare = personality.run(model, **options | {"conditions": [conditions[0]]}, random_draws=0, progress=False)
    assert not shown(bare) and any("no random directions" in note for note in bare.notes)
    subspace = AblateSubspace((conditions[0].changes[0].direction,), to="zero")
    assert Condition.steered("kindness", subspace, subspace).random(0) is None
    one, other = conditions[0].random(0).changes
    assert torch.equal(one.direction.vector, other.direction.vector) and (one.strength, other.strength) == (1.0, -1.0)
    assert abs(float(one.direction.vector @ conditions[0].changes[0].direction.vector)) < 0.5


@pytest.mark.parametrize("family, chat", [("gpt2", False), ("llama", True), ("qwen3", False)])
def test_a_random_model_runs_through_and_shows_nothing(family, chat):
    result = random_run(family, chat=chat)
    assert not result.claims["shown"].any()
    assert len(result.claims) == 12 and len(result.figures()) >= 3
    # It leaves hardly anything on the options: no answers, which is said.
    cells = result.tables["reliability"]["cells"].sum()
    missing = result.tables["reliability"]["missing"].sum()
    assert missing > cells / 2 and any(f"{missing} of {cells} answers are missing" in note for note in result.notes)
    assert result.claims.set_index("claim").loc["agrees with everything", "p"] != 0


def test_answers_that_a_random_model_has_to_give_follow_no_wording():
    result = random_run("gpt2", chat=False, least_mass=0.0)
    assert result.tables["reliability"]["missing"].sum() == 0
    follows = [name for name in result.claims["claim"] if "follows" in name or "part" in name or "holds" in name]
    assert result.claims.set_index("claim").loc[follows, "p"].notna().all()
    assert not any(result.shows(name) for name in follows)


def test_a_killed_run_goes_on_and_gives_the_same(tmp_path, monkeypatch):
    from steering.studies.personality.study import Study

    whole = found("selfreport")
    model, options = made("selfreport")[1], personality.of_organism("selfreport")

    def killed(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(Study, "behaving", killed)
    with pytest.raises(KeyboardInterrupt):
        personality.run(model, **options, resume=tmp_path, progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "neutral.json", "ratings.json"}
    monkeypatch.undo()
    monkeypatch.setattr(Study, "_administer", killed)
    again = personality.run(model, **options, resume=tmp_path, progress=False)
    pd.testing.assert_frame_equal(again.claims, whole.claims)
    assert set(again.tables) == set(whole.tables)
    for name, table in whole.tables.items():
        pd.testing.assert_frame_equal(again.tables[name], table)
    with pytest.raises(ArtifactError, match="other 'seed'"):
        personality.run(model, **options, resume=tmp_path, seed=1, progress=False)


def test_a_result_is_saved_drawn_and_written(tmp_path):
    result = trained()
    result.save(tmp_path)
    again = Result.load(tmp_path)
    assert [one.title for one in again.figures()] == [
        "Saying, doing, holding",
        "What else moved: self-report",
        "What else moved: behaviour",
        "Expected values and likeliest options",
        "Does the form of the question answer?",
        "Where the state holds it",
    ]
    for one, other in zip(again.figures(), result.figures(), strict=True):
        assert one.figure.to_json() == other.figure.to_json()
    bars = again.figures()[0].figure.data
    assert [bar.name for bar in bars[:3]] == ["self-report", "behaviour", "state"]
    assert list(bars[0].x) == ["warmth", "caution", "verbosity", "warmth, steered"]
    page = again.report(tmp_path / "index.html").read_text()
    assert "what a model says of itself" in page and "self-report follows warmth" in page


def test_personas_reach_a_chat_that_takes_no_system_message():
    """Some chat templates refuse it, some drop it: the text then stands before the question."""
    from steering.studies.imbued import imbued, takes_system

    hf, tokenizer = tiny.hugging_face("llama", chat=True)
    model = lens.wrap(hf, tokenizer, name="llama")
    assert takes_system(model)
    question = [{"role": "user", "content": "asked"}]
    assert imbued(question, "told")[0] == {"role": "system", "content": "told"}
    for refusing in (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}{{ m['content'] }}"
        "{% endfor %}",
        "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['content'] }}{% endif %}{% endfor %}",
    ):
        tokenizer.chat_template = refusing
        assert not takes_system(model)
        assert imbued(question, "told", system=False) == [{"role": "user", "content": "told asked"}]
    assert imbued("asked", "told") == "told asked" and imbued("asked", "") == "asked"


def test_a_task_is_a_behaviour():
    from steering.studies.personality import tasks

    task = functools.partial(
        tasks.sycophancy,
        dilemmas=["a fox?", "was she?"],
        options=("yes", "no"),
        question="{dilemma}",
        opinion="{other}",
        again="so",
        asking=tasks.Asking(least_mass=0.0),
    )
    behaviours = [Behaviour.of_task("calm", task, name="flips")]
    conditions = [Condition.prompted("calm", WORDS[:2], WORDS[2:4])]
    result = random_run("gpt2", chat=False, behaviours=behaviours, conditions=conditions, scenes=["was that money"])
    assert not result.claims["shown"].any()
    row = result.row("behaviour follows calm")
    assert row["n"] == 4 * 2 and 0 <= abs(row["value"]) < 0.5
    with pytest.raises(DataError, match="give examples and a measure, or a task"):
        Behaviour("calm")
    with pytest.raises(DataError, match="range=0"):
        Behaviour.of_task("calm", task, range=0.0)
