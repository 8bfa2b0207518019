"""The reports of a run, linked in one folder."""

from pathlib import Path

from components.shared.reports.collection import Report, write_reports
from components.shared.reports.html import write_report
from components.shared.reports.markdown import escape_markdown

HOSTILE = "<script>alert(1)</script>"


def _write(folder: Path) -> Path:
    html, card = folder / "a", folder / "b.md"
    write_report(
        html,
        "shared/reports/text.html.j2",
        {"data": HOSTILE, "commit": "1a2b"},
        title="A",
        body=HOSTILE,
    )
    card.write_text(
        f"---\nlicense: apache-2.0\n---\n# Card\n\n{escape_markdown(HOSTILE)}\n\n## One\n\n"
        "| a | b |\n|---|---|\n| 1 | 98.4% (89.9% to 99.8%) |\n\n## Two\n\n## Three\n"
    )
    return write_reports(
        folder / "report",
        "Training run",
        [Report("a", "First", "One.", html), Report("b", "Second", "Two.", card)],
        {"run": "run-1", "commit": "1a2b", "command": f"brain-tumor run --source '{HOSTILE}'"},
        verdict="Good.",
        cards=[("Accuracy", "95.0%", "93.0% to 97.0%")],
        about="On 3 images.",
        steps=[("split", "1.0 s", "0.10 GB")],
        places={"log": f"/runs/{HOSTILE}"},
    )


def test_each_page_links_to_the_others_and_says_which_run_it_is_of(tmp_path: Path) -> None:
    first = _write(tmp_path)
    assert first == tmp_path / "report" / "index.html"
    for name in ("index", "a", "b"):
        page = first.with_name(f"{name}.html").read_text()
        assert f'<a href="{name}.html" aria-current="page">' in page
        assert page.count("aria-current") == 2  # and the style sheet's
        for other in ("index.html", "a.html", "b.html"):
            assert f'<a href="{other}"' in page
        assert "<dt>run</dt> <dd>run-1</dd>" in page
        assert "<dt>command</dt> <dd><code>brain-tumor run --source &#39;&lt;script" in page
        assert page.count("<dt>commit</dt>") == 1
        assert "alert(1)</script>" not in page


def test_markdown_becomes_a_page_of_the_same_look(tmp_path: Path) -> None:
    card = _write(tmp_path).with_name("b.html").read_text()
    assert "<h1>Card</h1>" in card
    assert "apache-2.0" not in card
    assert '<div class="scroll" tabindex="0"><table>' in card
    assert '<td class="score"><b>98.4%</b><br><small>89.9% to 99.8%</small></td>' in card
    assert '<h2 id="part-2">Two</h2>' in card
    assert '<a href="#part-2">Two</a>' in card


def test_what_a_step_wrote_stays_as_it_is(tmp_path: Path) -> None:
    _write(tmp_path)
    alone = (tmp_path / "a").read_text()
    assert "run-1" not in alone
    assert 'href="' not in alone
