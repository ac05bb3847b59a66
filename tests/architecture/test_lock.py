"""uv.lock installs the same for everybody."""

import re
from pathlib import Path

LOCK = Path(__file__).parents[2] / "uv.lock"


def test_packages_come_from_the_public_index_alone() -> None:
    text = LOCK.read_text(encoding="utf-8")
    sources = set(re.findall(r"source = \{ (\w+) = \"([^\"]*)\"", text))
    assert sources == {("registry", "https://pypi.org/simple"), ("editable", ".")}
    assert set(re.findall(r"\w+://[^/\"]*", text)) == {"https://pypi.org", "https://files.pythonhosted.org"}
