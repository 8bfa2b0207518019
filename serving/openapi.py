"""The description of the REST interface, for programs (OpenAPI) and for people (a page)."""

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

_SOURCE = Path(__file__).with_name("openapi.yaml")
_PAGE = Path(__file__).parent / "web" / "docs.html"
_ADDRESS = "http://localhost:8080"
_SENT = {"application/json": "-d @request.json", "multipart/form-data": "-F file=@scan.jpg"}


def openapi(name: str) -> dict[str, Any]:
    """Describes the routes.

    Args:
        name: Under which the model is served.

    Returns:
        A document of OpenAPI 3.1.
    """
    document: dict[str, Any] = yaml.safe_load(_SOURCE.read_text("utf-8"))
    paths = document["paths"].items()
    return document | {"paths": {path.replace("NAME", quote(name)): item for path, item in paths}}


def docs_page(document: dict[str, Any]) -> str:
    """Writes the same as a page, without scripts.

    Args:
        document: What `openapi` returned.

    Returns:
        HTML.
    """
    groups = "".join(_group(document, tag) for tag in document["tags"])
    info = document["info"]
    page = _PAGE.read_text("utf-8")
    for mark, text in (("TITLE", info["title"]), ("DESCRIPTION", info["description"])):
        page = page.replace(mark, escape(text))
    return page.replace("<!-- GROUPS -->", groups)


def _group(document: dict[str, Any], tag: dict[str, str]) -> str:
    found = [
        _operation(document, path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if tag["name"] in operation["tags"]
    ]
    heading = f"<h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>"
    return f"<section>{heading}{''.join(found)}</section>"


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [f"<p>{escape(operation.get('description', ''))}</p>"]
    bodies = operation.get("requestBody", {}).get("content", {})
    calls = "\n".join(_calls(path, bodies))
    parts.append(f"<h3>Ask</h3><pre><code>{escape(calls)}</code></pre>")
    for body in bodies.values():
        for value in _examples(body):
            parts.append(f"<h3>request.json</h3>{_json(value)}")
        break
    rows = []
    for status, answer in sorted(operation["responses"].items()):
        answer = _resolved(document, answer)
        rows.append(f"<dt>{status}</dt><dd>{escape(answer['description'])}</dd>")
        if status == "200":
            parts += [
                f"<h3>Answer</h3>{_json(value)}"
                for content in answer["content"].values()
                for value in _examples(content)
            ]
    parts.append(f"<h3>Statuses</h3><dl>{''.join(rows)}</dl>")
    summary = f"<code>{method.upper()} {escape(path)}</code> {escape(operation['summary'])}"
    return f"<details><summary>{summary}</summary>{''.join(parts)}</details>"


def _calls(path: str, bodies: dict[str, Any]) -> Iterator[str]:
    """Yields a call of curl for each kind of body, or the one where there is none."""
    if not bodies:
        yield f"curl {_ADDRESS}{path}"
    for kind in bodies:
        if kind.endswith("/jpeg"):
            yield f"curl --data-binary @scan.jpg {_ADDRESS}{path}"
        elif kind in _SENT:
            yield f"curl {_SENT[kind]} {_ADDRESS}{path}"


def _examples(content: dict[str, Any]) -> list[Any]:
    named = content.get("examples", {}).values()
    return [content["example"]] if "example" in content else [one["value"] for one in named]


def _json(value: Any) -> str:
    return f"<pre><code>{escape(json.dumps(value, indent=2))}</code></pre>"


def _resolved(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Follows a reference to a part of the document."""
    if "$ref" not in value:
        return value
    found: Any = document
    for key in value["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    return found
