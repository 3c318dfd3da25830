"""Erasure: the theorems, least change, rows = moments = store, parity with concept-erasure."""

import numpy as np
import pandas as pd
import pytest
import torch
from concept_erasure import LeaceFitter, OracleEraser
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import OAS
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

import lens
import probes
from probes import Inlp, Leace, MeanProjection
from probes.erasure.classes import Rows, of_rows
from probes.folds import cross_scores, grouped_folds
from probes.metrics import auroc

SITE = "resid_post.0"
SHAPES = [(300, 12), (40, 90)]
GUARDS = [Leace(), Leace(0.3), Leace("oas"), Leace(1.0), MeanProjection()]


def data(n=300, d=12, k=2, seed=0):
    """Classes of unequal size and different means; correlated features of different size, far from 0."""
    rng = np.random.default_rng(seed)
    codes = np.sort(rng.choice(k, n, p=np.arange(1, k + 1) / (k * (k + 1) / 2)))
    codes[:k] = np.arange(k)
    scale = rng.standard_normal((d, d)) * np.logspace(-1, 1, d)
    X = (rng.standard_normal((n, d)) + 0.7 * rng.standard_normal((k, d))[codes]) @ scale + 20
    return X, codes


def known(X, codes):
    return of_rows(Rows(tuple(range(codes.max() + 1)), X, codes, np.arange(len(X))))


def erased(X, codes, method, H=None):
    """H (X where not given) erased by what was fitted on X."""
    found = known(X, codes)
    removed, reading = method.factors(found)
    H = X if H is None else H
    return H - (H - found.mean) @ reading @ removed.T


def means(X, codes):
    return np.stack([X[codes == c].mean(axis=0) for c in np.unique(codes)])


def change(X, other):
    return (other - X).T @ (other - X) / len(X)


def least_eigenvalue(matrix):
    return np.linalg.eigvalsh(matrix)[0] / np.trace(matrix)


