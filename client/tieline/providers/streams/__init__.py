"""What the bytes of an answer's body say. PURE: bytes in, values out, nothing raised.

An event stream (https://html.spec.whatwg.org/multipage/server-sent-events.html) is read in three steps:

- ``events.EventParser`` cuts the bytes into events, wherever the pieces of the body were cut. Lines may end
  with LF, CRLF or CR.
- ``protocols.Protocol`` judges one event. Each API has its own, chosen by the request's path: which events
  only announce an answer, which one is an error, and which one is the last.
- ``reader.StreamReader`` joins the two, and says how far the stream has come and how it ended as a whole.

The rules:

- Until the first output the request may still go to another pool, so an error before it is a failed attempt.
  Comments, chunks that carry only a role, filter results, and events such as ``response.created`` and
  ``keepalive`` are no output.
- An error after the first output is handed on as it came, and counts against the pool.
- A stream is complete when its protocol says so: chat completions by ``[DONE]``, or by a ``finish_reason`` of
  every choice and a clean end of the body; the others by the ``type`` of their last event; a protocol that is
  not known here by a clean end of the body. Where none of these came, the stream was cut, whatever errors
  came before. The openai SDK itself would not notice.
- How the body was cut into pieces changes nothing. tests/property/test_streams_property.py tries that with
  recorded streams of every protocol.

``usage`` reads the token counts of streams and of whole answers.
"""

from tieline.providers.streams.reader import BYTES_MAX, CHUNKS_MAX, Phase, StreamReader
from tieline.providers.streams.usage import TokenCounts, read_whole

__all__ = ["BYTES_MAX", "CHUNKS_MAX", "Phase", "StreamReader", "TokenCounts", "read_whole"]
