"""A data quality report as one small page that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Data quality of {{ product }}</title>
<style>
  :root { color-scheme: light dark; --paper: #fff; --ink: #16212b; --soft: #53616d; --rule: #d5dce1;
    --good: #1d7a4c; --bad: #a3262f; }
  @media (prefers-color-scheme: dark) { :root { --paper: #0f161c; --ink: #e6ecf0; --soft: #9dadb9;
    --rule: #2e3a44; --good: #5cc08c; --bad: #f08d92; } }
  body { margin: 0 auto; max-width: 960px; padding: 32px 20px; color: var(--ink); background: var(--paper);
    font: 15px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; overflow-wrap: break-word; }
  h1 { margin: 0; font: 500 30px/1.2 Charter, Georgia, serif; }
  p { color: var(--soft); margin: 4px 0 0; }
  dl { display: flex; flex-wrap: wrap; gap: 8px 40px; margin: 24px 0; }
  dt { color: var(--soft); font-size: 13px; }
  dd { margin: 0; font-size: 24px; }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; width: 100%; }
  caption { text-align: left; color: var(--soft); padding-bottom: 6px; }
  th, td { text-align: left; vertical-align: top; padding: 6px 14px 6px 0;
    border-top: 1px solid var(--rule); }
  thead th { font-weight: 500; color: var(--soft); }
  tbody th { font-weight: 400; }
  .number { text-align: right; white-space: nowrap; }
  .good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
  small { display: block; color: var(--soft); }
</style>
</head>
<body>
<h1>Data quality of {{ product }}</h1>
<p>Checked <time datetime="{{ checked_at }}">{{ checked_at }}</time> by Great Expectations
{{ great_expectations_version }}: <span class="{{ 'good' if success else 'bad' }}">
{{- 'every expectation holds' if success else 'some rows break an expectation' }}</span>.</p>
<dl>
{%- for name, count in counts.items() %}
  <div><dt>{{ name }} rows</dt><dd>{{ "{:,}".format(count) }}</dd></div>
{%- endfor %}
</dl>
<div class="scroll"><table>
<caption>A row that breaks an expectation is kept aside with the reason.</caption>
<thead><tr><th scope="col">Reason to refuse a row</th><th scope="col" class="number">Rows</th>
<th scope="col">Verdict</th></tr></thead>
<tbody>
{%- for check in checks %}
  <tr><th scope="row">{{ check.reason }}
    {%- if check.examples %}
    <small>e.g. {{ check.examples | map("told") | join(", ") }}</small>{% endif %}</th>
    <td class="number">{{ "{:,}".format(check.unexpected) }}</td>
    <td class="{{ 'good' if check.success else 'bad' }}">
    {{- 'holds' if check.success else 'broken' }}</td></tr>
{%- endfor %}
</tbody>
</table></div>
</body>
</html>
"""


def quality_page(report: Mapping[str, Any]) -> str:
    """Return the report of `check_rows` as HTML; whatever names and values it holds are inert text."""
    pages = Environment(autoescape=True)
    pages.filters["told"] = _told
    return pages.from_string(_PAGE).render(report)


def _told(example: object) -> str:
    if isinstance(example, Mapping):
        return " ".join(map(str, example.values()))
    return example if isinstance(example, str) else json.dumps(example)
