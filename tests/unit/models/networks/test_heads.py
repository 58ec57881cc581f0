from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ModelError
from models.networks.heads import KINDS, LOSSES, Censored, Gaussian, OrderedQuantiles, Point, make_head
from models.networks.sample import Dimensions, Locations, Sample

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
NORMAL = torch.tensor([NormalDist().inv_cdf(level) for level in LEVELS])
FEATURES = 6
PAIRS = [
    ("quantiles", "pinball"),
    ("auto", "pinball"),
    ("auto", "mse"),
    ("auto", "mae"),
    ("auto", "huber"),
    ("auto", "crps"),
    ("auto", "nll"),
    ("gaussian", "crps"),
    ("gaussian", "nll"),
    ("censored", "crps"),
    ("censored", "nll"),
]


def dims(levels: Any = LEVELS) -> Any:
    return Dimensions(
        channels=1,
        targets=2,
        covariates=0,
        static=0,
        frames=2,
        leads=3,
        levels=levels,
        locations=4,
        scattered=True,
    )


def make_sample(base: Any, deviation: Any, low: Any = -math.inf, high: Any = math.inf) -> Any:
    n, leads, _, locations = deviation.shape
    nothing = torch.zeros(n, leads, 0, locations)
    return Sample(
        anomaly=torch.zeros(n, 2, 1, locations),
        known=torch.ones(n, 2, 1, locations),
        calendar=torch.zeros(n, 2, 6),
        target_calendar=torch.zeros(n, leads, 6),
        covariates=nothing,
        covariate_mask=nothing,
        base=base,
        deviation=deviation,
        low=torch.full_like(deviation, low),
        high=torch.full_like(deviation, high),
        locations=Locations(torch.rand(locations, 2), torch.zeros(locations, 0), torch.arange(locations), None),
    )


def random_sample(levels: Any = LEVELS, **limits: Any) -> Any:
    base = torch.randn(5, 3, 2, 4, len(levels)).sort(dim=-1).values
    return make_sample(base, torch.rand(5, 3, 2, 4) + 0.5, **limits)


def new(kind: Any, loss: Any, moved: Any = True, levels: Any = LEVELS) -> Any:
    head = make_head(kind, loss, FEATURES, dims(levels), width=8, dropout=0.0)
    if moved:
        torch.nn.init.normal_(head.last.weight)
        torch.nn.init.normal_(head.last.bias)
    return head


@pytest.fixture(autouse=True)
def seeded() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize(
    ("kind", "loss", "made"),
    [
        ("auto", "pinball", OrderedQuantiles),
        ("quantiles", "pinball", OrderedQuantiles),
        ("auto", "mse", Point),
        ("auto", "huber", Point),
        ("auto", "crps", Gaussian),
        ("gaussian", "nll", Gaussian),
        ("censored", "crps", Censored),
    ],
)
def test_kind_and_loss_make_the_head(kind: Any, loss: Any, made: Any) -> None:
    assert type(new(kind, loss)) is made


@pytest.mark.parametrize(
    ("kind", "loss"), [(kind, loss) for kind in KINDS for loss in LOSSES if (kind, loss) not in PAIRS]
)
def test_a_head_with_a_loss_it_cannot_use_is_refused(kind: Any, loss: Any) -> None:
    with pytest.raises(ModelError, match=rf"loss of head '{kind}' must be one of .*, found '{loss}'"):
        new(kind, loss)


@pytest.mark.parametrize(("kind", "loss", "named"), [("spline", "crps", "head must"), ("auto", "l7", "loss must")])
def test_unknown_names_are_refused(kind: Any, loss: Any, named: Any) -> None:
    with pytest.raises(ModelError, match=named):
        new(kind, loss)


@pytest.mark.parametrize(("kind", "loss"), PAIRS)
def test_untrained_it_returns_a_normal_base(kind: Any, loss: Any) -> None:
    deviation = torch.rand(5, 3, 2, 4) + 0.5
    base = torch.randn(5, 3, 2, 4, 1) + deviation.unsqueeze(-1) * NORMAL
    sample = make_sample(base, deviation)
    head = new(kind, loss, moved=False)
    outputs = head(torch.randn(5, 3, 4, FEATURES), sample)
    torch.testing.assert_close(head.quantiles(outputs, sample), base)


@pytest.mark.parametrize("loss", ["pinball", "mse", "mae", "huber"])
def test_untrained_it_returns_any_base(loss: Any) -> None:
    sample, head = random_sample(), new("auto", loss, moved=False)
    outputs = head(torch.randn(5, 3, 4, FEATURES), sample)
    torch.testing.assert_close(head.quantiles(outputs, sample), sample.base)


