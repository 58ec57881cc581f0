"""What every network of the zoo promises as a module, for stations and for grids; MODELS holds the names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.catalogue import MODELS
from models.networks.neural import NeuralModel
from models.networks.sample import Locations, Sample
from models.task import Task
from tests.unit.models.conftest import make_network

NETWORKS = [name for name, entry in MODELS.items() if issubclass(entry.load(), NeuralModel)]
SMALL = {"hidden": 4, "frames": 4, "dropout": 0.0, "base": "climatology"}
ATTENTIVE = {"temporal": "multi-head", "spatial": True, "peepholes": True, "layers": 2}
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in NETWORKS),
    ("attention-convlstm", ATTENTIVE),
    ("attention-convlstm", ATTENTIVE | {"temporal": "additive", "patch": 2}),
    ("attention-convlstm", {"temporal": "dot", "checkpointing": True}),
    ("attention-lstm", {"attention": "additive"}),
    ("attention-gru", {"attention": "dot"}),
]
every_network = pytest.mark.parametrize(
    ("name", "options"), CASES, ids=["-".join([name, *map(str, options.values())]) for name, options in CASES]
)
everywhere = pytest.mark.parametrize("grid", [None, (4, 5)], ids=["stations", "grid"])


@pytest.fixture(autouse=True)
def seeded() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def network_of(task_of: Callable[..., Task]) -> Any:
    """The network of a model of two channels, two targets, a covariate and a static field, perturbed."""

    def make(name: Any, grid: Any, **options: Any) -> Any:
        count = grid[0] * grid[1] if grid else 5
        task = task_of(
            stations=count,
            channels=("wind", "rain"),
            targets=("wind", "rain"),
            context=4,
            grid=grid,
            covariates=("nwp",),
            static=("altitude",),
            static_values=(tuple(float(i) for i in range(count)),),
        )
        net = make_network(name, task, **(SMALL | options))
        perturb(net)
        return net

    return make


def perturb(net: Any) -> None:
    """Move every parameter off its start: the zeros of gates and last layers would hide what lies before them."""
    for parameter in net.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)


def sample_of(n: Any, grid: Any = None, stations: Any = 5) -> Any:
    count = grid[0] * grid[1] if grid else stations
    known = (torch.rand(n, 4, 2, count) > 0.2).float()
    mask = (torch.rand(n, 3, 1, count) > 0.2).float()
    locations = Locations(torch.rand(count, 2), torch.randn(count, 1), torch.arange(count).clamp(max=4), grid)
    return Sample(
        anomaly=torch.randn(n, 4, 2, count) * known,
        known=known,
        calendar=torch.randn(n, 4, 6),
        target_calendar=torch.randn(n, 3, 6),
        covariates=torch.randn(n, 3, 1, count) * mask,
        covariate_mask=mask,
        base=torch.randn(n, 3, 2, count, 5).sort(dim=-1).values,
        deviation=torch.ones(n, 3, 2, count),
        low=torch.full((n, 3, 2, count), -torch.inf),
        high=torch.full((n, 3, 2, count), torch.inf),
        locations=locations,
    )


@everywhere
@every_network
def test_every_parameter_receives_a_gradient(name: str, options: dict[str, Any], grid: Any, network_of: Any) -> None:
    net = network_of(name, grid, **options)
    given = sample_of(4, grid)
    net.head.loss(net(given), torch.randn(4, 3, 2, len(given.locations.position)), given).sum().backward()
    silent = [key for key, value in net.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert not silent


@everywhere
@every_network
def test_batch_and_locations_may_change_after_construction(
    name: str, options: dict[str, Any], grid: Any, network_of: Any
) -> None:
    net = network_of(name, grid, **options).eval()
    for n, shape, stations in ((1, (5, 3), 1), (3, (6, 7), 9)):
        given = sample_of(n, shape if grid else None, stations)
        count = len(given.locations.position)
        quantiles = net.head.quantiles(net(given), given)
        assert quantiles.shape == (n, 3, 2, count, 5)
        assert torch.isfinite(quantiles).all()
        assert (quantiles.diff(dim=-1) >= -1e-5).all()


@every_network
def test_permuted_stations_permute_the_output_and_nothing_else(
    name: str, options: dict[str, Any], network_of: Any
) -> None:
    net = network_of(name, None, **options).eval()
    given, order = sample_of(2), torch.tensor([3, 1, 4, 0, 2])
    locations = given.locations
    moved = given._replace(
        **{key: getattr(given, key)[..., order] for key in ("anomaly", "known", "covariates", "covariate_mask")},
        **{key: getattr(given, key)[..., order] for key in ("deviation", "low", "high")},
        base=given.base[:, :, :, order],
        locations=Locations(locations.position[order], locations.static[order], locations.row[order], None),
    )
    torch.testing.assert_close(net(moved), net(given)[:, :, :, order], rtol=1e-4, atol=1e-4)


@everywhere
@every_network
def test_each_issue_is_seen_alone(name: str, options: dict[str, Any], grid: Any, network_of: Any) -> None:
    net = network_of(name, grid, **options).eval()
    given = sample_of(3, grid)
    one = Sample._make([*(part[1:2] for part in given[:-1]), given.locations])
    torch.testing.assert_close(net(one), net(given)[1:2], rtol=1e-4, atol=1e-4)


@everywhere
@every_network
def test_state_follows_to_another_precision_and_back(
    name: str, options: dict[str, Any], grid: Any, network_of: Any
) -> None:
    net = network_of(name, grid, **options).eval()
    given = sample_of(2, grid)
    single = net(given)
    twin = network_of(name, grid, **options).eval()
    twin.load_state_dict({key: value.clone() for key, value in net.state_dict().items()})
    torch.testing.assert_close(twin(given), single)
    locations = given.locations
    exact = Locations(locations.position.double(), locations.static.double(), locations.row, locations.grid)
    wide = Sample._make([*(part.double() for part in given[:-1]), exact])
    found = net.double()(wide)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), single, rtol=1e-2, atol=1e-3)


@everywhere
@every_network
def test_without_any_known_value_the_output_is_finite(
    name: str, options: dict[str, Any], grid: Any, network_of: Any
) -> None:
    net = network_of(name, grid, **options).eval()
    given = sample_of(2, grid)
    blank = {key: torch.zeros_like(getattr(given, key)) for key in ("anomaly", "known", "covariates", "covariate_mask")}
    assert torch.isfinite(net(given._replace(**blank))).all()


@every_network
def test_a_location_that_training_never_saw_is_forecast(name: str, options: dict[str, Any], network_of: Any) -> None:
    net = network_of(name, None, **options).eval()
    given = sample_of(2)
    locations = given.locations._replace(row=torch.tensor([0, 1, -1, 3, -1]))
    found = net(given._replace(locations=locations))
    assert torch.isfinite(found).all()
    assert not torch.equal(found[:, :, :, 2], net(given)[:, :, :, 2])


@every_network
def test_fresh_networks_return_their_base(name: str, options: dict[str, Any], task_of: Callable[..., Task]) -> None:
    net = make_network(name, task_of(), **(SMALL | {"base": "climatology"} | options)).eval()
    given = replace_channels(sample_of(2, stations=4))
    torch.testing.assert_close(net.head.quantiles(net(given), given), given.base)


def replace_channels(given: Any) -> Any:
    """The same sample for a task of one channel and target, context of six, no covariates and no static fields."""
    locations = given.locations._replace(static=torch.zeros(len(given.locations.position), 0))
    return given._replace(
        **{key: getattr(given, key)[:, :, :1] for key in ("anomaly", "known", "base", "deviation", "low", "high")},
        **{key: getattr(given, key)[:, :, :0] for key in ("covariates", "covariate_mask")},
        locations=locations,
    )


def test_the_zoo_is_complete() -> None:
    wanted = (
        "attention-convlstm lstm peephole-lstm bilstm gru convlstm convgru cnn-lstm rcnn stcn res-stcn stn "
        "attention-lstm attention-gru attention-cnn lstm-cnn-fusion graph-conv simvp dlinear"
    )
    assert set(wanted.split()) <= set(NETWORKS)
    baselines = (
        "persistence climatology rolling-climatology seasonal-naive damped-anomaly ridge-var pooled-convolution "
        "linear-inverse arima ets gradient-boosting prophet blend"
    )
    assert set(baselines.split()) <= set(MODELS)
