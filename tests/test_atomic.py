"""Files that appear whole or not at all, whoever else writes and however full the disk is."""

import errno
import os
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import torch
from conftest import make_speech

import codec
from codec.atomic import atomic_file, atomic_folder, atomic_path, workplace
from codec.errors import CodecError


@contextmanager
def largest_file(size: int):
    """No file may grow beyond ``size`` bytes: the system's own error, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".pt", ".rvq"])
def test_a_full_disk_is_told_with_the_users_path_and_the_systems_reason(tmp_path, tiny_model, suffix):
    path = tmp_path / f"out{suffix}"
    path.write_bytes(b"precious")
    wav = torch.from_numpy(make_speech(8.0))
    tokens = tiny_model.encode(wav)
    with largest_file(400), pytest.raises(CodecError) as info:
        if suffix in (".pt", ".rvq"):
            codec.save_tokens(path, tokens, tiny_model)
        else:
            codec.save_audio(path, wav, 16_000)
    message = str(info.value)
    assert message.startswith(f"{path}: cannot be written (file too large)")
    assert ".part" not in message
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == [path.name]


def test_a_model_that_does_not_fit_leaves_the_old_one(tmp_path, tiny_model):
    codec.save(tiny_model, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with largest_file(1_000), pytest.raises(CodecError, match="model.safetensors: cannot be written"):
        codec.save(tiny_model, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_writers_of_one_path_never_mix_their_files(tmp_path):
    """Many threads at once: each file that is ever there is one writer's, whole."""
    path, start, seen = tmp_path / "shared.bin", threading.Barrier(8), set()

    def write(number: int) -> None:
        start.wait()
        for _ in range(20):
            with atomic_file(path) as file:
                for _ in range(50):
                    file.write(bytes([number]) * 997)
            seen.add(path.read_bytes())

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert seen <= {bytes([number]) * 997 * 50 for number in range(8)}
    assert len(seen) > 1
    assert os.listdir(tmp_path) == [path.name]


def test_equal_process_numbers_do_not_share_a_temporary_file(tmp_path, monkeypatch):
    """Two containers on one folder: both are process 1."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with atomic_path(tmp_path / "out.bin") as one, atomic_path(tmp_path / "out.bin") as two:
        assert one != two
        one.write_bytes(b"one")
        two.write_bytes(b"two")
    assert (tmp_path / "out.bin").read_bytes() == b"one"


@pytest.mark.parametrize("length", [200, 243, 250, 255])
def test_the_longest_names_are_written(tmp_path, length):
    path = tmp_path / ("n" * (length - 4) + ".bin")
    with atomic_file(path) as file:
        file.write(b"x")
    assert path.read_bytes() == b"x"


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as info, atomic_path(tmp_path / "out.bin"):
        (tmp_path / "missing").read_bytes()
    assert info.value.errno == errno.ENOENT
    assert not list(tmp_path.iterdir())


def content_of(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "made" / "out"
    with atomic_folder(target) as temporary:
        (temporary / "a").write_text("1")
        assert not target.exists()
    with pytest.raises(KeyboardInterrupt), atomic_folder(target) as temporary:
        (temporary / "a").write_text("2")
        raise KeyboardInterrupt
    assert content_of(target) == {"a": "1"}
    with atomic_folder(target) as temporary:
        (temporary / "b").write_text("3")
    assert content_of(target) == {"b": "3"}
    assert os.listdir(target.parent) == ["out"]


def test_writers_of_one_folder_do_not_mix(tmp_path):
    def write(number):
        for _ in range(10):
            with atomic_folder(tmp_path / "out") as temporary:
                for name in "abc":
                    (temporary / name).write_text(str(number))

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(write, number) for number in range(4)]:
            future.result()
    values = set(content_of(tmp_path / "out").values())
    assert len(values) == 1 and os.listdir(tmp_path) == ["out"]


def test_folders_that_killed_writers_left_are_removed_later(tmp_path):
    old, new = tmp_path / ".0123456789abcdef.part", tmp_path / ".fedcba9876543210.part"
    for left in (old, new):
        left.mkdir()
    os.utime(old, (0, 0))
    with atomic_folder(tmp_path / "out"):
        pass
    # Of the other one nobody can know whether it is still written to.
    assert sorted(os.listdir(tmp_path)) == [new.name, "out"]


def test_long_work_resumes_in_the_folder_that_it_left_and_in_no_other(tmp_path):
    target = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt), workplace(target, "a") as first:
        (first / "a").write_text("half")
        raise KeyboardInterrupt
    another = workplace(tmp_path / "another", "a")
    with workplace(target, "a") as second, workplace(target, "a") as third, another as fourth:
        assert (second / "a").read_text() == "half"
        assert not (third / "a").exists() and not (fourth / "a").exists()
        (third / "a").write_text("other")
        (second / "a").write_text("whole")
    # The third one was ready first, and may be in use: it stays.
    assert content_of(target) == {"a": "other"}
    assert sorted(os.listdir(tmp_path)) == ["another", "out"]
    (target / "a").rename(target / "b")
    with workplace(target, "a") as last:
        (last / "a").write_text("last")
    assert content_of(target) == {"a": "last"}
