"""Lines that only ever grow: whatever moment a write was stopped at, what was whole before is still there."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.eval.store import ResultStore
from codec.eval.types import Row
from codec.jsonl import append_lines, read_lines
from codec.train.logs import forget_after

TEXT = st.text().map(lambda text: json.dumps({"text": text}, ensure_ascii=False))


@given(first=st.lists(TEXT, max_size=4), second=st.lists(TEXT, min_size=1, max_size=3), cut=st.integers(0, 200))
def test_a_torn_line_is_not_read_and_does_not_join_the_next(first, second, cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("lines") / "new" / "x.jsonl"
    append_lines(path, first)
    data = path.read_bytes()
    cut = min(cut, len(data))
    path.write_bytes(data[:cut])
    whole = data[:cut].count(b"\n")
    assert [line.decode() for line in read_lines(path)] == first[:whole]
    append_lines(path, second)
    assert [line.decode() for line in read_lines(path)] == [*first[:whole], *second]


def test_there_are_no_lines_where_there_is_no_file(tmp_path):
    assert read_lines(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("torn", [b"", b'{"key": "b", "system"', b"\xe2\x80"])
def test_results_of_a_killed_run_are_kept_and_the_torn_one_is_made_again(tmp_path, torn):
    path = tmp_path / "results.jsonl"
    # A line break inside a reason, which some readers take for the end of the line.
    row = Row("a", "codec@8", "clip", "mel", {"mel": 1.0}, skipped=None)
    odd = Row("c", "codec@8", "clip", "pesq", skipped="first\u2028second")
    ResultStore(path).add([row, odd])
    with path.open("ab") as file:
        file.write(torn)
    store = ResultStore(path)
    assert store.rows == {"a": row, "c": odd}
    again = Row("b", "codec@8", "clip", "stoi", {"stoi": 0.5})
    store.add([again])
    assert ResultStore(path).rows == {"a": row, "c": odd, "b": again}


def test_a_resumed_log_forgets_what_will_be_written_again(tmp_path):
    path = tmp_path / "log.jsonl"
    append_lines(path, [json.dumps({"step": step}) for step in (1, 2, 3)])
    with path.open("a") as file:
        file.write('{"step": 1')
    forget_after(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    forget_after(tmp_path / "none.jsonl", 2)
    assert not (tmp_path / "none.jsonl").exists()
