"""The report page: one self-contained HTML file per issue time, and its charts as SVG files."""

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
    "DataFacts",
    "LeadSkill",
    "ModelFacts",
    "RefusedReason",
    "ReportData",
    "StationSeries",
    "VariableForecast",
    "fan_svg",
    "render",
    "skill_svg",
]
