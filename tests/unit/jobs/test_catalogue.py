from __future__ import annotations

import inspect
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module

import pytest
from pydantic import ValidationError

from pipeline.jobs.catalogue import JOBS, BackfillParameters, get_job
from pipeline.jobs.job import Job

HEAVY = {"torch", "mlflow", "pandas", "pyarrow", "numpy", "great_expectations", "prefect", "pipeline.config"}


def test_the_list_of_jobs_and_the_commands_import_nothing_heavy() -> None:
    code = f"import sys, pipeline.cli.main; print(sorted({HEAVY} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_the_names_and_the_commands_of_jobs_are_unique() -> None:
    assert len({job.name for job in JOBS}) == len({tuple(job.words) for job in JOBS}) == len(JOBS)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
class TestDeclaration:
    def test_the_function_takes_the_parameters(self, job: Job) -> None:
        module, _, name = job.function.partition(":")
        accepted = inspect.signature(getattr(import_module(module), name)).parameters
        assert next(iter(accepted)) == "ws"
        assert job.parameters.model_fields.keys() <= accepted.keys()

    def test_the_result_can_be_printed(self, job: Job) -> None:
        assert callable(import_module(f"pipeline.cli.views.{job.module}").show)

    def test_every_parameter_has_a_title_and_a_description(self, job: Job) -> None:
        for field in job.parameters.model_fields.values():
            assert field.title
            assert (field.description or "").endswith(".")


def test_a_time_without_an_offset_is_in_utc() -> None:
    values = {"since": datetime(2001, 1, 1), "until": "2001-02-01T01:00+01:00"}  # noqa: DTZ001
    parameters = BackfillParameters.model_validate(values)
    assert (parameters.since, parameters.until) == (datetime(2001, 1, 1, tzinfo=UTC), datetime(2001, 2, 1, tzinfo=UTC))


def test_a_part_is_written_k_of_n() -> None:
    range_ = {"since": "2001-01-01", "until": "2001-02-01"}
    assert BackfillParameters.model_validate(range_).part == (1, 1)
    assert BackfillParameters.model_validate({**range_, "part": "2/8"}).part == (2, 8)
    with pytest.raises(ValidationError, match="'2 of 8' is not a part; write K/N"):
        BackfillParameters.model_validate({**range_, "part": "2 of 8"})


def test_a_job_is_found_by_its_name() -> None:
    assert get_job("backfill").parameters is BackfillParameters
