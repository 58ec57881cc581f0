"""Heavy libraries are imported by the step that needs them, and not by an ingest that finds nothing new."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CHECKS = {"great_expectations", "jinja2", "scipy", "torch", "mlflow"}
ARRAYS = {"xarray", "netCDF4", "zarr", "cfgrib"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("pipeline.jobs.ingest", CHECKS | ARRAYS),
        ("pipeline.ingest.release", CHECKS | ARRAYS),
        ("pipeline.ingest.quality.checks", CHECKS | ARRAYS),
        ("pipeline.ingest.quality.page", CHECKS | ARRAYS),
        ("pipeline.ingest.sources.files", CHECKS | ARRAYS),
        ("expectations.buddy", CHECKS | {"pandas", "pyarrow", "pipeline"}),
        ("expectations.drift", CHECKS | {"pandas", "pyarrow", "pipeline"}),
    ],
)
def test_a_module_imports_no_heavy_library(module: str, unwanted: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted({unwanted!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
