"""RESULTS.md says what was measured: its tables are those of the files beside it."""

from benchmarks import report


def test_the_page_says_what_the_files_say() -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    assert report.renewed(page, report.kept_results()) == page, "python -m benchmarks.report"


def test_a_result_with_a_plot_has_it() -> None:
    kept = report.kept_results()
    assert kept
    drawn = {name for name, each in kept.items() if each["plot"]}
    assert drawn == {path.stem for path in report.RESULTS.glob("*.svg")}


def test_a_figure_that_differs_is_written_anew_and_what_is_by_hand_stays() -> None:
    one = {"question": "How fast?", "command": "c", "commit": "abc", "date": "d", "machine": "m", "columns": ["µs"]}
    kept = {"speed": {**one, "rows": [["7"]], "notes": ["As seen."], "plot": False}}
    page = "By hand.\n\n<!-- speed -->\nformer\n<!-- /speed -->\n\nBy hand too.\n"
    new = report.renewed(page, kept)
    assert "former" not in new
    assert "| 7 |" in new
    assert new.startswith("By hand.\n")
    assert new.endswith("By hand too.\n")
    assert report.renewed(new, kept) == new
