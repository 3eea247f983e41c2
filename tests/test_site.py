"""The documents as a site: it builds without a warning and loads nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOADED = re.compile(r'<(?:script|link|img|iframe)\b[^>]*?(?:src|href)="?(?:https?:)?//', re.I)


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {"NO_MKDOCS_2_WARNING": "1", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    assert "WARNING" not in ran.stderr
    pages = [page.read_text(encoding="utf-8") for page in tmp_path.rglob("*.html")]
    written = {page.stem for page in (ROOT / "docs").rglob("*.md")}
    assert len(pages) > len(written) >= 25
    assert [found[0] for page in pages if (found := LOADED.search(page))] == []
    reference = (tmp_path / "API.html").read_text(encoding="utf-8")
    assert "Wrap" in reference  # docstrings are in it
    assert "annotate" in reference
