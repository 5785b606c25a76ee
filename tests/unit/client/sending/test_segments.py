"""The spool's files: what was appended is read again, whatever the process and the disk did meanwhile."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline._sending.segments import Segments
from tieline.errors import ConfigurationError


def payloads(directory: Path) -> list[bytes]:
    """What a new process would read."""
    segments = Segments(directory)
    try:
        return [payload for _, payload in segments.read()]
    finally:
        segments.close()


def test_records_are_read_in_the_order_in_which_they_were_appended(tmp_path: Path) -> None:
    """Over several segments, and what the next process appends comes behind them."""
    segments = Segments(tmp_path / "spool", segment_bytes=100)
    written = [bytes([number]) * 40 for number in range(10)]
    for payload in written:
        segments.append(payload)
    assert len(segments.numbers) == 4
    segments.close()
    later = Segments(tmp_path / "spool")
    later.append(b"later")
    later.close()
    assert payloads(tmp_path / "spool") == [*written, b"later"]


def test_one_process_at_a_time_has_the_directory(tmp_path: Path) -> None:
    """The second one is told so, and gets it when the first has closed it."""
    first = Segments(tmp_path)
    with pytest.raises(ConfigurationError, match="another process uses it: give each producer"):
        Segments(tmp_path)
    first.close()
    Segments(tmp_path).close()


def test_a_directory_that_can_not_be_made_is_a_setting_that_can_not_work(tmp_path: Path) -> None:
    """The error names the directory."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"file/spool: it can't be used"):
        Segments(tmp_path / "file" / "spool")


def test_a_child_process_does_not_keep_the_directory_locked(tmp_path: Path) -> None:
    """When the parent has closed it, another process can have it although the child still runs."""
    segments = Segments(tmp_path)
    (ready, tell_ready), (end, tell_end) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(tell_ready, b"x")
        os.read(end, 1)
        os._exit(0)
    try:
        os.read(ready, 1)
        segments.close()
        Segments(tmp_path).close()
    finally:
        os.write(tell_end, b"x")
        os.waitpid(child, 0)
        for descriptor in (ready, tell_ready, end, tell_end):
            os.close(descriptor)


@settings(max_examples=40)  # each waits for the disk
@given(st.lists(st.binary(max_size=30), min_size=1, max_size=8), st.data())
def test_a_torn_end_costs_only_the_record_that_was_torn(
    tmp_path_factory: pytest.TempPathFactory, written: list[bytes], data: st.DataObject
) -> None:
    """Cut anywhere, or with a byte turned around, the records before that place are read."""
    directory = tmp_path_factory.mktemp("spool")
    segments = Segments(directory)
    for payload in written:
        segments.append(payload)
    segments.close()
    (path,) = directory.glob("*.segment")
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(whole[:place])
    else:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
    ends = [sum(8 + len(payload) for payload in written[: count + 1]) for count in range(len(written))]
    before = sum(end <= place for end in ends)
    assert payloads(directory) == written[:before]
