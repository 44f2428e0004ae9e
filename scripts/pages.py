"""Copies the documents, and all files that they link to, to the folder of the site's sources.

Owns the list of documents. The copy has the layout of the repository, so that a relative link means
the same on a code host and on the site. A notebook becomes a page of its texts and code. It builds
nothing.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]*))?\)")


def documents(root: Path = ROOT) -> list[Path]:
    """Every document of the site."""
    named = ("README.md", "CHANGELOG.md", "benchmarks/README.md", "cluster/README.md")
    return [*(root / name for name in named), *sorted((root / "docs").glob("*.md"))]


def notebook_page(notebook: Path) -> str:
    """A notebook as Markdown, without outputs."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    parts = [f"```python\n{text}\n```" if kind == "code" else text for kind, text in sources]
    return "\n\n".join(parts) + "\n"


def linked(document: Path) -> list[Path]:
    """The files of the repository that a document links to."""
    targets = [target for target, _ in LINK.findall(document.read_text(encoding="utf-8"))]
    return [(document.parent / target).resolve() for target in targets if "://" not in target]


def main(folder: Path) -> None:
    """Copy to `folder`, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = documents()
    style = ROOT / "docs" / "site.css"
    for path in {*pages, style, *(target for page in pages for target in linked(page))}:
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".ipynb":
            copy.with_suffix(".md").write_text(notebook_page(path), encoding="utf-8")
        elif path in pages:
            text = path.read_text(encoding="utf-8").replace(".ipynb)", ".md)")
            copy.write_text(text, encoding="utf-8")
        else:
            shutil.copyfile(path, copy)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
