"""Neurofeedback on random models of several families: where answers are read, what is refused, nothing shown."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
import typer
from typer.testing import CliRunner

import lens
from lens.errors import ArtifactError, DataError, ModelError, SiteError
from probes import Direction
from steering import studies
from steering.commands.study.neurofeedback import neurofeedback as command
from steering.studies import neurofeedback
from steering.studies.neurofeedback.episodes import Tokens, answers, draw, shots_of, told
from steering.studies.neurofeedback.forms import Chat, form_for
from steering.studies.neurofeedback.tables import Gathered

# Short: these models have 128 tokens of context, and spell most words.
CHAT = (
    "{% for m in messages %}{{ {'user': '<', 'assistant': '>', 'system': '^'}[m['role']] + m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}>{% endif %}"
)
WORDS = ["the quick brown fox", "she lied", "the money", "was that", "yes maybe", "no money", "quick fox"]
SHORT = Chat(system="was", then=" that", ask="maybe", request="about {label}", before=" [", after="]", max_new_tokens=3)


def sentences(n=48, seed=0):
    random = np.random.default_rng(seed)
    words = ["the", "quick", "brown", "fox", "she", "lied", "about", "money", "was", "that", "yes", "no", "maybe"]
    texts = [f"{' '.join(random.permutation(words)[:3])} {number}" for number in range(n)]
    return lens.Examples(pd.DataFrame({"prompt": texts, "label": random.permutation(np.tile([0, 1], n // 2))}))


def model_of(family="llama", seed=0):
    hf, tokenizer = tiny.hugging_face(family, seed=seed)
    tokenizer.chat_template = CHAT
    return lens.wrap(hf, tokenizer, name=family)


def quick(model, data=None, axes=("logistic", "pc1"), **options):
    given = {"shots": (0, 4), "sites": "resid_post.2", "episodes": 8, "form": SHORT, "progress": False}
    return neurofeedback.run(model, data or sentences(), list(axes), **given | options)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_one_pass_gives_what_every_prompt_by_itself_gives(family):
    model = model_of(family)
    drawn = draw(np.arange(7) % 2, np.arange(7), levels=2, episodes=3, places=5, seed=0)
    tokens = Tokens.of(model, SHORT, WORDS, 2)
    assert tokens.nested
    assert model.tokenizer.convert_ids_to_tokens(list(tokens.ids)) == ["0", "1"]
    together = answers(model, SHORT, WORDS, drawn, [0, 2, 4], tokens, progress=False)
    apart = answers(model, SHORT, WORDS, drawn, [0, 2, 4], Tokens(tokens.ids, nested=False), progress=False)
    assert together == pytest.approx(apart, abs=1e-4)
    assert np.exp(together).sum(axis=-1) == pytest.approx(1)
    # Not the same everywhere, or a wrong place would not be seen.
    assert np.abs(together - together[:, :1]).max() > 1e-3


def test_labels_stand_where_they_are_found():
    model = model_of()
    drawn = draw(np.arange(7) % 2, np.arange(7), levels=2, episodes=1, places=5, seed=1)
    shots = shots_of(WORDS, drawn, 0)
    one = told(model, SHORT, shots)
    ids, zero = one.row.ids, model.tokenizer.convert_tokens_to_ids("0")
    assert [ids[column] - zero for column in one.labels_at[:-1]] == [label for _, label in shots[:-1]]
    assert one.labels_at[-1] == len(ids)
    text = model.tokenizer.decode(ids)
    assert text.endswith(f"{shots[-1][0]} [") and text.count(">") == 5 + text.count("<s>")
    # The sentence that is scored last has no label in the prompt.
    assert text.count("[") == 5 and text.count("]") == 4


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2"])
def test_a_random_model_shows_nothing(family):
    model = model_of(family)
    sites = ["resid_post.1", "resid_post.3"] if family == "llama" else "resid_post.1"
    result = quick(model, axes=("logistic", "pc1", "random"), sites=sites, episodes=6)
    assert not result.claims["shown"].any()
    reports = result.claims[result.claims["claim"].str.startswith("reports")]
    assert (reports["value"].between(0.3, 0.7)).all()
    assert set(result.tables) == {
        *("axes", "sites", "reporting", "told", "control", "spread", "cosines", "space", "dimension", "replies")
    }
    dimension = result.tables["dimension"].set_index("what")
    assert dimension["dimension"].tolist() == [0, 0, 0] and dimension["next"].tolist() == [1, 1, 1]
    drawn = neurofeedback.figures(result)
    assert [one.title for one in drawn][-3:] == ["Control", "Precision", "Which axes"]
    assert len(drawn[0].figure.data) >= 5 and "shown" not in str(drawn[-1].figure.data[0].text)


def test_parts_share_no_group_and_axes_are_fitted_on_one_half():
    from steering.studies.neurofeedback.plan import planned

    data = sentences()
    grouped = lens.Examples(data.frame.assign(group=np.arange(48) // 3))
    options = dict.fromkeys(("axes", "threshold", "labels"))
    plan = planned(
        model_of(), grouped, **options, form=SHORT, shots=(0, 2), sites="resid_post.1", episodes=5,
        temperature=0.7, seed=0, progress=False,
    )  # fmt: skip
    rows = [plan.fit, plan.validation, plan.test]
    assert sorted(np.concatenate(rows)) == list(range(48))
    groups = [set(grouped.groups[part]) for part in rows]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert len(plan.fit) == 24 and len(plan.validation) < len(plan.test)


def test_sites_are_chosen_on_other_sentences_than_those_that_count(monkeypatch):
    pools = []

    def noted(labels, pool, **options):
        pools.append(frozenset(pool.tolist()))
        return draw(labels, pool, **options)

    monkeypatch.setattr("steering.studies.neurofeedback.phases.draw", noted)
    quick(model_of(), axes=["pc1"], sites=["resid_post.0", "resid_post.2"])
    choosing, counting = set(pools[:6]), set(pools[6:])
    assert len(choosing) == len(counting) == 1 and not next(iter(choosing)) & next(iter(counting))


def test_control_needs_both_to_be_ruled_out_and_the_way_asked_for():
    row = {"axis": "pc1", "kind": "explicit", "site": "resid_post.0", "d": 1.0, "low": 0.5, "high": 1.5, "n": 9}
    for one, other in ((0.001, 0.4), (0.4, 0.001)):
        claim = Gathered._controlled(object.__new__(Gathered), pd.Series(row | {"p": one, "p_specific": other}))
        assert claim.p == 0.4 and claim.gate
    turned = pd.Series(row | {"d": -1.0, "p": 0.001, "p_specific": 0.001})
    assert not Gathered._controlled(object.__new__(Gathered), turned).gate


def test_a_killed_run_goes_on_and_gives_the_same(tmp_path, monkeypatch):
    model, data = model_of(), sentences()
    whole = quick(model, data, axes=["pc1"], resume=tmp_path / "whole")
    monkeypatch.setattr("steering.studies.neurofeedback.phases.Bench.controlled", _killed)
    with pytest.raises(KeyboardInterrupt):
        quick(model, data, axes=["pc1"], resume=tmp_path / "killed")
    monkeypatch.undo()
    resumed = quick(model, data, axes=["pc1"], resume=tmp_path / "killed")
    for name, table in whole.tables.items():
        pd.testing.assert_frame_equal(table, resumed.tables[name], check_exact=True)
    pd.testing.assert_frame_equal(whole.claims, resumed.claims, check_exact=True)
    with pytest.raises(ArtifactError, match="seed"):
        quick(model, data, axes=["pc1"], seed=1, resume=tmp_path / "killed")


def _killed(*given):
    raise KeyboardInterrupt


def test_results_are_saved_and_loaded(tmp_path, monkeypatch):
    result = quick(model_of(), threshold=4, axes=["pc1"], form=replace(SHORT, labels=("a", "b", "c", "d")))
    loaded = studies.Result.load(result.save(tmp_path))
    pd.testing.assert_frame_equal(loaded.tables["control"], result.tables["control"])
    assert "Can a model report" in result.report(tmp_path / "page.html").read_text()
    assert set(result.tables["reporting"]["arm"]) >= {"model", "ideal observer", "bag of words"}


def test_what_cannot_be_run_is_told_before_it_is_run(monkeypatch):
    def late(*given, **options):
        raise AssertionError("too late")

    model, data, chat = model_of(), sentences(), [{"role": "user", "content": "a"}]
    bare = lens.wrap(*tiny.hugging_face("llama"), name="bare")
    foreign = Direction.from_vector(np.ones(64), "resid_post.2", model=model_of(seed=5))
    monkeypatch.setattr("steering.studies.neurofeedback.phases.collect", late)
    cases = [
        (DataError, "Unknown axis 'mean'", lambda: quick(model, axes=["mean"])),
        (DataError, "even number of levels", lambda: quick(model, threshold=3)),
        (DataError, "4 levels need as many label texts", lambda: quick(model, threshold=4)),
        (DataError, "at least 5", lambda: quick(model, episodes=2)),
        (DataError, "numbers of examples", lambda: quick(model, shots=[-1])),
        (DataError, r"10 shots need 11 sentences .* it has 8", lambda: quick(model, shots=[10])),
        (DataError, r"7 shots do not fit into llama's context of 128 tokens; at most . do",
         lambda: quick(model, form=replace(SHORT, ask="say something at length"), shots=[7])),
        (DataError, "at least 6 groups", lambda: quick(model, lens.Examples(data.frame.assign(group="a")))),
        (DataError, "no sentences of its own", lambda: neurofeedback.run(model)),
        (DataError, "a plain text", lambda: quick(model, lens.Examples.from_texts([chat]))),
        (DataError, "with some words before it", lambda: quick(model, form=lambda shots, query: (query, ("a", "b")))),
        (DataError, "at least two labels", lambda: quick(model, form=lambda shots, query: (f"say {query}", ("a",)))),
        (ArtifactError, "model", lambda: quick(model, axes=[foreign])),
        (ModelError, "no chat template: say how", lambda: quick(bare)),
        (ModelError, "each must be one of its own",
         lambda: quick(model, form=lambda shots, query: (f"a b {query}", ("yes", "yes yes")))),
        (ModelError, "an encoder", lambda: quick(lens.wrap(*tiny.encoder(), name="bert"))),
        (SiteError, "residual stream", lambda: quick(model, sites="blocks.0.attn.hook_z")),
    ]  # fmt: skip
    for kind, said, call in cases:
        with pytest.raises(kind, match=said):
            call()


def test_a_component_above_the_rank_is_told_before_any_report(monkeypatch):
    monkeypatch.setattr("steering.studies.neurofeedback.phases.answers", None)
    with pytest.raises(DataError, match=r"no pc600 at resid_post.2: the sentences vary in 23 directions"):
        quick(model_of(), axes=["pc600"])


def test_a_template_without_a_system_role_gets_the_system_text_with_the_first_turn():
    model = model_of()
    model.tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHAT
    )
    form = form_for(model, SHORT, "she lied")
    assert not form.system_role
    first = form.report([("she lied", 1)], "the fox")[0]
    assert first["role"] == "user" and first["content"].startswith("was") and first["content"].endswith("maybe")
    assert form.control([("she lied", 1)], 0)[0]["content"].startswith("was that")
    assert not quick(model, axes=["pc1"]).claims["shown"].any()


def test_what_a_chat_says_and_what_is_cut_off():
    chat = Chat()
    system = chat.report([("a b", 1)], "c")[0]["content"]
    for said in ("classification task", "integer label, 0 or 1", "activation of your brain", "Work out how"):
        assert said in system
    assert chat.report([("a b", 1)], "c")[2:] == [
        {"role": "assistant", "content": "a b [Score: {1}]"},
        {"role": "user", "content": "Say something."},
        {"role": "assistant", "content": "c [Score: {"},
    ]
    asked = chat.control([("a b", 1)], 0)
    assert "imitation task" in asked[0]["content"] and "label 0" in asked[-1]["content"]
    assert "cannot copy" in asked[-1]["content"] and asked[-1]["content"].endswith("Say something.")
    assert chat.reply("a fox ran. [Score: {1}] more") == "a fox ran." and chat.reply(" a fox ") == "a fox"
    bare = Chat(before=" ", after="")
    assert bare.reply("a fox ran : 1") == "a fox ran :" and bare.reply(" a fox 1 ran") == "a fox 1 ran"


def test_replies_that_are_empty_are_left_out():
    model = model_of()
    stop = model.tokenizer.eos_token_id
    with torch.no_grad():
        model.hf.lm_head.weight.zero_()
        model.hf.lm_head.weight[stop] = 1.0
    model.hf.generation_config.eos_token_id = stop
    result = quick(model, axes=["pc1"])
    explicit = result.tables["control"].query("kind == 'explicit'").iloc[0]
    if explicit["missing"]:
        assert any("experiments were left out" in note for note in result.notes)
    assert explicit["n"] + explicit["missing"] == 8
    assert not result.claims["shown"].any()


def test_the_command_runs_the_study(tmp_path, monkeypatch):
    app = typer.Typer()
    app.command()(command)
    seen = {}

    ready = quick(model_of(), axes=["pc1"])

    def run(model, data, axis, **options):
        seen.update(options, axis=axis, n=None if data is None else len(data))
        return ready

    monkeypatch.setattr(neurofeedback, "run", run)
    table = tmp_path / "s.csv"
    sentences().frame[["prompt", "label"]].rename(columns={"prompt": "said"}).to_csv(table, index=False)
    given = ["-m", "organism", "-d", str(table), "--text", "said", "--axis", "pc1"]
    options = ["--shots", "0,4", "--threshold", "4", "--episodes", "9", "--out", str(tmp_path / "out")]
    outcome = CliRunner().invoke(app, [*given, *options], catch_exceptions=False)
    assert outcome.exit_code == 0 and "Shown: nothing" in outcome.output
    assert (tmp_path / "out" / "index.html").is_file() and (tmp_path / "out" / "control.csv").is_file()
    assert (seen["axis"], seen["n"], seen["shots"], seen["threshold"]) == (["pc1"], 48, [0, 4], 4)
    assert (seen["episodes"], seen["labels"]) == (9, None)
    for wrong, said in ((["--shots", "0;4"], "whole numbers"), (["--axis", "x"], "Unknown axis")):
        with pytest.raises(DataError, match=said):
            CliRunner().invoke(app, wrong, catch_exceptions=False)


@pytest.mark.slow
def test_random_models_show_something_in_200_runs_as_often_as_stated():
    shown = 0
    for seed in range(200):
        model = model_of(("llama", "gpt2", "qwen3")[seed % 3], seed=seed)
        sites = ["resid_post.1", "resid_post.3"] if seed % 4 == 0 else "resid_post.2"
        result = quick(model, sentences(seed=seed), sites=sites, episodes=10, seed=seed)
        shown += bool(result.claims["shown"].any())
    assert shown / 200 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
