"""What would fail late is refused before anything runs; what is no number is neither evidence nor shown."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from agents_data import debate, tiny_debate
from built import made

import lens
from lens import DataError
from lens.generation import Generation
from steering.studies import latent_agents
from steering.studies.latent_agents.texts import _scored
from steering.studies.pieces import Pieces

LONG = "the quick brown fox " * 60


@pytest.fixture
def refused(llama, monkeypatch):
    monkeypatch.setattr(latent_agents.Told, "result", lambda self: pytest.fail("it ran"))

    def check(match, given, **options):
        with pytest.raises(DataError, match=match):
            latent_agents.run(llama, given, progress=False, sites=["resid_post.1"], **({"draws": 100} | options))

    return check


def with_long(given, name):
    table = getattr(given, name)
    return replace(given, **{name: lens.Examples(table.frame.assign(prompt=[LONG] * len(table)))})


@pytest.mark.parametrize("name", ["items", "speak", "trait", "answers", "system"])
def test_a_prompt_that_is_too_long_is_told_with_its_table(name, refused):
    refused(f"^{name}: .*context", with_long(tiny_debate(0), name))


def test_texts_to_compare_with_are_looked_for_before_anything_is_written(refused, llama):
    given = tiny_debate(0, bad=False)
    held = given.held(0)
    fitted = given.items.select(~np.isin(given.items.groups.astype(str), sorted(held)))
    refused("No row of the", replace(given, items=fitted), draws=40, generate=2)
    one = given.items.select(
        ~np.isin(given.items.groups.astype(str), sorted(held)) | (given.items.frame["agent"] == "one")
    )
    refused("No item of agent 'two' is left to compare texts with", replace(given, items=one), draws=40, generate=2)
    # Without texts, items of the groups that are fitted on are enough.
    with pytest.raises(pytest.fail.Exception, match="it ran"):
        latent_agents.run(llama, replace(given, items=one), draws=40, progress=False)


def test_a_text_in_place_of_a_list_of_words_is_refused(refused, tmp_path):
    given = tiny_debate(0)
    refused("words of two: ' fox' is a text; a list", replace(given, words={"one": [" money"], "two": " fox"}))
    refused("other: ' fox' is a text; a list", replace(given, other=" fox"))
    for name in ("items", "speak"):
        getattr(given, name).frame.to_json(tmp_path / f"{name}.jsonl", orient="records", lines=True)
    for words in ({"words": {"one": ["a"], "two": "fox"}}, {"words": {"one": ["a"], "two": ["b"]}, "other": "fox"}):
        (tmp_path / "words.json").write_text(json.dumps(words))
        with pytest.raises(DataError, match=r"words\.json: (two|other): 'fox' is a text; a list of words"):
            latent_agents.Debate.from_folder(tmp_path)


def test_items_without_agents_are_refused_with_what_they_have(refused):
    given = tiny_debate(0)
    items = lens.Examples(given.items.frame.drop(columns="agent"))
    refused("Items need a column 'agent'; available: .*positive", replace(given, items=items))
    refused("Items need a column 'agent'", replace(given, items=items), draws=None)


@pytest.mark.parametrize(
    ("text", "finished", "missing"), [("... !", True, True), ("the fox", False, True), ("a fox", True, False)]
)
def test_a_text_without_words_is_missing(text, finished, missing):
    found = _scored(Generation(text, [], finished), "the fox")
    assert found["missing"] is missing and np.isnan(found["rouge1"]) == missing


def test_vectors_of_later_rounds_are_compared_where_there_are_any(llama):
    def study(model, given, place):
        parts = (given, [place], "response[-1]", (1.0, 2.0), 120, 0.1, 0.05, False, 0, 0, False)
        return latent_agents.Study(model, *parts)

    several = study(made("agents")[1], debate(), "resid_post.0")
    table = several.diagnostics()
    assert table["across_rounds"].iloc[0] > 0.99 and set(several.vectors.rounds) == {1}
    assert table["n"].iloc[0] == len(several.vectors.owner)
    one = study(llama, tiny_debate(0), "resid_post.1").diagnostics()
    assert "across_rounds" not in one and one["n"].tolist() == [12]


def test_there_is_no_p_where_there_is_no_value(llama):
    study = latent_agents.Study(
        llama, tiny_debate(0), ["resid_post.1"], "response[-1]", (1.0, 2.0), 4, 0.1, 0.05, False, 0, 0, False
    )
    told = latent_agents.Told(study, None, Pieces(None, {}))
    rows = pd.DataFrame(
        [{"kind": kind, "of": "one", "value": 0.1 * k} for kind in ("shuffled", "random") for k in range(4)]
    )
    assert np.isnan(told._p(rows, "one", float("nan"), "one")).all()
    assert told._p(rows, "one", 0.5, "one")[0] == pytest.approx(1 / 5)
    # Draws without a number are no draws below the value.
    rows.loc[2, "value"] = np.nan
    assert np.isnan(told._p(rows, "one", 0.5, "one")).all()
    table = pd.DataFrame(
        {"test": True, "what": "answers", "row": [k // 2 for k in range(8)], "strength": [0.0, -1.0] * 4}
        | {"right": np.nan, "group": [str(k // 2) for k in range(8)]}
    )
    for claim in told._costs(table, "two", -1.0, 0.01):
        assert np.isnan(claim.value) and np.isnan(claim.p)