def collected(X, *, groups=None, fingerprint="made", **columns):
    """Activations at one site with the classes in columns."""
    n = len(X)
    frame = pd.DataFrame({"prompt": [f"text {row}" for row in range(n)], **columns})
    table = lens.Examples(frame.assign(group=np.arange(n) // 2 if groups is None else groups))
    array, site = torch.from_numpy(X).float(), lens.Site.parse(SITE)
    source = lens.activations.Source("made", fingerprint, "prompt[-1]", "mean", table.hash(), {})
    return lens.Activations({site: array}, {site: array.norm(dim=1)}, table, source)


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@pytest.mark.parametrize("method", GUARDS, ids=repr)
@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_no_linear_probe_beats_the_constant_on_the_rows_it_was_fitted_on(n, d, k, method):
    X, codes = data(n, d, k)
    after = erased(X, codes, method)
    assert np.abs(means(after, codes) - X.mean(axis=0)).max() < 1e-10 * np.abs(X).max()
    share = np.bincount(codes) / n
    constant = -float(share @ np.log(share))

    def best_loss(H):
        H = (H - H.mean(axis=0)) / np.linalg.norm(H - H.mean(axis=0), 2) * np.sqrt(n)
        probe = LogisticRegression(C=1e9, tol=1e-10, max_iter=200).fit(H, codes)
        return log_loss(codes, probe.predict_proba(H))

    assert best_loss(after) == pytest.approx(constant, abs=1e-6)
    assert best_loss(X) < 0.9 * constant


@given(st.integers(0, 10**6), st.integers(2, 4), st.floats(0.01, 3.0))
def test_of_all_affine_guards_leace_changes_least_in_every_norm(seed, k, size):
    X, codes = data(120, 8, k, seed)
    found, rng = known(X, codes), np.random.default_rng(seed)
    removed, reading = Leace().factors(found)
    least, rest = change(X, erased(X, codes, Leace())), np.eye(8) - removed @ removed.T
    oblique = removed @ (reading + size * rest @ rng.standard_normal(reading.shape)).T
    squeezed = (np.eye(8) + size * rng.standard_normal((8, 8))) @ rest
    for guard in (np.eye(8) - oblique, squeezed, rest):
        after = found.mean + (X - found.mean) @ guard.T
        assert np.abs(means(after, codes) - found.mean).max() < 1e-9 * np.abs(X).max()
        assert least_eigenvalue(change(X, after) - least) > -1e-9
        assert np.trace(change(X, after)) > np.trace(least)
        assert least_eigenvalue(change(X, after + 0.1) - least) > -1e-9


def test_leace_changes_less_than_the_projections_and_the_oracle_less_still():
    X, codes = data(400, 10, 3)
    acts = collected(X, topic=codes, label=codes > 0, groups=np.random.default_rng(0).permutation(400) // 10)
    total = {
        name: float(np.trace(change(X, probes.erase(acts, SITE, name, by="topic")(torch.from_numpy(X)).numpy())))
        for name in ("leace", "mean_projection", "inlp")
    }
    exact = probes.erase(acts, SITE, by="topic").oracle(torch.from_numpy(X), codes).numpy()
    assert np.trace(change(X, exact)) < total["leace"] < total["mean_projection"] < total["inlp"]
    assert least_eigenvalue(change(X, erased(X, codes, Leace())) - change(X, exact)) > -1e-6
    assert np.abs(means(exact, codes) - X.mean(axis=0)).max() < 1e-5


@given(st.integers(0, 10**6), st.integers(2, 4))
def test_leace_does_not_depend_on_the_coordinates(seed, k):
    X, codes = data(80, 7, k, seed)
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.standard_normal((7, 7)))
    A, b = turn * rng.uniform(0.5, 2.0, 7), rng.standard_normal(7)
    for method, maps in ((Leace(), (A, turn)), (MeanProjection(), (turn,)), (Leace(0.2), (turn,))):
        for M in maps:
            there = erased(X @ M + b, codes, method)
            assert np.allclose(there, erased(X, codes, method) @ M + b, atol=1e-6 * np.abs(X).max())


@pytest.mark.parametrize("method", GUARDS, ids=repr)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_an_eraser_is_a_projection_of_the_right_rank(n, d, method):
    X, codes = data(n, d, 3)
    acts = collected(X, topic=codes)
    eraser = probes.erase(acts, SITE, method, by="topic")
    h = torch.from_numpy(X)
    once = eraser(h)
    assert eraser.rank == 2 and torch.allclose(eraser(once), once, atol=1e-9 * float(h.abs().max()))
    assert torch.allclose(h @ eraser.matrix.T + eraser.offset, once, atol=1e-9 * float(h.abs().max()))
    assert torch.allclose(eraser.reading.T @ eraser.removed, torch.eye(2).double(), atol=1e-10)
    assert torch.allclose(eraser.removed.T @ eraser.removed, torch.eye(2).double(), atol=1e-10)
    for dtype in (torch.float32, torch.bfloat16):
        close = eraser(h.reshape(2, n // 2, d).to(dtype))
        assert close.dtype == dtype and close.shape == (2, n // 2, d)
        wide, largest = eraser(h.to(dtype).double()), float(h.norm(dim=1).max())
        # Inside it is float32, whose rounding an ill-conditioned reading enlarges.
        inside = torch.finfo(torch.float32).eps * float(eraser.reading.norm()) * largest
        tolerance = 4 * torch.finfo(dtype).eps * float(wide.abs().max()) + 4 * inside
        assert torch.allclose(close.reshape(n, d).double(), wide, atol=tolerance, rtol=0)


@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize("k", [2, 3])
def test_leace_and_the_projection_are_those_of_concept_erasure(n, d, k):
    X, codes = data(n, d, k)
    x, z = torch.from_numpy(X), torch.nn.functional.one_hot(torch.from_numpy(codes)).double()
    for ours, theirs in ((Leace(), "leace"), (MeanProjection(), "orth")):
        # Their tolerance also drops what a class hardly tells.
        reference = LeaceFitter.fit(x, z, method=theirs, shrinkage=False, svd_tol=1e-6).eraser
        H = np.random.default_rng(1).standard_normal((5, n)) @ X / np.sqrt(n)
        wanted = reference(torch.from_numpy(H)).numpy()
        assert np.abs(erased(X, codes, ours, H) - wanted).max() < 1e-6 * np.abs(H).max()
    eraser = probes.erase(collected(X, topic=codes), SITE, by="topic")
    wanted = OracleEraser.fit(x, z, svd_tol=1e-9)(x, z)
    assert torch.allclose(eraser.oracle(x, codes), wanted, atol=1e-6 * float(x.abs().max()))


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_full_shrinkage_is_the_projection_of_the_means_and_oas_is_scikit_learns(n, d):
    X, codes = data(n, d, 3)
    assert np.allclose(erased(X, codes, Leace(1.0)), erased(X, codes, MeanProjection()))
    assert not np.allclose(erased(X, codes, Leace(0.5)), erased(X, codes, MeanProjection()), atol=1e-2)
    assert np.allclose(erased(X, codes, Leace("oas")), erased(X, codes, Leace(float(OAS().fit(X).shrinkage_))))


@pytest.mark.parametrize("method", GUARDS, ids=repr)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_moments_and_their_sums_give_what_rows_give(n, d, method):
    X, codes = data(n, d, 3)
    acts = collected(X, topic=codes)
    half = np.random.default_rng(0).permutation(n) < n // 2
    whole = lens.Moments.of(acts, by="topic")
    joined = lens.Moments.of(acts.select(half), by="topic") + lens.Moments.of(acts.select(~half), by="topic")
    wanted = probes.erase(acts, SITE, method, by="topic")
    for source in (whole, joined):
        found = probes.erase(source, SITE, method, by="topic")
        assert torch.allclose(found(acts[SITE].double()), wanted(acts[SITE].double()), atol=1e-5)
        assert torch.allclose(found.matrix, wanted.matrix, atol=1e-6)
        assert torch.allclose(found.class_means, wanted.class_means) and found.classes == wanted.classes
        assert found.residual_norm == pytest.approx(wanted.residual_norm) and found.provenance.n == n
    assert probes.erase(whole, SITE, method, by="topic").provenance == wanted.provenance


@pytest.mark.parametrize("pool", ["mean", "none"])
@pytest.mark.parametrize("copies", [1, 4])
def test_a_store_gives_what_its_rows_give(llama, tmp_path, pool, copies):
    words = ["the cat sat", "a dog ran home", "we like maps", "rain fell all day long", "go"]
    texts = [f"{one} {other}" for one in words for other in words] * copies
    frame = pd.DataFrame({"prompt": texts, "topic": [("a", "b", "c")[len(text) % 3] for text in texts]})
    frame["group"] = np.arange(len(frame))
    acts = lens.collect(
        llama, lens.Examples(frame), sites=[SITE], span="prompt", pool=pool, store=tmp_path / "store", progress=False
    )
    store = lens.Store.open(tmp_path / "store")
    # With one copy there are fewer rows than dimensions.
    assert (len(acts) < acts.width) == (copies == 1)
    wanted = probes.erase(lens.Moments.of(acts, by="topic"), SITE, by="topic")
    for source in (store, acts):
        found = probes.erase(source, SITE, by="topic")
        assert torch.allclose(found.matrix, wanted.matrix, atol=1e-5 * float(wanted.matrix.norm()))
        assert found.provenance == wanted.provenance and found.classes == ("a", "b", "c")


def test_directions_that_hardly_vary_are_rounding_and_are_left_alone():
    """A constant coordinate in float32 is not quite constant; what is divided by its variance is noise."""
    X, codes = data(400, 10)
    X[:, 4] = 20 * (1 + 3e-7 * np.random.default_rng(0).standard_normal(400))
    held_out = X.copy()
    held_out[:, 4] += 1.0
    assert np.abs(erased(X, codes, Leace(), held_out) - held_out)[:, [4]].max() < 1e-3
    wild = erased(X, codes, Leace(rounding=0.0), held_out) - held_out
    assert np.abs(wild).max() > 1e3 * np.abs(erased(X, codes, Leace(), held_out) - held_out).max()


@pytest.mark.parametrize("method", ["leace", "mean_projection", "inlp"])
def test_where_the_classes_do_not_differ_nothing_is_erased(method):
    half = np.random.default_rng(0).standard_normal((60, 6)) + 5
    acts = collected(np.vstack([half, half]), label=np.repeat([0, 1], 60), groups=np.tile(np.arange(30), 4))
    eraser = probes.erase(acts, SITE, method)
    assert eraser.rank == 0 and eraser.directions == () and "nothing to erase" in repr(eraser)
    assert torch.equal(eraser(acts[SITE]), acts[SITE])


def test_inlp_ends_at_chance_out_of_fold_and_takes_only_what_it_needs():
    rng = np.random.default_rng(0)
    y, groups = np.tile([0, 1], 200), np.arange(400) // 4
    X = rng.standard_normal((400, 20))
    X[:, 0] += 2 * y
    X[:, 1] -= 2 * y
    acts = collected(X, label=y, groups=groups)
    for probe in ("logistic", "mean_difference", "lda"):
        eraser = probes.erase(acts, SITE, Inlp(probe))
        planted = np.eye(20)[0] - np.eye(20)[1]
        assert np.linalg.norm(eraser.removed.numpy().T @ planted) / np.sqrt(2) > 0.98
        assert 1 <= eraser.rank <= 6
        fresh = rng.standard_normal((400, 20))
        fresh[:, :2] += 2 * y[:, None] * [1, -1]
        left = eraser(torch.from_numpy(fresh)).numpy()
        plan = grouped_folds(y, groups, 5, 1)
        before, after = (auroc(y, cross_scores(H, y, plan, "logistic")) for H in (fresh, left))
        assert before > 0.95 and after < 0.7
    with pytest.warns(UserWarning, match="still found after max_rounds=1"):
        assert probes.erase(acts, SITE, Inlp("logistic", max_rounds=1)).rank == 1


def test_the_directions_point_to_label_1_and_can_steer():
    X, codes = data()
    eraser = probes.erase(collected(X, label=codes), SITE)
    (direction,) = eraser.directions
    difference = np.diff(means(X, codes), axis=0)[0]
    assert direction.vector.numpy() @ difference == pytest.approx(np.linalg.norm(difference), rel=1e-5)
    assert direction.difference == pytest.approx(np.linalg.norm(difference), rel=1e-5)
    scores = [float(direction.score(torch.from_numpy(mean))) for mean in means(X, codes)]
    assert scores[1] == pytest.approx(-scores[0], rel=1e-3) and scores[1] > 0
    assert auroc(codes, direction.score(eraser(torch.from_numpy(X))).numpy()) < 0.75 < auroc(codes, X @ difference)
