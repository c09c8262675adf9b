"""MkDocs hooks: pages whose source is elsewhere in the repository, and notebooks as pages."""

import json
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
# Path in the repository -> page of the site.
ELSEWHERE = {
    "results/README.md": "runs.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
} | {f"notebooks/{p.name}": f"notebooks/{p.stem}.md" for p in ROOT.glob("notebooks/*.ipynb")}
_LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_files(files, config):
    """Adds the pages from elsewhere."""
    for source, page in ELSEWHERE.items():
        text = (ROOT / source).read_text()
        text = page_of_notebook(json.loads(text)) if source.endswith(".ipynb") else text
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns links between files of the repository into links between pages."""
    path = page.file.src_uri
    source = next((s for s, target in ELSEWHERE.items() if target == path), f"docs/{path}")

    def link(match):
        target = (ROOT / source).parent.joinpath(match[1]).resolve()
        if not target.is_relative_to(ROOT) or not target.exists():
            return match[0]  # MkDocs says what is wrong with it.
        name = target.relative_to(ROOT).as_posix()
        name = ELSEWHERE.get(name, name.removeprefix("docs/"))
        up = "../" * path.count("/")
        return f"]({up}{name}{match[2] or ''})"

    return _LINK.sub(link, markdown)


def page_of_notebook(notebook):
    """The notebook as Markdown, with its outputs."""
    return "\n\n".join(map(_cell, notebook["cells"]))


def _cell(cell):
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    return "\n\n".join([f"```python\n{source}\n```", *map(_output, cell["outputs"])])


def _output(output):
    data = output.get("data", {})
    if "text/html" in data:
        return f"<div>{''.join(data['text/html'])}</div>"
    if "image/png" in data:
        return f'<img alt="" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    text = output.get("text", data.get("text/plain", ""))
    return f"```text\n{''.join(text).rstrip()}\n```"
