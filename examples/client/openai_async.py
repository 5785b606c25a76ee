"""The openai SDK, asynchronous: a whole answer, then a stream, over whatever pool the route table says.

pip install openai
python examples/client/openai_async.py SOURCE      (redis://..., https://controller:8440, or a last good file)
"""

import asyncio
import sys

from openai import AsyncOpenAI

import tieline

MODEL = "chat-large"


async def main(source: str) -> None:
    """Asks twice."""
    async with tieline.AsyncClient(source, workload="chat", origin="eu") as tl:
        if not await tl.ready(timeout=5):
            print(f"not live: {tl.status.state}, {tl.status.error}")
        http = tl.http_client()
        async with AsyncOpenAI(
            api_key="unused", base_url=tl.base_url, http_client=http, max_retries=0
        ) as llm:
            with tieline.options(session="conversation-42", deadline=20):
                raw = await llm.chat.completions.with_raw_response.create(
                    model=MODEL, messages=[{"role": "user", "content": "Where does it flow?"}], max_tokens=24
                )
                answer = raw.parse()
                print(f"{raw.headers['x-tieline-pool']}: {answer.choices[0].message.content}")
                chunks = await llm.chat.completions.create(
                    model=MODEL,
                    messages=[{"role": "user", "content": "And on?"}],
                    max_tokens=24,
                    stream=True,
                )
                async for chunk in chunks:
                    if chunk.choices and chunk.choices[0].delta.content:
                        print(chunk.choices[0].delta.content, end="", flush=True)
                print()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1]))
