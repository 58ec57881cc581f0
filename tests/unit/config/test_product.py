"""A mistake in a product file is reported in one line: file, line, field, what is wrong, how to correct it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Product, load_product
from pipeline.config.document import MAX_BYTES, MAX_DEPTH
from pipeline.config.feed import VariableSpec
from pipeline.errors import ConfigError
from pipeline.paths import deploy_folder

GOOD = """\
name: wind
title: Wind
feed:
  source: {kind: files, path: w.csv, format: csv}
  step: 1h
  delay: 6h
  locations: {kind: stations, path: s.csv}
  variables:
    wind_speed: {units: m s-1, limits: [0, 60]}
forecast:
  targets: [wind_speed]
  horizon: 3
schedule:
  forecast: "5 * * * *"
"""

MISTAKES = {
    "misspelt field": ("  horizon:", "  horizn:", 12, "forecast.horizn", "unknown field", "did you mean 'horizon'?"),
    "misspelt at the top": ("title:", "titel:", 2, "titel", "unknown field", "did you mean 'title'?"),
    "misspelt and so missing": ("format:", "fromat:", 4, "feed.source.fromat", "unknown field", "'format'?"),
    "nothing alike": (
        "title:",
        "qqq:",
        2,
        "qqq",
        "unknown field",
        "known here: covariates, feed, forecast, gate, name",
    ),
    "missing field": ("  step: 1h\n", "", 3, "feed.step", "missing", "this field is required"),
    "missing kind": ("kind: files, ", "", 4, "feed.source.kind", "missing", "required"),
    "unknown kind": ("kind: files", "kind: ftp", 4, "feed.source.kind", '"ftp"', "'files'"),
    "text for a number": ("horizon: 3", "horizon: '3'", 12, "forecast.horizon", 'got "3"', "valid integer"),
    "fraction for a count": ("horizon: 3", "horizon: 3.5", 12, "forecast.horizon", "got 3.5", "valid integer"),
    "truth value for a count": ("horizon: 3", "horizon: yes", 12, "forecast.horizon", "got true", "valid integer"),
    "out of range": ("horizon: 3", "horizon: 0", 12, "forecast.horizon", "got 0", "greater than or equal to 1"),
    "text for a list": ("[wind_speed]", "wind_speed", 11, "forecast.targets", '"wind_speed"', "valid array"),
    "null": ("name: wind", "name:", 1, "name", "got null", "valid string"),
    "duration in words": ("delay: 6h", "delay: 6 hours", 6, "feed.delay", "'6 hours' is not a duration", "10min"),
    "duration without unit": ("delay: 6h", "delay: 6", 6, "feed.delay", "6 is not a duration", "30s"),
    "negative duration": ("delay: 6h", "delay: -6h", 6, "feed.delay", "'-6h' is not a duration", "6h"),
    "duration with a line end": ("delay: 6h", 'delay: "6h\\n"', 6, "feed.delay", "is not a duration", "6h"),
    "endless duration": ("delay: 6h", f"delay: {'9' * 30}y", 6, "feed.delay", "too long", "10y"),
    "step beside the day": ("step: 1h", "step: 7h", 5, "feed.step", "does not divide a day", "6h, 1d"),
    "no step": ("step: 1h", "step: 0h", 5, "feed.step", "does not divide a day", "10min"),
    "half a second": ("step: 1h", "step: 0.5s", 5, "feed.step", "of whole seconds", "10min"),
    "cron minute": ('"5 *', '"61 *', 14, "schedule.forecast", "is not a cron expression, Bad minute", "'0 6 * * *'"),
    "cron in words": (
        '"5 * * * *"',
        "hourly",
        14,
        "schedule.forecast",
        "'hourly' is not a cron expression",
        "five fields",
    ),
    "cron with seconds": ('"5 *', '"0 5 *', 14, "schedule.forecast", "is not a cron expression", "five fields"),
    "day that never comes": (
        '"5 * * * *"',
        "0 0 31 2 *",
        14,
        "schedule.forecast",
        "is not a cron expression",
        "five fields",
    ),
    "time zone": ("schedule:\n", "schedule:\n  time_zone: CEST\n", 14, "schedule.time_zone", "'CEST'", "Europe/Dublin"),
    "unknown target": ("[wind_speed]", "[gust]", 11, "forecast.targets", "'gust' is not in", "known: wind_speed"),
    "no target": ("[wind_speed]", "[]", 11, "forecast.targets", "empty", "at least one"),
    "no variable": (
        "    wind_speed: {units: m s-1, limits: [0, 60]}",
        "    {}",
        8,
        "feed.variables",
        "empty",
        "at least one variable, e.g.",
    ),
    "variable without units": (
        "wind_speed: {units: m s-1, limits",
        "foo: {limits",
        8,
        "feed.variables",
        "'foo'",
        "units",
    ),
    "name of a variable": (
        "  wind_speed: {",
        "  Wind: {",
        9,
        "feed.variables.Wind",
        "'Wind' is not a valid name",
        "lower-case",
    ),
    "unit": ("m s-1", "m parsnip-1", 9, "feed.variables.wind_speed.units", "is not a valid unit", "m s-1"),
    "unit of another kind": (
        "units: m s-1",
        "units: m s-1, source_units: kg",
        8,
        "feed.variables",
        "cannot convert 'wind_speed' from kg to m s-1",
        "units of the same dimension",
    ),
    "limits": ("[0, 60]", "[60, 0]", 9, "feed.variables.wind_speed.limits", "is empty", "below the second"),
    "three limits": ("[0, 60]", "[0, 1, 2]", 9, "feed.variables.wind_speed.limits", "[0, 1, 2]", "at most 2"),
    "NaN": ("[0, 60]", "[.nan, 60]", 9, "feed.variables.wind_speed.limits.0", ".nan is not a finite number", "null"),
    "infinity": ("[0, 60]", "[0, .inf]", 9, "feed.variables.wind_speed.limits.1", ".inf is not a finite", "null"),
    "overflow": ("[0, 60]", "[0, 1.0e+999]", 9, "feed.variables.wind_speed.limits.1", "is not a finite", "null"),
    "octal": ("horizon: 3", "horizon: 010", 12, "forecast.horizon", "010 is not a decimal number", "10"),
    "sexagesimal": ("horizon: 3", "horizon: 1:30", 12, "forecast.horizon", "1:30 is not a decimal number", "10"),
    "5000 digits": ("horizon: 3", f"horizon: {'9' * 5000}", 12, "forecast.horizon", "is not a decimal number", "10"),
    "quantiles": ("  horizon: 3", "  quantiles: [0.5, 0.1]", 12, "forecast.quantiles", "[0.5, 0.1]", "ascending"),
    "no median": ("  horizon: 3", "  quantiles: [0.1, 0.9]", 12, "forecast.quantiles", "[0.1, 0.9]", "with 0.5"),
    "capital name": ("name: wind", "name: Wind", 1, "name", "'Wind' is not a valid name", "lower-case"),
    "path as name": ("name: wind", "name: ../x", 1, "name", "'../x' is not a valid name", "lower-case"),
    "device as name": ("name: wind", "name: con", 1, "name", "'con' is not a valid name", "lower-case"),
    "name with a line end": ("name: wind", 'name: "wind\\n"', 1, "name", "is not a valid name", "lower-case"),
    "alias": ("title: Wind", "title: &a Wind\nx: *a", 2, "", "aliases are not allowed", "write the value out"),
    "tag that runs code": (
        "title: Wind",
        "title: !!python/object/apply:os.system [ls]",
        2,
        "title",
        "python/object/apply:os.system is not allowed",
        "plain values",
    ),
    "tag on a list": ("[wind_speed]", "!!python/tuple [wind_speed]", 11, "forecast.targets", "tag", "plain values"),
    "tag of its own": ("title: Wind", "title: !x Wind", 2, "title", "tag !x is not allowed", "plain values"),
    "binary": ("title: Wind", "title: !!binary aGFsbG8=", 2, "title", "binary is not allowed", "plain values"),
    "repeated key": ("title: Wind", "title: A\ntitle: B", 3, "", "'title' occurs twice", "keep one"),
    "repeated key deep": (
        "limits:",
        "units: K, limits:",
        9,
        "feed.variables.wind_speed",
        "'units' occurs",
        "one",
    ),
    "merge key": ("title: Wind", "<<: {title: Wind}", 2, "<<", "unknown field", "known here"),
    "list as key": ("title: Wind", "? [a, b]\n: c", 2, "", "a key is a list", "plain text"),
    "open bracket": ("title: Wind", "title: [Wind", 3, "", "not valid YAML", "indentation and quotes"),
    "tab": ("title: Wind", "title: x\n\ty: z", 3, "", "not valid YAML", "indentation"),
    "second document": ('"5 * * * *"\n', '"5 * * * *"\n---\nname: x\n', 15, "", "another document", "indentation"),
    "deep mapping": (
        "title: Wind",
        "title:\n" + "\n".join("  " * n + "k:" for n in range(1, 60)),
        # A mapping of depth n opens on line n: 2 is the first inside the document.
        MAX_DEPTH + 2,
        "",
        f"nested deeper than {MAX_DEPTH}",
        "flatten",
    ),
}


def mistake_in(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_product(path)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    assert caught.value.exit_code == 2
    return caught.value


def test_a_valid_file_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(GOOD)
    product = load_product(path)
    assert product.forecast.horizon == 3
    assert product.folder == tmp_path
    path.write_text(GOOD, encoding="utf-8-sig")  # as Windows editors save it
    assert load_product(path) == product


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_with_file_line_field_and_remedy(tmp_path: Path, case: str) -> None:
    right, wrong, line, field, problem, remedy = MISTAKES[case]
    path = tmp_path / "p.yaml"
    path.write_text(GOOD.replace(right, wrong, 1))
    error = mistake_in(path)
    assert (error.file, error.field) == (f"{path}:{line}", field)
    assert problem in error.problem
    assert remedy in error.remedy
    place = f"{path}:{line}: {field}: " if field else f"{path}:{line}: "
    assert str(error) == f"{place}{error.problem}; {error.remedy}"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"# only a comment\n", "the file is empty"),
        (b"---\n", "the file is empty"),
        (b"\xff\xfe\x00", "not a UTF-8 text file"),
        (GOOD.encode("utf-16"), "not a UTF-8 text file"),
        (GOOD.replace("Wind", "Wi\x07nd").encode(), "control characters"),
        (GOOD.replace("Wind", "Wi\x00nd").encode(), "control characters"),
        (b"#" * (MAX_BYTES + 1), f"larger than {MAX_BYTES} bytes"),
        (b"- a\n", 'got ["a"]'),
        (b"just text", 'got "just text"'),
    ],
)
def test_a_file_that_is_not_a_product(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(content)
    error = mistake_in(path)
    assert problem in error.problem
    assert error.file.startswith(str(path))


def test_a_missing_file(tmp_path: Path) -> None:
    assert mistake_in(tmp_path / "none.yaml").problem == "no such file"
    assert mistake_in(tmp_path).problem == "no such file"


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (bomb(9), "aliases are not allowed"),
        ("a: " + "[" * 49_000 + "]" * 49_000, "nested deeper"),
        ("a: " + "{b: " * 20_000, "nested deeper"),
    ],
    ids=["alias bomb", "brackets", "braces"],
)
def test_a_yaml_bomb_is_refused_after_a_few_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    # Without measuring time: the parser must stop early, and nothing may be composed.
    import yaml

    events = 0
    parse = yaml.parse

    def counted(*args: Any, **named: Any) -> Any:
        nonlocal events
        for event in parse(*args, **named):
            events += 1
            yield event

    monkeypatch.setattr(yaml, "parse", counted)
    monkeypatch.setattr(yaml, "compose", lambda *_, **__: pytest.fail("the bomb was composed"))
    path = tmp_path / "p.yaml"
    path.write_text(text)
    assert problem in mistake_in(path).problem
    assert events < 5 * MAX_DEPTH


def test_long_text_is_shortened_in_messages(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(GOOD.replace("horizon: 3", "horizon: " + "x" * 5000))
    assert len(str(mistake_in(path))) < 400


def test_every_field_has_a_description() -> None:
    schema = Product.model_json_schema()
    bare = [
        f"{owner}.{name}"
        for owner, part in {"Product": schema, **schema["$defs"]}.items()
        for name, field in part["properties"].items()
        if not _is_described(field, schema["$defs"])
    ]
    assert bare == []


def _is_described(field: dict[str, Any], definitions: dict[str, Any]) -> bool:
    """Return whether a field has a description; pydantic omits one that equals the description of its class."""
    reference = field.get("$ref", "").rsplit("/", 1)[-1]
    return bool(field.get("description") or definitions.get(reference, {}).get("description")) or "const" in field


def test_a_product_is_read_back_from_its_json() -> None:
    product = Product.model_validate_json(
        '{"name": "x", "feed": {"source": {"kind": "files", "path": "w", "format": "csv"}, "step": "90min",'
        '"locations": {"kind": "stations", "path": "s"}, "variables": {"wind_speed": {}}},'
        '"forecast": {"targets": ["wind_speed"]}}'
    )
    assert Product.model_validate_json(product.model_dump_json()) == product


def test_a_variable_has_defaults_from_its_cf_name(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(GOOD.replace("{units: m s-1, limits: [0, 60]}", "{limits: [null, 9]}\n    odd: {units: '1'}"))
    feed = load_product(path).feed
    assert feed.variable("wind_speed") == ("m s-1", (None, 9.0), "sqrt", "Wind speed")
    assert feed.variable("odd") == ("1", (None, None), "identity", "Odd")


def test_default_limits_are_converted_to_the_unit_of_the_product() -> None:
    feed = load_product(deploy_folder() / "products" / "ireland-wind.yaml").feed
    kelvin = feed.model_copy(update={"variables": {"air_temperature": VariableSpec(units="K")}})
    variable = kelvin.variable("air_temperature")
    assert variable.units == "K"
    assert variable.limits == pytest.approx((183.15, 333.15))


OPTIONS = """training:
  options:
    blend: {members: [ridge-var, attention-convlstm], weights: equal, seed: null}
    ridge-var: {lags: 3, memory: true, ridge: 1.0}
