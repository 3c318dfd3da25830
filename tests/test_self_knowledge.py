"""The study of self-knowledge, on organisms whose knowledge and self-report are known, and on models without any."""

import functools
import warnings

import numpy as np
import pandas as pd
import pytest
import tiny
from asked import asked
from built import made

import lens
from lens import ArtifactError
from lens.organisms import constructed
from lens.organisms.constructed.knowing import OFFSET, TEMPERATURE
from steering.studies import Result, self_knowledge

pytestmark = pytest.mark.filterwarnings("ignore:Only")
CONTEXTS = {"some": "plain", "atlas": "given", "poem": "idle"}


def questions(organism) -> lens.Examples:
    """The organism's questions, with how it is asked whether it knows, by name and topic."""
    frame = organism.examples.where(ask="where").frame.drop(columns=["label", "group"])
    frame = frame.assign(
        sure=[prompt.replace("where ?", "sure ?") for prompt in frame["prompt"]],
        group=frame["name"],
        context=frame["hint"].map(CONTEXTS),
    )
    return lens.Examples(frame if frame["context"].nunique() > 1 else frame.drop(columns="context"))


@functools.cache
def found(name: str) -> Result:
    organism, model = made(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return self_knowledge.run(model, questions(organism), progress=False)


def calibration_of(result: Result) -> pd.DataFrame:
    return result.tables["calibration"].set_index("confidence")


def test_what_is_felt_can_be_read_on_new_names_and_topics_and_is_said():
    result = found("knowing")
    for claim in ("P(IK) can be read", "P(IK) carries over to new topics", "it says what it knows"):
        assert result.shows(claim) and result.row(claim)["value"] > 0.98
    assert result.tables["layers"]["auroc"].min() > 0.98 and len(result.tables["layers"]) == 4


def test_the_planted_temperature_and_offset_are_recovered_and_mend_the_calibration():
    fits = found("knowing").tables["temperature"]
    np.testing.assert_allclose(fits["temperature"], TEMPERATURE, atol=0.01)
    np.testing.assert_allclose(fits["offset"], OFFSET, atol=0.01)
    errors = calibration_of(found("knowing"))
    assert errors.loc["stated", "ece"] > 2 * errors.loc["stated", "ece_null_high"]
    assert errors.loc["stated, mended", "ece"] < errors.loc["stated, mended", "ece_null_high"]
    assert errors.loc["P(IK) probe", "ece"] < errors.loc["P(IK) probe", "ece_null_high"]
    assert errors.loc["stated, mended", "brier"] < errors.loc["stated", "brier"]


def test_a_hint_that_gives_the_answer_raises_it_and_another_does_nothing():
    result = found("knowing")
    assert result.shows("context given changes what it says")
    assert not result.shows("context idle changes what it says")
    table = result.tables["contexts"].set_index(["context", "what"])["change"]
    assert table["given", "stated"] > 0.15 and table["given", "p_ik"] > 0.1 and table["given", "known"] > 0.15
    assert table.loc["idle"].abs().max() < 0.01


def test_what_is_felt_at_random_is_neither_read_nor_said():
    result = found("knowing-shuffled")
    assert not result.claims["shown"].any()
    for claim in result.claims["claim"]:
        assert result.row(claim)["low"] < 0.5
    # Its confidence has nothing to do with what it knows: no temperature mends that.
    errors = calibration_of(result)
    assert errors.loc["stated", "ece"] > 3 * errors.loc["stated", "ece_null_high"]


def test_a_topic_that_is_known_as_a_whole_is_no_self_knowledge():
    result = found("knowing-topic")
    assert result.row("P(IK) can be read")["value"] > 0.98 and not result.shows("P(IK) can be read")
    assert any("may be the topic" in note for note in result.notes)
    assert "P(IK) carries over to new topics" not in set(result.claims["claim"])


def test_answers_of_a_model_that_draws_anew_are_kept_as_often_as_they_are_right():
    organism, _ = made("knowing")
    levels = questions(organism).where(context="plain").frame["level"]
    scores = found("knowing").tables["revision"].set_index("score")["value"]
    first = 1 / (1 + np.exp(-3.6 * levels / 3))
    # It does not read its first answer: q = r = p.
    assert scores["accuracy"] == pytest.approx(first.mean(), abs=5e-3)
    assert scores["CL"] == pytest.approx((first**2).sum() / first.sum(), abs=5e-3)
    assert scores["CS"] == pytest.approx(((1 - first) * first).sum() / (1 - first).sum(), abs=5e-3)
    assert scores["RSS"] == pytest.approx(0.5, abs=1e-2)


def test_another_organisms_state_does_not_tell_what_this_one_knows():
    """What the other gets right by luck, it does not know either."""
    organism, model = made("knowing")
    twin = constructed.build("knowing", seed=1)
    other = lens.wrap(twin.hf, twin.tokenizer, name="twin")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = self_knowledge.run(
            model, questions(organism).where(context="plain"), other=other, again=False, progress=False
        )
    assert result.shows("its own state tells more than another model's")
    table = result.tables["models"].set_index(["states of", "knowledge of"])["auroc"]
    assert table["knowing", "knowing"] > 0.98
    assert table["twin", "knowing"] < 0.8 and table["twin", "twin"] < 0.8 and table["knowing", "twin"] < 0.8


def test_a_model_asked_beside_itself_has_no_advantage():
    organism, model = made("knowing")
    rows = questions(organism).where(context="plain")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = self_knowledge.run(model, rows, other=model, again=False, progress=False)
    row = result.row("its own state tells more than another model's")
    assert row["value"] == 0.0 and row["p"] == 1.0 and not row["shown"]


def test_the_trained_organism_knows_what_it_knows_before_it_answers():
    model = lens.load("organism")
    rows = self_knowledge.of_organism().where(np.arange(0, 444, 3)).examples
    result = self_knowledge.run(model, rows, again=False, progress=False)
    assert result.shows("P(IK) can be read") and result.shows("it says what it knows")
    layers = result.tables["layers"]["auroc"]
    assert layers.iloc[-1] > 0.9 > 0.8 > layers.iloc[0] and not result.notes
    dcs = result.tables["dcs"].set_index("score")["value"]
    assert 0.1 < dcs["DCS"] < 0.3 and 0.5 < dcs["abstention"] < 0.7


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_a_random_model_runs_through_and_shows_nothing(models, family):
    result = self_knowledge.run(models(family), asked(48, 0), progress=False)
    assert not result.claims["shown"].any() and len(result.claims) == 2
    assert np.isfinite(result.claims[["value", "low", "high", "p"]].to_numpy(dtype=float)).all()
    assert {"layers", "texts", "calibration", "curve", "revision"} <= set(result.tables)


@pytest.mark.parametrize("within", [True, False])
def test_a_score_that_tells_topics_apart_has_to_tell_their_questions_apart(llama, monkeypatch, within):
    """Topics differ in how much of them is known; each has questions of both kinds."""
    rng, count = np.random.default_rng(0), 96
    topic = np.arange(count) % 4
    known = np.where(rng.random(count) < np.array([0.9, 0.8, 0.2, 0.1])[topic], 0.9, 0.1)
    score = np.array([0.9, 0.8, 0.2, 0.1])[topic] + 0.01 * rng.standard_normal(count) + within * 0.3 * known

    def knowledge(self, model):
        columns = {"known": known, "mass": 1.0, "stated": rng.random(count), "stated_mass": 1.0}
        return pd.DataFrame(columns).assign(share_0=known, share_1=1 - known, by="next token", stated_by="next token")

    def readable(self, states, known, plan):
        return pd.DataFrame({"p_ik": score, "fold": 0, "site": "resid_post.0"})

    monkeypatch.setattr(self_knowledge.Study, "knowledge", knowledge)
    monkeypatch.setattr(self_knowledge.Study, "readable", readable)
    rows = lens.Examples(asked(count, 0).frame.assign(topic=topic))
    result = self_knowledge.run(llama, rows, again=False, progress=False)
    claim = result.row("P(IK) can be read")
    assert claim["value"] > 0.8 and claim["p_holm"] < 0.05 and claim["shown"] == within
    assert "P(IK) within topics" in set(result.tables["texts"]["classifier"])


@pytest.mark.parametrize(("shift", "shown"), [(0.3, True), (0.0, False), (-0.3, False)])
def test_only_a_higher_p_true_of_right_answers_counts(llama, monkeypatch, shift, shown):
    from steering.studies.self_knowledge import told

    def said(model, questions, **options):
        right = np.tile([1, 0], len(questions))
        noise = np.random.default_rng(0).uniform(0.3, 0.7, len(right))
        table = pd.DataFrame({"question": np.repeat(np.arange(len(questions)), 2), "right": right})
        return table.assign(p_true=np.clip(noise + shift * (right - 0.5), 0, 1)), None

    monkeypatch.setattr(told, "p_true", said)
    monkeypatch.setattr(self_knowledge.Study, "check", lambda self: None)
    result = self_knowledge.run(llama, asked(48, 0), shots=0, again=False, progress=False)
    assert result.shows("it tells right answers from wrong ones") == shown
    assert result.row("it tells right answers from wrong ones")["p"] < 0.05 or shift == 0


def test_a_chat_model_is_asked_in_chat():
    hf, _ = tiny.hugging_face("llama")
    hf.config.max_position_embeddings = 1024
    model = lens.wrap(hf, tiny.tokenizer(chat=True), name="chat")
    result = self_knowledge.run(model, asked(30, 1, chat=True), shots=1, progress=False)
    assert not result.claims["shown"].any()
    assert any("hardly answers so" in note for note in result.notes)
    table = result.tables["p_true"]
    assert len(table) == 60 and (table.groupby("question")["right"].sum() == 1).all()


@pytest.mark.slow
def test_over_200_null_runs_hardly_any_shows_anything(llama):
    """Which answer is right is drawn anew: there is nothing to know, and nothing that could be said of it."""
    shown = []
    for seed in range(200):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = self_knowledge.run(llama, asked(40, seed), again=False, folds=3, seed=seed, progress=False)
        shown.append(bool(result.claims["shown"].any()))
    assert np.mean(shown) <= 0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5


def test_a_run_goes_on_where_it_was_and_ends_the_same(tmp_path, monkeypatch):
    organism, model = made("knowing")
    rows = questions(organism).where(context="plain")
    whole = self_knowledge.run(model, rows, progress=False)
    from steering.studies.self_knowledge import told

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(told, "revised", killed)
    with pytest.raises(KeyboardInterrupt):
        self_knowledge.run(model, rows, resume=tmp_path, progress=False)
    assert {"knowledge.json", "read.json", "layers.json"} <= {path.name for path in tmp_path.iterdir()}
    monkeypatch.undo()
    monkeypatch.setattr(model.__class__, "next_token_logits", _counted(model.__class__.next_token_logits))
    again = self_knowledge.run(model, rows, resume=tmp_path, progress=False)
    pd.testing.assert_frame_equal(again.claims, whole.claims)
    for name, table in whole.tables.items():
        pd.testing.assert_frame_equal(again.tables[name], table)
    with pytest.raises(ArtifactError, match="other 'seed'"):
        self_knowledge.run(model, rows, resume=tmp_path, seed=1, progress=False)


def _counted(original):
    def run(self, batch):
        return original(self, batch)

    return run


def test_a_result_is_saved_drawn_and_written(tmp_path):
    result = found("knowing")
    result.save(tmp_path)
    again = Result.load(tmp_path)
    assert [one.title for one in again.figures()] == [
        "P(IK) by layer",
        "What it knows and what it says",
        "Reliability",
        "Asked again",
    ]
    for one, other in zip(again.figures(), result.figures(), strict=True):
        assert one.figure.to_json() == other.figure.to_json()
    page = again.report(tmp_path / "index.html").read_text()
    assert page.count("plotly-graph-div") >= 4 and "P(IK) can be read" in page
