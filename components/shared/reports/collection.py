"""The reports of one run in one folder, each linked to the others, with a page to begin at."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup

from components.shared.reports.html import render
from components.shared.storage.files import write_atomically

INDEX = "index.html"
_SIBLINGS, _FACTS = "<!-- reports of the run -->", "<!-- facts of the run -->"
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


@dataclass(frozen=True)
class Report:
    """A report of a step.

    Attributes:
        name: Of its file, without ending, such as `evaluation`.
        title: Of links to it.
        meaning: What it tells, in a sentence.
        source: What the step wrote: HTML, or Markdown.
    """

    name: str
    title: str
    meaning: str
    source: Path

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}.html"


def write_reports(
    folder: str | Path,
    title: str,
    reports: Sequence[Report],
    facts: Mapping[str, str],
    **shown: Any,
) -> Path:
    """Writes a run's reports for people: files that a browser opens, linked, with a first page.

    Args:
        folder: Takes them; made where missing.
        title: Of the first page.
        reports: In the order of the steps.
        facts: Of the run, by name, such as its command; each report shows them.
        **shown: What else `index.html.j2` shows.

    Returns:
        The first page.
    """
    folder = Path(folder)

    def write(file: str, page: str) -> Path:
        unsaid = {name: said for name, said in facts.items() if f"<dt>{name}</dt>" not in page}
        for mark, template in ((_SIBLINGS, "siblings"), (_FACTS, "run_facts")):
            template = f"shared/reports/{template}.html.j2"
            page = page.replace(mark, render(template, reports=reports, facts=unsaid, here=file), 1)
        write_atomically(folder / file, page)
        return folder / file

    for report in reports:
        write(report.file, _page(report))
    index = render("shared/reports/index.html.j2", facts={}, title=title, reports=reports, **shown)
    return write(INDEX, index)


def _page(report: Report) -> str:
    """Returns what a step wrote as HTML of the same look."""
    text = report.source.read_text(encoding="utf-8")
    if text.startswith("<!doctype html>"):
        return text
    # Markdown of our own templates, in which everything from outside is escaped; it holds no HTML.
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    body = parser.render(_FRONT_MATTER.sub("", text).lstrip())
    title, _, body = body.removeprefix("<h1>").partition("</h1>")
    body = _SCORE.sub(r'<td class="score"><b>\1</b><br><small>\2</small></td>', body)
    body = _LONG.sub(r'<td class="long">\1</td>', body)
    body = re.sub(r"<table>.*?</table>", _IN_BOX, body, flags=re.DOTALL)
    body = body.replace("<th></th>", "<td></td>")  # Markdown knows no table without headings
    return render("shared/reports/text.html.j2", facts={}, title=Markup(title), body=Markup(body))


_SCORE = re.compile(r"<td>([^<>\s]+) \(([^<>\s]+ to [^<>\s]+)\)</td>")
_LONG = re.compile(r"<td>([^<>]{40,})</td>")
_IN_BOX = r'<div class="scroll" tabindex="0">\g<0></div>'
