"""The dashboards' pictures: each panel that there is was drawn, and they are text that says nothing of a machine."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import pytest

from tests.mixin.mixin import DASHBOARDS, MIXIN

FOLDER = MIXIN / "pictures"
LARGEST = 200_000


def test_every_dashboard_has_a_picture_and_every_picture_a_dashboard() -> None:
    assert {file.name for file in FOLDER.iterdir()} == {f"doorward-{name}.svg" for name in DASHBOARDS}


@pytest.mark.parametrize(("name", "dashboard"), DASHBOARDS.items(), ids=DASHBOARDS)
def test_a_picture_shows_the_dashboard_as_it_is(name: str, dashboard: dict[str, Any]) -> None:
    drawn = (FOLDER / f"doorward-{name}.svg").read_text()
    shown = re.findall(r'class="t">([^<]+)<', drawn)
    titles = [escape(each["title"]) for each in dashboard["panels"] if each["type"] not in {"row", "text"}]
    assert shown == titles, "draw them anew: deploy/mixin/pictures.py"
    assert "no data" not in drawn
    assert len(drawn) <= LARGEST
    assert not re.search(r"127\.0\.0\.1|\b20\d\d-\d\d|[\s\"'>(](/[\w.-]+){2}", drawn), "an address, a date or a path"
