"""What is made of a spillover table: the stability diagnostic and the heat map, on made-up tables."""

import numpy as np
import pandas as pd
import pytest

import lens
import steering


def test_stability_is_its_formula():
    moved = {"a": {"x": 0.2, "y": -0.1, "a": 9.0, "z": 0.0}, "b": {"x": -0.2, "y": 0.3, "a": 5.0, "z": np.nan}}
    rows = [(steered, read, change) for steered, all_ in moved.items() for read, change in all_.items()]
    table = pd.DataFrame(rows, columns=["steered", "read", "change"]).assign(kind="measure")
    found = steering.stability(table).set_index("steered")
    a = np.array([0.2 / 0.4, -0.1 / 0.4, 0.0])
    b = np.array([-0.2 / 0.4, 0.3 / 0.4, 5.0 / 4.0])
    for name, d in (("a", a), ("b", b)):
        assert found.loc[name, "consistency"] == pytest.approx(1 / (1 + d.var()))
        assert found.loc[name, "disturbance"] == pytest.approx(np.abs(d).mean())
        assert found.loc[name, "reads"] == 3
    with pytest.raises(lens.DataError, match="at least two"):
        steering.stability(table[table["steered"] == "a"])
    with pytest.raises(lens.DataError, match="has none"):
        steering.stability(table[table["read"] == "a"].assign(read=lambda one: one["steered"]))


def test_the_map_stars_what_is_clear_and_fades_what_is_not():
    rows = [
        ("a", "x", "measure", 0.5, True, ""),
        ("a", "p", "probe", 4.0, True, ""),
        ("b", "x", "measure", -0.5, False, ""),
        ("b", "p", "probe", np.nan, False, "p comes before b"),
    ]
    table = pd.DataFrame(rows, columns=["steered", "read", "kind", "change", "clear", "reason"])
    table = table.assign(low=table["change"] - 0.1, high=table["change"] + 0.1, strength=-1.5)
    heat = lens.figures.spillover_map(table).data[0]
    assert list(heat.y) == ["a, -1.5", "b, -1.5"] and [name.split("<")[0] for name in heat.x] == ["x", "p"]
    assert np.array(heat.z)[0].tolist() == [1.0, 1.0] and np.array(heat.z)[1, 0] == -0.25 and np.isnan(heat.z[1][1])
    assert heat.text[0][0].startswith("+0.50*<br>") and "*" not in heat.text[1][0] and heat.text[1][1] == "–"
    assert heat.customdata[1][1] == "p comes before b"
    with pytest.raises(lens.DataError, match="'clear'"):
        lens.figures.spillover_map(table.drop(columns="clear"))
