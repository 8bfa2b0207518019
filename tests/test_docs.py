"""Links, paths and modules in the documentation exist, and its generated pages are current."""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from docs.component_readmes import readmes

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "manifests").rglob("*.md")]
STEPS = sorted(door.parent for door in (ROOT / "components").glob("*/component.py"))
FOLDERS = "benchmarks|components|docs|locks|manifests|pipelines|serving|tests"
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> Iterator[str]:
    """Yields the anchors that GitHub gives a page's headings."""
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        kept = (c for c in text if c in " -_" or unicodedata.category(c)[0] in "LN")
        yield "".join(kept).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    text = page.read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text):
        if re.match(r"[a-z]+:|\.\./\.\./actions/", link):  # GitHub's own pages of workflows
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_and_modules_exist(page: Path) -> None:
    spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", page.read_text()))
    paths = [s for s in spans if re.fullmatch(rf"({FOLDERS})/[\w./-]*", s)]
    modules = [s for s in spans if re.fullmatch(r"(components|pipelines|serving)(\.\w+)+", s)]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [name for name in modules if not _is_there(name)] == []


def _is_there(name: str) -> bool:
    """Whether a module is there, or one that defines the last part of the name."""
    path = ROOT.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    module = path.parent.with_suffix(".py")
    return module.is_file() and bool(
        re.search(rf"^(def|class) {path.name}\b|^{path.name}\b", module.read_text(), re.MULTILINE)
    )


def test_each_test_that_data_md_names_exists() -> None:
    text = (ROOT / "docs" / "data.md").read_text()
    files = {letter: path for path, letter in re.findall(r"`(tests/\S+\.py)`[ ,(]*([A-Z])\b", text)}
    named = [  # such as D `a_tiff_of_few_bits`, `hostile...`: a name, or its beginning
        (files[letter], name)
        for letter, names in re.findall(r"\b([A-Z]) ((?:`[^`]+`(?:, )?)+)", text)
        for name in re.findall("`([^`]+)`", names)
    ]
    assert {path for path, _ in named} == set(files.values())
    lacking = []
    for path, name in named:
        wanted = f"def test_{name}(".replace("...(", "")
        if wanted not in (ROOT / path).read_text():
            lacking.append((path, name))
    assert lacking == []


def test_each_layout_that_data_md_shows_is_tested() -> None:
    text = (ROOT / "docs" / "data.md").read_text()
    table = text.partition("| layout |")[2].partition("\n\n")[0]
    tests = (ROOT / "tests" / "ingest" / "test_layouts.py").read_text()
    assert re.findall(r"^\| ([a-z ]+) \|", table, re.MULTILINE) == re.findall(
        r'^    "([a-z ]+)": Layout\(', tests, re.MULTILINE
    )


def test_figures_of_the_readme_are_those_of_the_results() -> None:
    readme = (ROOT / "README.md").read_text()
    results = (ROOT / "docs" / "results.md").read_text()
    figures = re.findall(r"[\d.]+% \([\d.]+–[\d.]+\)", readme)
    assert len(figures) == 3
    assert [figure for figure in figures if figure not in results] == []
    (said,) = re.findall(r"answers (\d+) times as many requests", readme)
    (measured,) = re.findall(r"\*\*([\d.]+) times\*\* the requests a second", results)
    assert int(said) == int(float(measured))


def test_each_page_is_in_the_navigation_of_the_site() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    listed = set(re.findall(r"[\w/]+\.md", navigation))
    linked = re.findall(r"\((\w+\.md)\)", (ROOT / "docs/decisions/README.md").read_text())
    listed |= {f"decisions/{page}" for page in linked}
    generated = {"reference/command_line.md", "reference/parameters.md"}
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert pages == listed - generated


def test_each_components_readme_is_what_the_code_says() -> None:
    written = readmes()
    assert set(written) == {step / "README.md" for step in STEPS}
    stale = [path for path, text in written.items() if path.read_text() != text]
    assert stale == [], "run 'make readmes' and commit them"


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_metadata_is_as_kubeflow_pipelines_components_asks(step: Path) -> None:
    metadata = yaml.safe_load((step / "metadata.yaml").read_text())
    assert list(metadata) == ["name", "stability", "dependencies", "tags", "lastVerified"]
    assert metadata["name"] == step.name
    assert metadata["stability"] in ("experimental", "alpha", "beta", "stable")
    (pipelines,) = (d for d in metadata["dependencies"]["kubeflow"] if d["name"] == "Pipelines")
    installed = re.search(r'"kfp==(\S+)"', (ROOT / "pyproject.toml").read_text())
    assert installed is not None
    assert pipelines["version"] == f">={installed[1]}"