"""


def test_model_options_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(GOOD + OPTIONS)
    product = load_product(path)
    for one in (product, Product.model_validate_json(product.model_dump_json())):
        options = one.training.options
        assert options["blend"] == {"members": ["ridge-var", "attention-convlstm"], "weights": "equal", "seed": None}
        assert {name: type(value) for name, value in options["ridge-var"].items()} == {
            "lags": int,
            "memory": bool,
            "ridge": float,
        }


@pytest.mark.parametrize("value", ["[1, 2]", "[[a]]", "{a: 1}", "[a, null]"])
def test_an_option_of_an_unsupported_type(tmp_path: Path, value: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(GOOD + f"training: {{options: {{blend: {{members: {value}}}}}}}\n")
    error = mistake_in(path)
    assert error.field == "training.options.blend.members"
    assert error.problem.startswith("got ")
    assert error.remedy == "write a number, a text, true, false, null, or a list of texts"


def test_a_candidate_listed_twice(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(GOOD + "training: {candidates: [ridge-var, blend, ridge-var]}\n")
    error = mistake_in(path)
    assert (error.field, error.problem) == ("training.candidates", "'ridge-var' is listed twice")


@pytest.mark.parametrize("names", ["[altitude, altitude]", "['']"])
def test_a_static_column_listed_twice_or_empty(tmp_path: Path, names: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(GOOD.replace("path: s.csv}", f"path: s.csv, static: {names}}}"))
    assert "has a repeated or empty name" in mistake_in(path).problem
