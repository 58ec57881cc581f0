from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pipeline.config.product import Gate
from pipeline.training.evaluate import Evaluation
from pipeline.training.gate import HoldoutComparison, ScoredModel, decide, diebold_mariano

RULES = Gate(issues=60)
ISSUES = 60
SHAPE = (ISSUES, 2, 1, 4)
START = datetime(2002, 1, 1, tzinfo=UTC)
NAN = float("nan")
UNSCORED = Evaluation(np.full(SHAPE, NAN), np.full(SHAPE, NAN), np.full(SHAPE, NAN))


def _scores(mean: float, *, seed: int = 0, coverage: float = 0.9, shift: Any = 0.0) -> Evaluation:
    noise = np.random.default_rng(seed).normal(0, 0.02, SHAPE)
    covered = np.zeros(SHAPE)
    covered.reshape(-1)[: round(coverage * covered.size)] = 1
    crps = mean + noise + np.asarray(shift)
    return Evaluation(crps, crps.copy(), covered)


def _comparison(challenger: Evaluation | None = None, **changed: Any) -> HoldoutComparison:
    """A challenger that is clearly better than a champion and two baselines."""
    fields: dict[str, Any] = {
        "challenger": ScoredModel("new", challenger or _scores(1.0)),
        "rivals": (
            ScoredModel("champion version 1", _scores(1.2, seed=1), champion=True),
            ScoredModel("persistence", _scores(1.3, seed=2)),
            ScoredModel("climatology", _scores(1.5, seed=3)),
        ),
        "outage": _scores(1.1, seed=4),
        "outage_reference": _scores(1.5, seed=3),
        "issues": [START + n * timedelta(days=1) for n in range(ISSUES)],
        "nominal_coverage": 0.9,
    }
    return HoldoutComparison(**(fields | changed))


def _holed(scores: Evaluation, where: Any) -> Evaluation:
    crps = scores.crps.copy()
    crps[where] = np.nan
    return replace(scores, crps=crps)


def test_a_better_challenger_is_promoted_with_the_numbers() -> None:
    verdict = decide(_comparison(), RULES)
    assert verdict.promoted
    assert verdict.reason == "best of all, 16.6% better in CRPS than champion version 1"
    assert [rival.rival for rival in verdict.rivals] == ["champion version 1", "persistence", "climatology"]
    assert all(rival.beaten and rival.p_value < 0.001 for rival in verdict.rivals)
    assert verdict.rivals[0].skill == pytest.approx(1 - 1 / 1.2, abs=0.01)
    assert (verdict.since, verdict.until, verdict.issues) == (START, START + timedelta(days=59), 60)


def test_a_challenger_without_a_champion_becomes_the_first_champion() -> None:
    comparison = _comparison()
    verdict = decide(replace(comparison, rivals=comparison.rivals[1:]), RULES)
    assert verdict.promoted
    assert verdict.reason.startswith("first champion, best of all")


