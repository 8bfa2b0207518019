"""Hooks of MkDocs: pages that are made from the code, links out of docs/, and no other host."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

from components.shared.run.parameters import Group, Parameter
from pipelines.catalogue import Pipeline
from pipelines.cli import app

ROOT = Path(__file__).parents[1]
RANGE = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def on_config(config: MkDocsConfig) -> None:
    """Puts each decision that docs/decisions/README.md links into the navigation."""
    pages = re.findall(r"\((\w+\.md)\)", (ROOT / "docs/decisions/README.md").read_text())
    for section in config.nav or ():
        for entry in next(iter(section.values())) if isinstance(section, dict) else ():
            if isinstance(entry, dict) and "Decisions" in entry:
                index = entry["Decisions"]
                entry["Decisions"] = [index, *(f"decisions/{page}" for page in pages)]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of the command line and of the parameters."""
    for path, text in (
        ("reference/command_line.md", command_line()),
        ("reference/parameters.md", parameters()),
    ):
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads links out of docs/ to the repository, or makes them text where it is not known."""

    def link(found: re.Match[str]) -> str:
        text, target = found.groups()
        path = (ROOT / "docs" / page.file.src_uri).parent.joinpath(target).resolve()
        if path.is_relative_to(ROOT / "docs") or not path.exists():
            return found[0]
        if not config.repo_url:
            return text
        return f"[{text}]({config.repo_url.rstrip('/')}/blob/main/{path.relative_to(ROOT)})"

    return re.sub(r"\[([^\]]+)\]\((\.\.?/[^)#\s]+)\)", link, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Fails where a page loads something from another host, so that the site works offline."""
    found = []
    for page in sorted(Path(config.site_dir).rglob("*.html")):
        loads = _Loads()
        loads.feed(page.read_text())
        found += [f"{page.relative_to(config.site_dir)}: {address}" for address in loads.found]
    if found:
        raise PluginError("these pages load from another host:\n" + "\n".join(found))


class _Loads(HTMLParser):
    """Collects what a page loads from another host: scripts, styles, images, frames."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Looks at one element."""
        given = dict(attrs)
        address = given.get("src") or (given.get("href") if tag == "link" else "") or ""
        if address.startswith(("http:", "https:", "//")) and given.get("rel") != "canonical":
            self.found.append(address)


def command_line() -> str:
    """Returns the reference of every command, as Typer describes it."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="brain-tumor")
    text = re.sub(r"\[/?(dim|bold)?\]", "", text).replace("\\[", "[")
    return text.replace("# `brain-tumor`", "# Command line", 1)


def parameters() -> str:
    """Returns a table of the parameters of each pipeline, by group."""
    parts = [
        "# Parameters",
        "A run takes these parameters: in the KFP UI, as options of the command line, or in a YAML "
        "file for `--config`. `held_out_share` is the option `--held-out-share`.",
    ]
    for pipeline in Pipeline:
        parts.append(f"## {pipeline.value}")
        panels = dict.fromkeys(parameter.panel for parameter in pipeline.run.parameters())
        for panel in panels:
            parts += [f"### {panel}", "\n".join(_table(pipeline.run, panel))]
    return "\n\n".join(parts) + "\n"


def _table(run: type[Group], panel: str) -> Iterator[str]:
    schema = run.model_json_schema()["properties"]
    yield "| parameter | type | default | allowed | description |"
    yield "|---|---|---|---|---|"
    for parameter in run.parameters():
        if parameter.panel == panel:
            allowed = _allowed(parameter, schema[parameter.name])
            default = f"`{parameter.default}`" if parameter.default != "" else "empty"
            cells = [f"`{parameter.name}`", parameter.type.__name__, default, allowed]
            yield f"| {' | '.join(cells)} | {parameter.description} |"


def _allowed(parameter: Parameter, schema: dict[str, Any]) -> str:
    if parameter.choices:
        return ", ".join(parameter.choices)
    return ", ".join(f"{word} {schema[key]:g}" for key, word in RANGE.items() if key in schema)
