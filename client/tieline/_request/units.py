"""PURE. How much load a request is, before and after it is answered. Units are tokens, prompt and answer
together."""

from tieline._request.body import CHARACTERS_PER_TOKEN

_WEIGHT = 0.05
_RATIO_MIN, _RATIO_MAX = 0.05, 4.0
COMPLETION_DEFAULT = 256.0


class Estimator:
    """Learns from the usage that answers name how long prompts are per byte of body, and how long answers
    get."""

    __slots__ = ("_completion", "_ratio")

    def __init__(self) -> None:
        self._ratio = 1.0
        self._completion = COMPLETION_DEFAULT

    def expect(self, body_bytes: int, output_tokens_max: int | None) -> float:
        """Units that a request will probably take."""
        completion = self._completion
        if output_tokens_max is not None:
            completion = min(completion, output_tokens_max)
        return self.prompt(body_bytes) + completion

    def prompt(self, body_bytes: int) -> float:
        """Units of the prompt alone."""
        return body_bytes / CHARACTERS_PER_TOKEN * self._ratio

    def learn(self, body_bytes: int, prompt_tokens: int, completion_tokens: int) -> None:
        """What one answer said it took."""
        if body_bytes > 0:
            ratio = min(max(prompt_tokens * CHARACTERS_PER_TOKEN / body_bytes, _RATIO_MIN), _RATIO_MAX)
            self._ratio += _WEIGHT * (ratio - self._ratio)
        self._completion += _WEIGHT * (completion_tokens - self._completion)
