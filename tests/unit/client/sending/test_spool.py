"""What waits on disk: the newest of each key, in order, until it is done or has expired, over restarts."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.client.made_tables import Time
from tieline._sending.spool import Spool
from tieline.cloudevents import Encoded

NOW_MS = 1_790_000_000_000


def record(key: str, text: str, *, padding: int = 0) -> Encoded:
    """A record with this key."""
    return Encoded(key.encode(), text.encode() + b" " * padding, [("ce_id", text.encode())])


def opened(directory: Path, time: Time, *, bytes_max: int = 100_000, segment_bytes: int = 300) -> Spool:
    """The spool in a directory."""
    return Spool(directory, now_ms=time, bytes_max=bytes_max, segment_bytes=segment_bytes)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """An empty spool."""
    with closing(opened(tmp_path, Time(NOW_MS))) as empty:
        yield empty


def waiting(spool: Spool) -> list[str]:
    """The bodies that wait, the oldest first."""
    return [entry.encoded.value.decode().strip() for entry in spool.oldest(1_000)]


def test_the_newest_of_a_key_takes_the_place_of_the_one_before(spool: Spool) -> None:
    """On another topic the same key is another one. The order is that of the newest."""
    spool.put("statements", record("azure/eastus", "first"), None)
    spool.put("statements", record("gcp/us-east1", "second"), None)
    spool.put("capacity", record("azure/eastus", "third"), None)
    spool.put("statements", record("azure/eastus", "fourth"), None)
    assert waiting(spool) == ["second", "third", "fourth"]


def test_what_waits_outlives_the_process(tmp_path: Path) -> None:
    """Headers and expiry too; what was finished does not come back."""
    time = Time(NOW_MS)
    spool = opened(tmp_path, time)
    first = spool.put("statements", record("a", "first"), NOW_MS + 5_000)
    spool.put("statements", record("b", "second"), None)
    spool.put("capacity", record("c", "third"), NOW_MS + 1_000)
    spool.finish(first)
    spool.close()
    again = opened(tmp_path, time)
    assert waiting(again) == ["second", "third"]
    assert again.oldest(1)[0].encoded == record("b", "second")
    time.pass_ms(1_000)
    again.drop_expired()
    assert (waiting(again), again.dropped_expired) == (["second"], 1)
    again.close()
    with closing(opened(tmp_path, time)) as third:
        assert waiting(third) == ["second"]


def test_an_entry_that_was_replaced_is_not_finished_by_the_older_one(spool: Spool) -> None:
    """The acknowledgement of the older record leaves the newer one waiting."""
    older = spool.put("capacity", record("a", "older"), None)
    spool.put("capacity", record("a", "newer"), None)
    spool.finish(older)
    assert waiting(spool) == ["newer"]


def test_the_oldest_make_way_when_too_much_waits(tmp_path: Path) -> None:
    """They are counted."""
    spool = opened(tmp_path, Time(NOW_MS), bytes_max=700)
    for number in range(5):
        spool.put("capacity", record(f"key{number}", f"text{number}", padding=200), None)
    assert waiting(spool) == ["text3", "text4"]
    assert spool.dropped_full == 3
    spool.close()


def test_the_files_stay_bounded(tmp_path: Path) -> None:
    """Also when one old entry waits for ever while others come and go: it is written anew."""
    spool = opened(tmp_path, Time(NOW_MS), bytes_max=2_000)
    spool.put("capacity", record("old", "old"), None)
    for number in range(80):
        spool.put("capacity", record("new", f"text{number}", padding=200), None)
        assert spool.sync()
        assert sum(path.stat().st_size for path in tmp_path.glob("*.segment")) <= 3 * 2_000
    assert waiting(spool) == ["old", "text79"]
    spool.close()
    with closing(opened(tmp_path, Time(NOW_MS))) as again:
        assert waiting(again) == ["old", "text79"]


def test_an_entry_that_is_written_anew_keeps_its_place(tmp_path: Path) -> None:
    """The order is that of the puts, wherever the entries lie in the files."""
    spool = opened(tmp_path, Time(NOW_MS), bytes_max=1_000)
    for name in ("old", "second"):
        spool.put("capacity", record(name, name, padding=250), None)
    while (tmp_path / f"{1:012}.segment").exists():
        spool.put("capacity", record("new", "new", padding=50), None)
        assert spool.sync()
    spool.close()
    with closing(opened(tmp_path, Time(NOW_MS))) as again:
        assert waiting(again) == ["old", "second", "new"]


def test_a_disk_that_takes_nothing_leaves_what_waits_in_memory(tmp_path: Path) -> None:
    """And says so."""
    spool = opened(tmp_path / "spool", Time(NOW_MS), segment_bytes=1)
    spool.put("capacity", record("a", "first"), None)
    (tmp_path / "spool").rename(tmp_path / "gone")
    spool.put("capacity", record("b", "second"), None)
    assert waiting(spool) == ["first", "second"]
    assert "can't be written to: No such file" in spool.error
    spool.close()


Step = tuple[str, int, int]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 4), st.integers(0, 60)),
        st.tuples(st.just("finish"), st.integers(0, 10), st.just(0)),
        st.tuples(st.just("pass"), st.integers(0, 40), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=40)  # each waits for the disk
@given(steps)
def test_it_holds_exactly_what_a_simple_model_holds(
    tmp_path_factory: pytest.TempPathFactory, taken: list[Step]
) -> None:
    """Whatever is put, finished, expires and is opened again, in whatever order."""
    directory, time = tmp_path_factory.mktemp("spool"), Time(NOW_MS)
    spool = opened(directory, time, bytes_max=600, segment_bytes=120)
    model: dict[str, tuple[str, int]] = {}  # by key: the body, and its expiry
    for number, (verb, first, second) in enumerate(taken):
        if verb == "put":
            key, text, expiry_ms = f"key{first}", f"text{number}", time() + second
            dropped = spool.dropped_full
            spool.put("capacity", record(key, text), expiry_ms)
            model = {name: entry for name, entry in model.items() if entry[1] > time() and name != key}
            model[key] = (text, expiry_ms)
            for _ in range(spool.dropped_full - dropped):
                del model[next(iter(model))]
        elif verb == "finish" and (entries := spool.oldest(first + 1)):
            spool.finish(entries[-1].number)
            del model[entries[-1].encoded.key.decode()]
        elif verb == "pass":
            time.pass_ms(first)
        elif verb == "reopen":
            spool.close()
            spool = opened(directory, time, bytes_max=600, segment_bytes=120)
        assert waiting(spool) == [text for text, _ in model.values()]
    spool.close()
