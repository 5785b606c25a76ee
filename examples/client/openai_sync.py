"""The openai SDK, synchronous: the same without asyncio.

pip install openai
python examples/client/openai_sync.py SOURCE      (redis://..., https://controller:8440, or a last good file)
"""

import sys

from openai import OpenAI

import tieline

MODEL = "chat-large"


def main(source: str) -> None:
    """Asks twice."""
    with tieline.Client(source, workload="chat", origin="eu") as tl:
        if not tl.ready(timeout=5):
            print(f"not live: {tl.status.state}, {tl.status.error}")
        http = tl.http_client()
        with OpenAI(api_key="unused", base_url=tl.base_url, http_client=http, max_retries=0) as llm:
            raw = llm.chat.completions.with_raw_response.create(
                model=MODEL, messages=[{"role": "user", "content": "Where does it flow?"}], max_tokens=24
            )
            answer = raw.parse()
            print(f"{raw.headers['x-tieline-pool']}: {answer.choices[0].message.content}")
            chunks = llm.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "And on?"}], max_tokens=24, stream=True
            )
            for chunk in chunks:
                if chunk.choices and chunk.choices[0].delta.content:
                    print(chunk.choices[0].delta.content, end="", flush=True)
            print()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1])
