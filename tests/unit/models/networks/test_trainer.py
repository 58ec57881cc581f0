from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.base import Epoch
from models.errors import DivergedError, OutOfTimeError
from models.networks.adversary import Trajectories
from models.networks.heads import make_head
from models.networks.sample import Dimensions, Locations, Sample
from models.networks.schedule import TrainingLength
from models.networks.trainer import evaluate, train, train_for
from models.networks.training_batch import SupervisedBatch
from models.networks.training_config import OPTIMISERS, TrainingConfig
from tests.bfloat16 import needs_bfloat16


@pytest.fixture(autouse=True)
def seeded() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@dataclass
class Line:
    """Wants the network's answer to x to be y."""

    sample: Tensor
    y: Tensor

    def loss(self, outputs: Any) -> Any:
        return (outputs - self.y).square().sum(), torch.tensor(outputs.numel())

    def trajectories(self, outputs: Any) -> Any:
        """Each row a trajectory of as many leads as it has numbers."""
        truth, median = (part[:, :, None, None] for part in (self.y, outputs))
        return Trajectories(truth, torch.ones_like(truth), median, torch.zeros_like(truth))


@dataclass
class Says:
    """A loss of this much, whatever the network does."""

    value: float
    sample: Tensor = torch.ones(1, 1)  # noqa: RUF009 - never changed

    def loss(self, outputs: Any) -> Any:
        return outputs.sum() * 0 + self.value, torch.tensor(1)


def towards(y: Any, weight: Any = 1.0) -> Any:
    return Line(torch.full((1, 1), weight), torch.tensor([[y]]))


def point() -> Any:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    return network


def run(
    network: Any,
    batches: Any,
    validation: Any,
    *,
    steps: Any = None,
    deadline: Any = None,
    progress: Any = None,
    **options: Any,
) -> Any:
    return train(
        network,
        lambda: iter(batches),
        lambda: iter(validation),
        steps=len(batches) if steps is None else steps,
        config=TrainingConfig(**options),
        name="net",
        deadline=deadline,
        progress=(lambda epoch: None) if progress is None else progress.append,
    )


def rows(count: Any = 8, size: Any = 16, leads: Any = 3) -> Any:
    """Lessons that a small network can learn: y is the sine of sums of x."""
    generator = torch.Generator().manual_seed(5)
    mix = torch.randn(4, leads, generator=generator)
    xs = [torch.randn(size, 4, generator=generator) for _ in range(count)]
    return [Line(x, torch.sin(x @ mix)) for x in xs]


def small(dropout: Any = 0.0) -> Any:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, 3))


def test_weights_that_validate_best_are_kept() -> None:
    """Training pulls the weight to 5, validation wants 1: the best average lies on the way."""
    network = point()
    epochs: list[Epoch] = []
    options = {"epochs": 30, "patience": 3, "learning_rate": 0.1, "ema_decay": 0.5, "weight_decay": 0.0}
    length, best = run(network, [towards(5.0)] * 10, [towards(1.0)], progress=epochs, **options)
    assert best == pytest.approx(min(epoch.validation_loss for epoch in epochs))
    assert best == epochs[length.epochs - 1].validation_loss
    assert length.position == pytest.approx(length.epochs / 30)
    assert float((network.weight.detach() - 1).square()) == pytest.approx(best, abs=1e-6)
    assert len(epochs) < 30


def test_training_that_makes_it_worse_leaves_the_untrained_network() -> None:
    network = point()
    length, best = run(network, [towards(5.0)] * 10, [towards(-1.0)], epochs=5, learning_rate=0.1)
    assert (length, best) == ((0, 0.0), 1.0)
    assert float(network.weight.detach()) == 0.0
    assert not network.training


def test_without_epochs_it_only_evaluates() -> None:
    epochs: list[Epoch] = []
    assert run(point(), [towards(5.0)], [towards(3.0), towards(1.0)], epochs=0, progress=epochs) == ((0, 0.0), 5.0)
    assert epochs == []


def test_nothing_to_validate_on_keeps_the_untrained_network() -> None:
    network = point()
    assert run(network, [towards(5.0)], [], epochs=2) == ((0, 0.0), math.inf)
    assert float(network.weight.detach()) == 0.0


def test_training_for_a_length_repeats_training_that_stopped_there() -> None:
    """Validation prefers the third of five epochs; without validation the same three give the same weights."""
    options = TrainingConfig(epochs=5, patience=2, learning_rate=0.1, ema_decay=0.5)
    judged, again = point(), point()
    epochs: list[Epoch] = []
    length, _ = run(judged, [towards(5.0)] * 4, [towards(0.9)], epochs=5, patience=2, learning_rate=0.1, ema_decay=0.5)
    assert 0 < length.epochs < 5
    train_for(
        again,
        lambda: [towards(5.0)] * 4,
        length,
        steps=4,
        config=options,
        name="net",
        deadline=None,
        progress=epochs.append,
    )
    torch.testing.assert_close(again.weight, judged.weight)
    assert [(epoch.epoch, epoch.epochs) for epoch in epochs] == [(i + 1, length.epochs) for i in range(length.epochs)]
    assert math.isnan(epochs[-1].validation_loss)
    assert not again.training