champion = ScoredModel("champion version 1", _scores(1.2, seed=1), champion=True)
unscorable = ScoredModel("champion version 1, which cannot be scored", UNSCORED, True)
REFUSED: dict[str, tuple[HoldoutComparison, str]] = {
    "equal": (_comparison(rivals=(ScoredModel("twin", _scores(1.0)),)), "not shown to be better than twin"),
    "luck": (_comparison(rivals=(ScoredModel("near", _scores(1.001, seed=9)),)), "not shown to be better than near"),
    "worse": (_comparison(_scores(2.0)), "not shown to be better than champion version 1"),
    "worse at one lead": (
        _comparison(_scores(0.8, shift=np.array([0.0, 0.5]).reshape(1, 2, 1, 1))),
        "worse than champion version 1 at lead 2",
    ),
    "no rivals": (_comparison(rivals=()), "no rival to compare with"),
    "champion cannot be loaded": (
        _comparison(rivals=(unscorable, *_comparison().rivals[1:])),
        "not shown to be better than champion",
    ),
    "challenger without any score": (_comparison(UNSCORED), "no score at leads 1, 2"),
    "challenger without scores at a lead": (
        _comparison(_holed(_scores(1.0), (slice(None), 1))),
        "the challenger has no score at lead 2",
    ),
    "challenger without some scores": (
        _comparison(_holed(_scores(1.0), (3, 0, 0, 2))),
        "not shown to be better than champion",
    ),
    "rival without some scores": (
        _comparison(rivals=(ScoredModel("holed", _holed(_scores(1.3), (5, 1, 0, 0))),)),
        "not shown to be better than holed",
    ),
    "too few scores at a lead": (
        _comparison(
            _holed(_scores(1.0), (slice(3, None), 1)),
            rivals=(ScoredModel("few", _holed(_scores(1.3, seed=2), (slice(3, None), 1))),),
        ),
        "too few scores in common with few at lead 2",
    ),
    "interval too wide": (
        _comparison(_scores(1.0, coverage=1.0), nominal_coverage=0.8),
        "the 80% interval covers 100% of the observations (gate.coverage_tolerance allows a larger difference)",
    ),
    "interval too narrow": (_comparison(_scores(1.0, coverage=0.5)), "90% interval covers 50% of"),
    "coverage unknown": (_comparison(replace(_scores(1.0), covered=np.full(SHAPE, NAN))), "covers nan% of"),
    "outage collapse": (_comparison(outage=_scores(1.6)), "not better than climatology while some stations"),
    "outage collapse on a grid": (
        _comparison(outage=_scores(1.6), places="cells"),
        "not better than climatology while some cells are missing",
    ),
    "outage unscored": (
        _comparison(outage=UNSCORED),
        "some forecasts have no score while some stations",
    ),
    "outage partly unscored": (
        _comparison(outage=_holed(_scores(1.1), (0, 0, 0, 0))),
        "some forecasts have no score while some stations",
    ),
    "outage reference unscored": (
        _comparison(outage_reference=UNSCORED),
        "some forecasts have no score while some stations",
    ),
    "nothing scored at all": (
        _comparison(
            UNSCORED,
            rivals=(unscorable,),
            outage=UNSCORED,
            outage_reference=UNSCORED,
        ),
        "no score at leads 1, 2",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_gate_refuses_with_the_reason(case: str) -> None:
    comparison, reason = REFUSED[case]
    verdict = decide(comparison, RULES)
    assert not verdict.promoted
    assert reason in verdict.reason


def test_rivals_outside_the_rules_are_not_compared() -> None:
    weak = _comparison(rivals=(champion, ScoredModel("strong baseline", _scores(0.5, seed=5))))
    assert not decide(weak, RULES).promoted
    assert decide(weak, Gate(issues=60, against=("champion",))).promoted
    assert decide(weak, Gate(issues=60, against=())).reason == "no rival to compare with"


def test_rules_against_the_champion_alone_refuse_where_there_is_none() -> None:
    comparison = _comparison()
    verdict = decide(replace(comparison, rivals=comparison.rivals[1:]), Gate(issues=60, against=("champion",)))
    assert not verdict.promoted


def _by_hand(differences: list[float], horizon: int) -> float:
    """Diebold and Mariano (1995) with Bartlett weights, corrected after Harvey et al. (1997), term by term."""
    n = len(differences)
    mean = sum(differences) / n

    def covariance(lag: int) -> float:
        return sum((differences[t] - mean) * (differences[t - lag] - mean) for t in range(lag, n)) / n

    long_run = covariance(0) + 2 * sum((1 - k / horizon) * covariance(k) for k in range(1, horizon))
    plain = mean / (long_run / n) ** 0.5
    corrected = plain * ((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n) ** 0.5
    return float(stats.t.cdf(corrected, n - 1))


@pytest.mark.parametrize("horizon", [1, 2, 3, 7])
@pytest.mark.parametrize("mean", [-0.3, 0.0, 0.3])
def test_diebold_mariano_is_the_published_formula(horizon: int, mean: float) -> None:
    random = np.random.default_rng(horizon)
    differences = mean + np.convolve(random.normal(size=120), [1, 0.6, 0.3])[:100]
    assert diebold_mariano(differences, horizon) == pytest.approx(_by_hand(differences.tolist(), horizon), rel=1e-9)


def test_at_one_step_diebold_mariano_is_students_test() -> None:
    differences = np.random.default_rng(1).normal(-0.1, 1, 40)
    expected = stats.ttest_1samp(differences, 0, alternative="less").pvalue
    assert diebold_mariano(differences, 1) == pytest.approx(expected, rel=1e-9)


def test_swapped_models_have_complementary_probabilities() -> None:
    differences = np.random.default_rng(2).normal(-0.2, 1, 80)
    assert diebold_mariano(differences, 3) + diebold_mariano(-differences, 3) == pytest.approx(1)


@pytest.mark.parametrize("differences", [np.zeros(50), np.full(50, -0.0)])
def test_equal_scores_have_a_p_value_of_one(differences: Any) -> None:
    assert diebold_mariano(differences, 3) == 1


def test_forecasts_issued_more_often_than_a_step_share_more_errors() -> None:
    # Hourly issues of daily means: the same luck, repeated 24 times, shows no more than once.
    luck = np.random.default_rng(4).normal(-0.05, 0.1, 10).repeat(24)
    shape = (240, 2, 1, 1)
    ours, theirs = np.ones(shape) + luck[:, None, None, None], np.ones(shape)
    covered = np.tile([1.0] * 9 + [0.0], 48).reshape(shape)
    hourly = _comparison(
        Evaluation(ours, ours, covered),
        rivals=(ScoredModel("rival", Evaluation(theirs, theirs, covered)),),
        issues=[START + n * timedelta(hours=1) for n in range(240)],
        issues_per_step=24.0,
        open_for=timedelta(days=2),
        outage=Evaluation(ours, ours, covered),
        outage_reference=Evaluation(theirs + 1, theirs, covered),
    )
    naive = replace(hourly, open_for=timedelta(hours=1))
    assert decide(naive, RULES).rivals[0].p_value < decide(hourly, RULES).rivals[0].p_value
    assert hourly.overlap(2) == 48
    assert replace(hourly, issues_per_step=1 / 24).overlap(2) == 1


def test_a_verdict_with_nan_survives_json() -> None:
    verdict = decide(REFUSED["nothing scored at all"][0], RULES)
    again = type(verdict).model_validate_json(json.dumps(verdict.model_dump(mode="json")))
    assert again.reason == verdict.reason
    assert np.isnan(again.crps)


# Two variables: the second in a unit a thousand times smaller.

TWO = (ISSUES, 2, 2, 4)
CLIMATE = np.broadcast_to(np.array([2000.0, 2.0])[:, None], TWO)


def _two(first: float, second: float, *, seed: int = 0) -> Evaluation:
    """Scores of two variables as parts of climatology's."""
    noise = np.random.default_rng(seed).normal(0, 0.02, TWO)
    covered = np.tile([1.0] * 9 + [0.0], np.prod(TWO) // 10).reshape(TWO)
    crps = (np.array([first, second])[:, None] + noise) * CLIMATE
    return Evaluation(crps, crps, covered).relative_to(Evaluation(CLIMATE, CLIMATE, covered))


def _comparison_of_two(challenger: Evaluation, rival: Evaluation) -> HoldoutComparison:
    return _comparison(
        challenger,
        rivals=(ScoredModel("rival", rival),),
        outage=_two(0.8, 0.8, seed=5),
        outage_reference=_two(1.0, 1.0, seed=6),
    )


def test_each_variable_counts_the_same_whatever_its_unit() -> None:
    # A tenth lost in the variable of large numbers, three tenths won in the other one: better on the whole.
    verdict = decide(_comparison_of_two(_two(0.9, 0.5), _two(0.8, 0.8, seed=1)), RULES)
    assert verdict.promoted
    assert verdict.crps == pytest.approx(0.7, abs=0.01)
    assert verdict.rivals[0].crps == pytest.approx(0.8, abs=0.01)
    assert verdict.rivals[0].skill == pytest.approx(1 - 0.7 / 0.8, abs=0.02)
    # And the other way around.
    assert not decide(_comparison_of_two(_two(0.8, 0.8), _two(0.9, 0.5, seed=1)), RULES).promoted


def test_without_climatology_several_variables_cannot_be_compared() -> None:
    unscaled = [one.relative_to(None) for one in (_two(0.5, 0.5), _two(0.9, 0.9, seed=1))]
    verdict = decide(_comparison_of_two(*unscaled), RULES)
    assert not verdict.promoted
    assert "the challenger has no score at leads 1, 2" in verdict.reason
