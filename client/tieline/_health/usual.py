"""PURE. How long the answers of each pool and model usually take, by what this process has seen of them."""

from msgspec import Struct

SAMPLES_MIN = 20  # before that nothing is usual yet
SAMPLES_FEW = 5  # enough to tell a hang from an impatient caller, which costs nothing where it errs
HANG_FACTOR = 3
_RISE = 0.5  # of the difference, with each answer that took longer than the estimate
_FALL = 0.01  # of the difference, with each that was quicker
MODELS_MAX = 4_096


class Peak(Struct):
    """A smoothed 99th percentile, roughly: it rises fast with slow answers and falls slowly with quick ones,
    so that about one answer in a hundred takes longer."""

    value_ms: float = 0.0
    count: int = 0

    def add(self, sample_ms: float) -> None:
        """One more answer took so long."""
        share = _RISE if sample_ms > self.value_ms else _FALL
        self.value_ms += (share if self.count else 1.0) * (sample_ms - self.value_ms)
        self.count += 1

    @property
    def usual_ms(self) -> float:
        """What is usual; 0 before there were 20 answers."""
        return self.value_ms if self.count >= SAMPLES_MIN else 0.0

    @property
    def lately_ms(self) -> float:
        """What took long among the answers so far; 0 before there were 5."""
        return self.value_ms if self.count >= SAMPLES_FEW else 0.0


class Usual:
    """By pool and model: first outputs of streams, and whole answers. Written by one thread at a time; a
    reader may be one answer late."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], Peak] = {}
        self._whole: dict[tuple[str, str], Peak] = {}

    def learn(self, pool: str, model: str, *, first_token_ms: float | None, whole_ms: float | None) -> None:
        """One answer ended well. None: it was of the other kind."""
        for peaks, sample_ms in ((self._first, first_token_ms), (self._whole, whole_ms)):
            if sample_ms is None:
                continue
            peak = peaks.get((pool, model))
            if peak is None:
                if len(peaks) >= MODELS_MAX:
                    peaks.clear()  # tables name far fewer: whatever filled this is no model that is used
                peak = peaks[pool, model] = Peak()
            peak.add(sample_ms)

    def first_token_ms(self, pool: str, model: str) -> float:
        """What the first output of a stream usually takes there; 0 while that is unknown."""
        peak = self._first.get((pool, model))
        return peak.usual_ms if peak is not None else 0.0

    def whole_ms(self, pool: str, model: str) -> float:
        """What a whole answer usually takes there; 0 while that is unknown."""
        peak = self._whole.get((pool, model))
        return peak.usual_ms if peak is not None else 0.0

    def lately_ms(self, pool: str, model: str, *, is_stream: bool) -> float:
        """What took long among the answers so far; 0 while they are too few to tell."""
        peak = (self._first if is_stream else self._whole).get((pool, model))
        return peak.lately_ms if peak is not None else 0.0

    def is_hang(self, pool: str, model: str, waited_ms: float, *, is_stream: bool) -> bool:
        """Whether an attempt without an answer has been waited for three times as long as the slow ones among
        the pool's answers take. False while those are too few to tell."""
        return 0 < HANG_FACTOR * self.lately_ms(pool, model, is_stream=is_stream) <= waited_ms
