"""The report page: one self-contained HTML file per issue time, and its charts as SVG files; the page of a backtest."""

from pipeline.report.backtest import render_backtest
from pipeline.report.backtest_data import BacktestedModel, BacktestedVariable, BacktestPage, SkillInterval
from pipeline.report.data import (
    DataFacts,
    LeadSkill,
    ModelFacts,
    RefusedReason,
    ReportData,
    StationSeries,
    VariableForecast,
)
from pipeline.report.page import render
from pipeline.report.svg_export import fan_svg, skill_svg

__all__ = [
    "BacktestPage",
    "BacktestedModel",
    "BacktestedVariable",
    "DataFacts",
    "LeadSkill",
    "ModelFacts",
    "RefusedReason",
    "ReportData",
    "SkillInterval",
    "StationSeries",
    "VariableForecast",
    "fan_svg",
    "render",
    "render_backtest",
    "skill_svg",
]
