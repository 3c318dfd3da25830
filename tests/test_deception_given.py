"""What the study of deception is given: scenes, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from built import made
from deception_data import idle, scenes

import lens
from lens import DataError, SpanError
from steering.studies import deception
from steering.studies.deception.read import check_readable
from steering.studies.deception.scenes import Scenes, answered, check_columns
from steering.studies.deception.study import Study


def frame(rows):
    return lens.Examples(pd.DataFrame(rows))


def test_silent_and_unlabelled_rows_are_left_out_and_counted():
    rows = frame(
        [
            {"prompt": "a", "response": "x", "label": 1},
            {"prompt": "b", "response": None, "label": 1},
            {"prompt": "c", "response": "y", "label": 0},
            {"prompt": "d", "response": "z", "label": None},
        ]
    )
    kept = Scenes.of(rows, response=True, labelled=True, what="scenarios")
    assert len(kept.examples) == 2 and kept.missing == {"no response": 1, "no label": 1}
    assert kept.said_missing("scenarios") == ["Left out of the scenarios: 1 with no response, 1 with no label."]
    with pytest.raises(DataError, match="have label 1"):
        Scenes.of(rows.select([0, 1]), response=True, labelled=True, what="scenarios")
    with pytest.raises(DataError, match="None of the 1 scenarios"):
        Scenes.of(rows.select([1]), response=True, labelled=True, what="scenarios")


def test_what_is_cut_off_is_missing():
    _, model = made("deception")
    rows = scenes()["control"].select([0, 1])
    assert answered(model, rows, max_new_tokens=4).responses[0] in ("yes", "no")
    cut = answered(model, rows, max_new_tokens=1)
    assert cut.responses == [None, None] and not cut.frame["finished"].any()


def test_a_run_counts_what_it_could_not_read(llama):
    given = idle(seed=3)
    table = given["scenarios"].frame.copy()
    table.loc[5:7, "response"] = None
    del given["facts"]
    given["scenarios"] = lens.Examples(table)
    # A battery whose groups are those of rows 0 to 23: on these it is not tried.
    pairs = given["pairs"].frame
    given["battery"] = {"other": lens.Examples(pairs.assign(group=pairs["group"].str.replace("p", "s")))}
    result = deception.run(
        llama,
        **given,
        span="response",
        draws=1,
        random_draws=1,
        detectors=["lat"],
        sites=lens.Site("resid_post", 1),
        progress=False,
    )
    assert (
        any("3 with no response" in note for note in result.notes)
        and len(result.tables["scores"].query("set == 'scenarios'")) == 37
    )
    read = table["response"].notna() & (table["scenario"] == 1)
    assert result.claims["n"].iloc[0] == read.sum()
    compared = read & table["kind"].isin(["lie", "honest"])
    assert result.tables["transfer"]["n"].tolist() == [int(compared[24:].sum())]


def test_blank_kinds_are_those_of_the_label():
    given = [("lie", 1), (None, 1), (np.nan, 0), (" ", 0), (pd.NA, None)]
    rows = frame(
        [{"prompt": str(k), "response": "x", "kind": kind, "label": one} for k, (kind, one) in enumerate(given)]
    )
    check_columns(rows)
    scenarios = Scenes.of(rows, response=True, labelled=True, what="scenarios")
    assert scenarios.kinds.tolist() == ["lie", "deceptive", "honest", "honest"]
    assert scenarios.lies == ["deceptive", "lie"]


def test_groups_that_number_rows_are_not_those_of_a_battery(llama):
    """Pairs whose groups are numbers 0 to 11, and scenarios without groups."""
    given = idle(seed=0)
    del given["facts"]
    pairs = given["pairs"].frame
    given["pairs"] = lens.Examples(pairs.assign(group=pairs["group"].str[1:].astype(int)))
    table = given["scenarios"].frame.drop(columns="group")
    table.loc[3, "response"] = None
    given["scenarios"] = lens.Examples(table)
    given["battery"] = {"lie": given["pairs"]}
    options = {"draws": 1, "random_draws": 1, "detectors": ["lat"], "sites": ["resid_post.1"], "progress": False}
    result = deception.run(llama, **given, span="response", **options)
    compared = table["response"].notna() & (table["scenario"] == 1) & table["kind"].isin(["lie", "honest"])
    assert result.tables["transfer"]["n"].tolist() == [int(compared.sum())]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "same"}, "kind 'same' has deceptive and honest rows"),
        ({"scenario": 2}, "Column 'scenario' holds 2"),
        ({"scenario": 0}, "No honest row is in a scenario"),
    ],
)
def test_scenarios_that_contradict_themselves(llama, change, said):
    given = idle(seed=0)
    given["scenarios"] = lens.Examples(given["scenarios"].frame.assign(**change))
    with pytest.raises(DataError, match=said):
        deception.run(llama, **given, span="response", progress=False)


def test_what_is_missing_or_out_of_range_is_refused_at_once(llama):
    given = idle(seed=0)
    with pytest.raises(DataError, match="Give pairs"):
        deception.run(llama)
    with pytest.raises(DataError, match="one is missing"):
        deception.run(llama, given["pairs"], given["scenarios"])
    options = [
        ({"detectors": ["logistic", "nope"]}, "available: logistic"),
        ({"detectors": ["lat", "lat"]}, "each once"),
        ({"lam": 0}, "penalty"),
        ({"fpr": 1.0}, "fpr=1.0"),
        ({"random_draws": 0}, "random_draws=0"),
        ({"strengths": [-1.0]}, "above 0"),
    ]
    for one, said in options:
        with pytest.raises(DataError, match=said):
            deception.run(llama, **given, **{"span": "response", "progress": False} | one)
    table = pd.concat([given["scenarios"].frame, given["pairs"].frame[:2].assign(scenario=0)])
    with pytest.raises(DataError, match="2 texts are both in the pairs and in the scenarios"):
        deception.run(llama, given["pairs"], lens.Examples(table), given["control"], span="response")


def test_facts_that_cannot_be_asked_are_told_before_anything_runs(llama, monkeypatch):
    monkeypatch.setattr(Study, "validation", lambda self: pytest.fail("something ran"))
    given = idle(seed=0)
    facts = given["facts"].frame
    for frame, said in (
        (facts.drop(columns="wrong"), "facts: No column 'wrong'"),
        (facts.assign(wrong="yes"), "facts: Row 0: yes is among both"),
        (facts.assign(prompt=[*facts["prompt"][:-1], "the quick " * 200]), "facts: .*context"),
        (facts.assign(group="one"), "facts: 1 groups; at least 4"),
    ):
        given["facts"] = lens.Examples(frame)
        with pytest.raises(DataError, match=said):
            deception.run(llama, **given, span="response", progress=False)


def test_check_readable_names_the_span(llama):
    with pytest.raises(SpanError, match="Chats"):
        check_readable(llama, frame([{"prompt": "she lied", "response": "no"}]), "response[3:]", "chats")