def test_a_spent_budget_ends_training_for_a_length_after_one_step() -> None:
    used: list[int] = []
    epochs: list[Epoch] = []

    def batches() -> Any:
        for batch in [towards(5.0)] * 10:
            used.append(batch)
            yield batch

    with pytest.raises(OutOfTimeError, match="'net' ran out of time after 3% of its planned length"):
        train_for(
            point(),
            batches,
            TrainingLength(3, 1.0),
            steps=10,
            config=TrainingConfig(),
            name="net",
            deadline=time.monotonic(),
            progress=epochs.append,
        )
    assert (len(used), len(epochs)) == (1, 1)


def test_a_deadline_after_the_last_step_is_met() -> None:
    train_for(
        point(),
        lambda: [towards(5.0)],
        TrainingLength(1, 1.0),
        steps=1,
        config=TrainingConfig(),
        name="net",
        deadline=time.monotonic(),
        progress=lambda epoch: None,
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_a_number_stops_training(value: Any) -> None:
    with pytest.raises(DivergedError, match=r"'net'.*epoch 1, step 2"):
        run(point(), [Says(1.0), Says(1.0), Says(value)], [Says(1.0)])


def test_spent_budget_stops_after_one_step() -> None:
    epochs: list[Epoch] = []
    used = []

    def batches() -> Any:
        for batch in [towards(5.0)] * 10:
            used.append(batch)
            yield batch

    train(
        point(),
        batches,
        lambda: [towards(5.0)],
        steps=10,
        config=TrainingConfig(epochs=50),
        name="net",
        deadline=time.monotonic(),
        progress=epochs.append,
    )
    assert (len(used), len(epochs)) == (1, 1)


def test_progress_reports_the_mean_loss_without_penalties() -> None:
    epochs: list[Epoch] = []
    run(point(), [towards(1.0), towards(3.0)], [towards(1.0)], epochs=1, learning_rate=1e-9, l2=1e9, progress=epochs)
    assert epochs[0].train_loss == pytest.approx(5.0)
    assert (epochs[0].epoch, epochs[0].epochs) == (1, 1)


def test_evaluation_weighs_by_what_is_known() -> None:
    two = Line(torch.ones(2, 1), torch.tensor([[3.0], [3.0]]))
    assert evaluate(point(), [towards(0.0), two]) == pytest.approx(6.0)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_every_optimiser_learns(optimiser: Any) -> None:
    network, validation = small(), rows()
    before = evaluate(network, validation)
    rate = 0.1 if optimiser == "sgd" else 0.02
    _, after = run(network, validation, validation, optimiser=optimiser, epochs=20, learning_rate=rate, ema_decay=0.9)
    assert after < 0.5 * before


def test_l1_makes_weights_sparse_and_spares_biases() -> None:
    shares = []
    for l1 in (0.0, 0.01):
        network = small()
        run(network, rows(), rows(), epochs=20, learning_rate=0.02, ema_decay=0.9, l1=l1)
        weights = torch.cat([network[layer].weight.detach().flatten() for layer in (0, 3)])
        shares.append(float((weights.abs() < 0.01).float().mean()))
        assert float(network[0].bias.detach().abs().mean()) > 0.05
    assert shares[1] > shares[0] + 0.2


def test_l2_is_the_gradient_of_squared_weights() -> None:
    """Nothing else to learn: one step of plain descent at rate 1 / 10 takes 2 * l2 / 10 of each weight, and no bias."""
    network = nn.Linear(2, 2)
    weight, bias = (parameter.detach().clone() for parameter in network.parameters())
    batch = Says(0.0, torch.ones(1, 2))
    validation = Fades(network)
    run(
        network,
        [batch],
        [validation],
        optimiser="sgd",
        epochs=1,
        learning_rate=0.1,
        warmup=0.0,
        ema_decay=0.0,
        clip=1e9,
        l2=0.5,
    )
    torch.testing.assert_close(network.weight.detach(), 0.9 * weight)
    torch.testing.assert_close(network.bias.detach(), bias)


@dataclass
class Fades:
    """Judges better each time, so that training is always kept."""

    network: nn.Module
    asked: int = 0

    @property
    def sample(self) -> Any:
        return torch.ones(1, next(self.network.parameters()).shape[-1])

    def loss(self, outputs: Any) -> Any:
        self.asked += 1
        return torch.tensor(1.0 / self.asked), torch.tensor(1)


class Counting(nn.Linear):
    """Counts its training steps, in a buffer of each kind."""

    sum: Tensor
    steps: Tensor

    def __init__(self) -> None:
        super().__init__(1, 1)
        self.register_buffer("sum", torch.zeros(1))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Any) -> Any:
        if self.training:
            self.sum += 1
            self.steps += 1
        return super().forward(x)


