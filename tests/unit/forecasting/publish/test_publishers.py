"""A further format is one module and one entry point."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import ValidationError

from pipeline.config.base import Strict
from pipeline.config.kinds import InstalledKinds
from pipeline.config.output import AnyOutput, Output
from pipeline.errors import ConfigError, NightcastError
from pipeline.forecasting.publish.published_forecast import PublishedForecast
from pipeline.forecasting.publish.report_data import ReportContext
from pipeline.forecasting.publish.write import publish
from tests.unit.forecasting.publish.samples import make_forecast

MODULE = '''
import json
from typing import ClassVar, Literal
from pipeline.config.output import Output

class Median(Output):
    """Medians as JSON."""

    kind: Literal["median"]
    decimals: int = 2
    files: ClassVar = ("median.json",)

    def write(self, forecast, folder, context):
        values = forecast.quantiles[..., forecast.quantile_levels.index(0.5)]
        (folder / "median.json").write_text(json.dumps(values.round(self.decimals).tolist()))
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package with a format of its own."""
    site = tmp_path / "site"
    metadata = site / "medians-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "medians.py").write_text(MODULE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: medians\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[nightcast.publishers]\nmedian = medians:Median\n")
    monkeypatch.syspath_prepend(site)


def read_outputs(*outputs: dict[str, object]) -> tuple[Output, ...]:
    """Return outputs as a product file has them; a class of its own finds what is installed now."""

    class Section(Strict):
        publish: tuple[AnyOutput, ...]

    return Section.model_validate_json(json.dumps({"publish": outputs})).publish


def no_context() -> ReportContext:
    raise NightcastError("no store")


def with_outputs(forecast: PublishedForecast, outputs: tuple[Output, ...]) -> PublishedForecast:
    return replace(forecast, product=forecast.product.model_copy(update={"publish": outputs}))


def test_an_installed_format_is_published_with_its_options(installed: None, tmp_path: Path) -> None:
    outputs = read_outputs({"kind": "parquet"}, {"kind": "median", "decimals": 1})
    forecast = with_outputs(make_forecast(tmp_path / "product"), outputs)
    folder, new = publish(forecast, no_context, tmp_path / "published")
    assert new
    assert sorted(path.name for path in folder.iterdir()) == ["forecast.json", "forecast.parquet", "median.json"]
    assert json.loads((folder / "median.json").read_text())[0][0][0] == 3.0
    assert "median.json" in json.loads((folder / "forecast.json").read_text())["files"]


def test_options_are_checked_when_the_product_is_read(installed: None) -> None:
    with pytest.raises(ValidationError, match="decimals"):
        read_outputs({"kind": "median", "decimals": "many"})


def test_an_unknown_format_is_refused_with_those_that_are_installed() -> None:
    with pytest.raises(ValidationError, match="'netcdf', 'parquet', 'report', 'zarr'"):
        read_outputs({"kind": "pdf"})


def test_a_format_without_a_publisher_is_a_configuration_error(tmp_path: Path) -> None:
    forecast = with_outputs(make_forecast(tmp_path / "product"), (Output(kind="bare"),))
    with pytest.raises(ConfigError, match="'bare' is installed without a publisher"):
        publish(forecast, no_context, tmp_path / "published")
    assert not list((tmp_path / "published").glob("[!.]*"))


def test_a_report_that_cannot_be_made_does_not_hold_up_the_forecast(tmp_path: Path) -> None:
    forecast = make_forecast(tmp_path / "product")
    folder, _ = publish(forecast, no_context, tmp_path / "published")
    assert sorted(path.name for path in folder.iterdir()) == ["forecast.json", "forecast.nc", "forecast.parquet"]


def test_without_any_entry_point_the_installation_is_at_fault() -> None:
    class Section(Strict):
        publish: Annotated[Output, InstalledKinds("nightcast.nothing")]

    with pytest.raises(NightcastError, match=r"no entry point in the group nightcast\.nothing"):
        Section.model_validate_json("{}")