def test_untrained_normal_has_the_median_and_the_fitted_spread_of_its_base() -> None:
    """Offsets -4, -1, 0, 1, 4 against the normal's: the slope of a line through the origin."""
    offsets = np.array([-4.0, -1.0, 0.0, 1.0, 4.0])
    z = NORMAL.double().numpy()
    slope = (offsets * z).sum() / (z * z).sum()
    sample = make_sample(torch.tensor(offsets + 7).float().expand(1, 3, 2, 4, 5), torch.ones(1, 3, 2, 4))
    head = new("gaussian", "crps", moved=False)
    mean, deviation = head.moments(head(torch.randn(1, 3, 4, FEATURES), sample), sample)
    torch.testing.assert_close(mean, torch.full_like(mean, 7.0))
    torch.testing.assert_close(deviation, torch.full_like(deviation, slope))


@pytest.mark.parametrize(("kind", "loss"), PAIRS)
def test_shapes_and_one_level(kind: Any, loss: Any) -> None:
    for levels in (LEVELS, (0.5,)):
        head, sample = new(kind, loss, levels=levels), random_sample(levels)
        outputs = head(torch.randn(5, 3, 4, FEATURES), sample)
        quantiles = head.quantiles(outputs, sample)
        assert outputs.shape == (5, 3, 2, 4, head.outputs)
        assert quantiles.shape == (5, 3, 2, 4, len(levels))
        torch.testing.assert_close(head.median(outputs, sample), quantiles[..., len(levels) // 2])
        assert head.loss(outputs, torch.randn(5, 3, 2, 4), sample).shape == (5, 3, 2, 4)


@settings(max_examples=40)
@given(
    base=st.lists(st.floats(-20, 20, width=32), min_size=5, max_size=5),
    raw=st.lists(st.floats(-30, 30, width=32), min_size=5, max_size=5),
    deviation=st.floats(0, 10, width=32),
    pair=st.sampled_from(PAIRS),
)
def test_quantiles_never_cross_and_keep_within_limits(base: Any, raw: Any, deviation: Any, pair: Any) -> None:
    head = new(*pair)
    given_base = torch.tensor(sorted(base)).expand(1, 1, 2, 1, 5)
    sample = make_sample(given_base, torch.full((1, 1, 2, 1), deviation), low=-1.0, high=2.0)
    outputs = torch.tensor(raw[: head.outputs]).expand(1, 1, 2, 1, -1)
    quantiles = head.quantiles(outputs, sample)
    assert (quantiles.diff(dim=-1) >= 0).all()
    assert quantiles.isfinite().all()
    if pair[0] == "censored":
        assert quantiles.min() >= -1.0
        assert quantiles.max() <= 2.0
    assert head.loss(outputs, torch.full((1, 1, 2, 1), 0.5), sample).isfinite().all()


@pytest.mark.parametrize(("kind", "loss"), PAIRS)
def test_every_parameter_gets_a_finite_gradient(kind: Any, loss: Any) -> None:
    head, sample = new(kind, loss), random_sample(low=-0.5, high=0.5)
    truth = torch.randn(5, 3, 2, 4).clamp(-0.5, 0.5)
    head.loss(head(torch.randn(5, 3, 4, FEATURES), sample), truth, sample).sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("kind", "loss"), PAIRS)
def test_masked_values_give_no_gradient(kind: Any, loss: Any) -> None:
    head, sample = new(kind, loss), random_sample(low=0.0)
    features, truth = torch.randn(5, 3, 4, FEATURES), torch.rand(5, 3, 2, 4)
    known = (torch.rand(5, 3, 2, 4) < 0.5).float()
    gradients = []
    for unknown in (0.0, 1e4):
        head.zero_grad()
        seen = torch.where(known > 0, truth, unknown)
        (head.loss(head(features, sample), seen, sample) * known).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in head.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("kind", "loss"), PAIRS)
def test_learning_lowers_the_loss(kind: Any, loss: Any) -> None:
    """Truths lie one deviation above the base, and scatter half as much."""
    deviation = torch.ones(64, 3, 2, 4)
    sample = make_sample(NORMAL.expand(64, 3, 2, 4, 5), deviation, low=-3.0, high=3.0)
    truth = (1 + 0.5 * torch.randn(64, 3, 2, 4)).clamp(-3, 3)
    head, features = new(kind, loss, moved=False), torch.ones(64, 3, 4, FEATURES)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        head.loss(head(features, sample), truth, sample).mean().backward()
        optimiser.step()
    quantiles = head.quantiles(head(features, sample), sample).mean((0, 1, 2, 3)).detach()
    assert float(quantiles[2]) == pytest.approx(1.0, abs=0.1)
    spread = 1.0 if loss in ("mse", "mae", "huber") else 0.5
    assert float(quantiles[-1] - quantiles[0]) == pytest.approx(2 * 1.2816 * spread, rel=0.1)


def test_heads_carry_no_constants_in_their_state() -> None:
    for pair in PAIRS:
        assert set(new(*pair).state_dict()) == {"body.0.weight", "body.0.bias", "last.weight", "last.bias"}
