"""Progress bars: what is done out of how much, on standard error, and nothing where nobody should hear it."""

import re

import pytest

from codec.progress import ProgressBar, track


def shown(text: str) -> str:
    """The last state of the bar, without the terminal's codes."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).splitlines()[-1]


def test_a_bar_says_what_is_done_and_the_last_line_about_it(capsys):
    with ProgressBar("files", total=4, done=1) as bar:
        bar.advance()
        bar.advance(line="loss 0.5")
    said = capsys.readouterr()
    assert said.out == "" and re.search(r"files .*3/4 loss 0\.5", shown(said.err))


def test_a_total_may_come_later(capsys):
    with ProgressBar("clips", total=None) as bar:
        bar.set(2, 5)
        bar.show("")
    assert "2/5" in shown(capsys.readouterr().err)


def test_amounts_that_nobody_counts_are_not_written_out(capsys):
    with ProgressBar("extracting", total=10.5, counted=False) as bar:
        bar.advance(5.25, "1/2 clips")
    line = shown(capsys.readouterr().err)
    assert "extracting" in line and "1/2 clips" in line and "5.25" not in line


@pytest.mark.parametrize("settings", [{"quiet": True}, {"terminal_only": True}])
def test_a_quiet_bar_and_one_for_terminals_leave_no_trace_in_a_file(capsys, settings):
    with ProgressBar("training", total=4, **settings) as bar:
        bar.advance()
        bar.console.print("a line")
    said = capsys.readouterr()
    assert said.err == ("" if "quiet" in settings else "a line\n")


def test_tracking_hands_out_every_item_and_counts_them(capsys):
    assert list(track(iter("abc"), "decoding", 3)) == ["a", "b", "c"]
    assert "3/3" in shown(capsys.readouterr().err)
    assert list(track([], "decoding", 0, quiet=True)) == []
