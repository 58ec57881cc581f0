import torch

from models.layers.decomposition import DecomposedLinear, Decomposition

SERIES = torch.tensor([0.0, 3.0, 6.0, 0.0])
# By hand, the ends repeated: means of (0 0 3), (0 3 6), (3 6 0), (6 0 0).
TREND = torch.tensor([1.0, 3.0, 3.0, 2.0])


def test_the_trend_is_the_moving_average_and_the_remainder_what_is_left() -> None:
    trend, remainder = Decomposition(3)(SERIES)
    torch.testing.assert_close(trend, TREND)
    torch.testing.assert_close(remainder, torch.tensor([-1.0, 0.0, 3.0, -2.0]))


def test_a_constant_is_all_trend_even_under_a_window_wider_than_the_series() -> None:
    trend, remainder = Decomposition(25)(torch.full((4, 2), 5.0))
    torch.testing.assert_close(trend, torch.full((4, 2), 5.0))
    torch.testing.assert_close(remainder, torch.zeros(4, 2))


def test_a_window_of_one_leaves_no_remainder() -> None:
    trend, remainder = Decomposition(1)(SERIES)
    torch.testing.assert_close(trend, SERIES)
    assert not remainder.any()


def test_trend_and_remainder_have_maps_of_their_own() -> None:
    layer = DecomposedLinear(4, 2, window=3)
    with torch.no_grad():
        layer.trend.copy_(torch.tensor([[0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]]))
        layer.remainder.copy_(torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]))
    # Last trend 2 and second remainder 0; first trend 1 and third remainder 3.
    torch.testing.assert_close(layer(SERIES[:, None]), torch.tensor([[2.0], [4.0]]))


def test_at_first_every_lead_is_the_mean_of_the_series() -> None:
    torch.testing.assert_close(DecomposedLinear(4, 3, window=3)(SERIES[:, None]), torch.full((3, 1), 9 / 4))


def test_all_series_and_channels_share_the_map() -> None:
    torch.manual_seed(0)
    layer = DecomposedLinear(4, 3, window=3)
    for weights in layer.parameters():
        torch.nn.init.normal_(weights)
    x = torch.randn(4, 5, 2)
    found = layer(x)
    for series in range(5):
        for channel in range(2):
            torch.testing.assert_close(found[:, series, channel], layer(x[:, series, channel, None])[:, 0])