def test_buffers_are_averaged_like_weights_and_counters_copied() -> None:
    """Decay 1/11, then 2/12: 10/11 of 1, then 5/6 of the way on to 2."""
    network = Counting()
    run(network, [towards(1.0)] * 2, [Fades(network)], epochs=1, ema_decay=0.99)
    torch.testing.assert_close(network.sum, torch.tensor([10 / 11 + 5 / 6 * (2 - 10 / 11)]))
    assert int(network.steps) == 2


def test_weights_are_averaged() -> None:
    """At rate 0.1 the first step of Adam is 0.1; its average is 10/11 of that."""
    network = point()
    run(network, [towards(5.0)], [Fades(network)], epochs=1, learning_rate=0.1, warmup=0.0, optimiser="adam")
    assert float(network.weight.detach()) == pytest.approx(0.1 * 10 / 11, rel=1e-4)


def learnt(**options: Any) -> Any:
    torch.manual_seed(3)
    network = small(dropout=0.1)
    _, loss = run(network, rows(), rows(), **({"epochs": 5, "learning_rate": 0.02, "ema_decay": 0.9} | options))
    return network.state_dict(), loss


def test_the_same_seed_gives_the_same_bits() -> None:
    for options in ({}, {"adversarial": 0.1}):
        one, two = learnt(**options)[0], learnt(**options)[0]
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_an_adversarial_term_changes_what_is_learnt() -> None:
    plain, adversarial = learnt()[0], learnt(adversarial=0.5)[0]
    assert all(tensor.isfinite().all() for tensor in adversarial.values())
    assert any((plain[name] != adversarial[name]).any() for name in plain)


def test_without_its_weight_there_is_no_adversary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Line, "trajectories", None)
    learnt(adversarial=0.0)


@needs_bfloat16
def test_bfloat16_learns_about_the_same() -> None:
    (_, single), (state, half) = learnt(), learnt(precision="bfloat16")
    assert half == pytest.approx(single, rel=0.05)
    assert half != single
    assert all(tensor.dtype == torch.float32 for tensor in state.values())


def test_without_a_compiler_training_continues_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(network: Any) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", refuse)
    plain = learnt()
    with caplog.at_level(logging.WARNING):
        fallen = learnt(compile=True)
    assert fallen[1] == plain[1]
    assert len(caplog.records) == 1


def test_compiled_training_keeps_names_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network: compile_(network, backend="eager"))
    plain, compiled = learnt(), learnt(compile=True)
    assert list(compiled[0]) == list(plain[0])
    assert compiled[1] == pytest.approx(plain[1], rel=1e-4)


def supervised(known: Any, weight: Any, truth: Any) -> Any:
    levels = (0.25, 0.5, 0.75)
    dims = Dimensions(
        channels=1, targets=1, covariates=0, static=0, frames=1, leads=2, levels=levels, locations=2, scattered=True
    )
    shape = (1, 2, 1, 2)
    nothing = torch.zeros(1, 2, 0, 2)
    sample = Sample(
        anomaly=torch.zeros(1, 1, 1, 2),
        known=torch.ones(1, 1, 1, 2),
        calendar=torch.zeros(1, 1, 6),
        target_calendar=torch.zeros(1, 2, 6),
        covariates=nothing,
        covariate_mask=nothing,
        base=torch.zeros(*shape, 3),
        deviation=torch.ones(shape),
        low=torch.full(shape, -math.inf),
        high=torch.full(shape, math.inf),
        locations=Locations(torch.rand(2, 2), torch.zeros(2, 0), torch.arange(2), None),
    )
    head = make_head("auto", "mse", 1, dims, width=4, dropout=0.0)
    return SupervisedBatch(head, sample, truth, known, weight), head(torch.ones(1, 2, 2, 1), sample)


def test_the_loss_of_a_batch_is_the_weighted_sum_over_known_values() -> None:
    """Errors 1, 2 / 3, 4 at weights 0.5, 1.5; the 3 is unknown: 0.5 + 6 + 24 over 3.5."""
    truth = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 2, 1, 2)
    known = torch.tensor([[1.0, 1.0], [0.0, 1.0]]).view(1, 2, 1, 2)
    batch, outputs = supervised(known, torch.tensor([0.5, 1.5]), truth)
    value, weight = batch.loss(outputs)
    assert float(value.detach()) == pytest.approx(30.5)
    assert float(weight) == pytest.approx(3.5)
    shown = batch.trajectories(outputs)
    assert shown.truth is truth
    assert shown.median.shape == shown.base.shape == truth.shape
