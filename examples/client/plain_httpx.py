"""Without any SDK: httpx, and picking by hand for what is no HTTP at all.

pip install httpx
python examples/client/plain_httpx.py SOURCE      (redis://..., https://controller:8440, or a last good file)
"""

import asyncio
import sys

import tieline

MODEL = "chat-large"
MESSAGES = [{"role": "user", "content": "Where does it flow?"}]


async def main(source: str) -> None:
    """One routed request, then one that is only picked and reported."""
    async with tieline.AsyncClient(source, workload="chat", origin="eu") as tl:
        await tl.ready(timeout=5)
        async with tl.http_client(library="httpx", base_url=tl.base_url) as http:
            body = {"model": MODEL, "messages": MESSAGES, "max_tokens": 24}
            answer = await http.post("/chat/completions", json=body)
            print(answer.status_code, answer.headers["x-tieline-pool"], answer.headers["x-tieline-attempts"])
        match tl.pick(MODEL):
            case tieline.Route() as route:
                print(f"send it to {route.url} as {route.model}")  # your own way of sending
                route.report(tieline.Outcome(tieline.ResultClass.OK, units=24, first_token_ms=210.0))
            case tieline.Shed() as shed:
                print(f"not now: {shed.text}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1]))
