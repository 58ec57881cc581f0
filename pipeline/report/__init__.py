"""The report page: one self-contained HTML file per issue time, and its charts as SVG files; the page of a backtest."""

from pipeline.report.backtest import render_backtest
from pipeline.report.backtest_data import BacktestedModel, BacktestedVariable, BacktestPage, SkillInterval
from pipeline.report.basis_data import Basis, InputLoss, InputMove
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
from pipeline.report.svg_export import basis_svg, fan_svg, skill_svg

__all__ = [
    "BacktestPage",
    "BacktestedModel",
    "BacktestedVariable",
    "Basis",
    "DataFacts",
    "InputLoss",
    "InputMove",
    "LeadSkill",
    "ModelFacts",
    "RefusedReason",
    "ReportData",
    "SkillInterval",
    "StationSeries",
    "VariableForecast",
    "basis_svg",
    "fan_svg",
    "render",
    "render_backtest",
    "skill_svg",
]
