"""Reporting, as arithmetic: which episodes are drawn, what learners learn, and when a report counts."""

import numpy as np
import pytest

from probes.logistic_path import solve_path
from steering.studies.neurofeedback.episodes import Drawn, draw
from steering.studies.neurofeedback.learners import learnt, logistic_many, predicted, words_of
from steering.studies.neurofeedback.reporting import credit, curve, permuted, places_of, shuffled, told

N, PLACES = 60, [0, 2, 8]


def episodes(labels, count=40, places=9, seed=0, levels=2):
    return draw(labels, np.arange(len(labels)), levels=levels, episodes=count, places=places, seed=seed)


def balanced(seed=0):
    return np.random.default_rng(seed).permutation(np.tile([0, 1], N // 2))


def answers_of(drawn, share, seed=0, fixed=None):
    """Answers [2, e, places, 2] that are right in this share, or that go by the sentence alone (`fixed`)."""
    random = np.random.default_rng(seed)
    both = []
    for one in (drawn, drawn.flipped()):
        y = one.labels[:, PLACES]
        said = np.where(random.random(y.shape) < share, y, 1 - y) if fixed is None else fixed[one.index[:, PLACES]]
        both.append(np.stack([np.where(said == 0, 0.8, 0.2), np.where(said == 1, 0.8, 0.2)], axis=-1))
    return np.stack(both)


def judged(drawn, p, text=0.5, groups=None, **options):
    random = np.random.default_rng(9)
    guess = random.random((len(drawn.index), len(PLACES))) < text
    y = drawn.labels[:, PLACES]
    said = np.where(guess, y, 1 - y)
    words = np.stack([1.0 - said, said], axis=-1).astype(float)
    groups = np.arange(N) if groups is None else groups
    return told(p, drawn, PLACES, [1, 2], groups, {"words": words}, permutations=499, **options)


def test_labels_of_an_episode_are_fair_coins_and_no_sentence_comes_twice():
    labels = (np.arange(N) < 15).astype(np.int64)
    drawn = episodes(labels, count=400)
    assert (drawn.labels == labels[drawn.index]).all()
    assert all(len(set(row)) == 9 for row in drawn.index)
    # Although only a quarter of the sentences have label 1.
    assert drawn.labels.mean() == pytest.approx(0.5, abs=0.03)
    before, last = drawn.labels[:, :-1].mean(axis=1), drawn.labels[:, -1]
    assert abs(np.corrcoef(before, last)[0, 1]) < 0.12
    assert (drawn.flipped().labels == 1 - drawn.labels).all()
    assert (drawn.flipped().index == drawn.index).all()
    graded = Drawn(drawn.index, drawn.labels * 5, 6).flipped()
    assert set(graded.labels.ravel()) == {0, 5} and (graded.labels == 5 - drawn.labels * 5).all()


def test_a_label_that_runs_out_is_filled_up():
    drawn = draw(np.array([1, 0, 0, 0, 0]), np.arange(5), levels=2, episodes=20, places=5, seed=0)
    assert all(sorted(row) == [0, 1, 2, 3, 4] for row in drawn.index)


def test_places_hold_the_shots_asked_for_and_count_late_ones():
    places, late = places_of([0, 4, 16])
    assert {0, 4, 16} < set(places) and all(places[k] > 8 for k in late) and len(late) == 4
    assert places_of([0]) == ([0], [0])


def test_many_logistic_regressions_at_once_are_those_one_at_a_time():
    random = np.random.default_rng(0)
    X = random.standard_normal((5, 9, 4)) * np.array([1, 3, 10, 0.1])
    sign = np.where(random.random((5, 9)) < 0.5, 1.0, -1.0)
    sign[:, :2] = [1, -1]
    for C in (1.0, 10.0):
        a, b = logistic_many(X @ X.swapaxes(1, 2), sign, C)
        for k in range(5):
            coef, bias = solve_path(X[k], sign[k], np.ones(9), [C])[0]
            assert a[k] @ X[k] == pytest.approx(coef, abs=1e-4)
            assert b[k] == pytest.approx(bias, abs=1e-4)


def test_learners_learn_from_the_shots_before_a_sentence_only():
    labels = balanced()
    X = np.random.default_rng(1).standard_normal((N, 6))
    X[:, 0] += 4 * (2 * labels - 1)
    drawn = episodes(labels)
    p = learnt(X, drawn, PLACES)
    assert p.sum(axis=-1) == pytest.approx(1)
    assert p[:, 0] == pytest.approx(0.5)
    right = np.take_along_axis(credit(p), drawn.labels[:, PLACES][..., None], axis=-1)[..., 0].mean(axis=0)
    assert right[0] == 0.5 and right[2] > 0.9
    # The label asked for is not among those shown.
    other = Drawn(drawn.index, np.c_[drawn.labels[:, :-1], 1 - drawn.labels[:, -1]], 2)
    assert learnt(X, other, [8]) == pytest.approx(p[:, [2]])
    single = predicted(X[None, :3], np.zeros((1, 3), dtype=np.int64), X[None, :1], 2)
    assert single[0, 0] == pytest.approx([4 / 5, 1 / 5])


def test_graded_labels_are_learnt_one_against_the_rest():
    labels = np.arange(N) % 4
    X = np.eye(4)[labels] * 5
    p = learnt(X, episodes(labels, levels=4, places=17), [16])
    assert (
        p.shape[-1] == 4
        and (p.argmax(axis=-1)[:, 0] == episodes(labels, levels=4, places=17).labels[:, 16]).mean() > 0.95
    )


def test_words_are_told_apart_and_order_is_not():
    X = words_of(["red fox", "fox red", "blue fox"])
    assert (X[0] == X[1]).all() and (X[0] != X[2]).any()


def test_a_report_counts_where_it_beats_permuted_labels_and_the_words():
    drawn = episodes(balanced())
    good = judged(drawn, answers_of(drawn, 0.8))
    assert good.p < 0.01 and good.low > good.null and good.privileged
    assert good.accuracy == pytest.approx(0.8, abs=0.06) and good.null == pytest.approx(0.5, abs=0.03)
    assert not judged(drawn, answers_of(drawn, 0.8), text=0.85).privileged
    chance = judged(drawn, answers_of(drawn, 0.5))
    assert chance.p > 0.05 and chance.low < chance.null < chance.high
    against = judged(drawn, answers_of(drawn, 0.1))
    assert against.p > 0.99


def test_what_goes_by_the_sentence_alone_is_right_half_the_time():
    labels = balanced()
    drawn = episodes(labels)
    # Even where it happens to agree with the labels of the axis entirely.
    assert judged(drawn, answers_of(drawn, 0, fixed=labels)).accuracy == 0.5
    assert judged(drawn, answers_of(drawn, 0, fixed=labels)).p > 0.3
    # Answers that are not flipped with the labels would be told as perfect.
    alone = answers_of(drawn, 0, fixed=labels)[:1]
    assert told(alone, drawn, PLACES, [1, 2], np.arange(N), {}, permutations=99).accuracy == 1


def test_labels_are_permuted_as_groups_allow():
    labels, groups = np.array([0, 0, 1, 1, 0, 1, 1, 0]), np.array(list("aabbccdd"))
    dealt = shuffled(labels, groups, 200, 0)
    for row in dealt:
        assert row[0] == row[1] and row[2] == row[3] and row[0] != row[2]
        assert sorted(row[4:6]) == [0, 1] and sorted(row[6:]) == [0, 1]
    assert len({tuple(row) for row in dealt}) == 8


def test_curves_have_a_row_per_number_of_shots():
    drawn = episodes(balanced())
    table = curve(answers_of(drawn, 1.0), drawn, PLACES, np.arange(N))
    assert table["shots"].tolist() == PLACES and (table["accuracy"] == 1).all()
    assert table["cross_entropy"].to_numpy() == pytest.approx(-np.log(0.8))


def test_answers_by_chance_count_in_200_studies_as_often_as_stated():
    """By sentences, too: each is answered in one way of its own in all episodes, and the other way when flipped."""
    shown = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        drawn = episodes(random.permutation(balanced()), count=12, seed=seed)
        habit = random.integers(2, size=N)
        p = answers_of(drawn, 0, fixed=habit)
        p[1] = p[1][..., ::-1]
        found = told(p, drawn, PLACES, [1, 2], np.arange(N), {}, permutations=199, seed=seed)
        shown += found.p < 0.05 and found.low > found.null
    assert shown / 200 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


def test_whole_groups_are_permuted_so_that_few_groups_prove_little():
    labels = np.repeat(np.tile([0, 1], 3), 10)
    index = np.arange(N).reshape(6, 10)
    earned = np.eye(2)[labels][index]
    by_group, by_row = (
        permuted(earned, index, labels[index], groups, permutations=300, seed=0)
        for groups in (np.arange(N) // 10, np.arange(N))
    )
    assert by_group.std() > 2 * by_row.std()
    # Three groups of each label: one permutation in twenty is the truth.
    assert (by_group == 1).mean() == pytest.approx(0.05, abs=0.04) and (by_row == 1).mean() == 0
