"""Run by test_client_holders: one process of an application.

``python -m tests.integration.holders_child sync|async TABLE REDIS NAMESPACE create``: makes a response, waits
until Redis has been told, prints its id and the pool that holds it. With ``retrieve ID POOL`` instead: asks
for the response until the answer comes from that pool, and prints how many requests that took.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import openai

import tieline
from tests.waiting import until, until_sync

TRIES_MAX = 20


def client_arguments(redis_url: str, namespace: str) -> dict[str, Any]:
    """What the clients of both kinds are made with."""
    return {"workload": "chat", "origin": "eu", "namespace": namespace, "holders": redis_url}


def pool_of(raw: Any) -> str:
    """The pool that answered."""
    pool: str = raw.headers.get("x-tieline-pool", "")
    return pool


def run_sync(path: Path, arguments: dict[str, Any], job: list[str]) -> dict[str, Any]:
    """The job by the synchronous client."""
    with tieline.Client(path, **arguments) as client:
        assert client.ready(60)
        until_sync(lambda: shared_of(client).connected, what="a connection to Redis")
        http = client.http_client()
        with openai.OpenAI(api_key="x", base_url=client.base_url, http_client=http, max_retries=0) as llm:
            if job[0] == "create":
                raw = llm.responses.with_raw_response.create(model="m", input="hi")
                until_sync(lambda: not shared_of(client).unsent, what="the ids written")
                return {"id": raw.parse().id, "pool": pool_of(raw)}
            for number in range(1, TRIES_MAX + 1):
                try:
                    if pool_of(llm.responses.with_raw_response.retrieve(job[1])) == job[2]:
                        return {"requests": number}
                except openai.NotFoundError:
                    continue
    return {"requests": None}


async def run_async(path: Path, arguments: dict[str, Any], job: list[str]) -> dict[str, Any]:
    """The job by the asynchronous client."""
    async with tieline.AsyncClient(path, **arguments) as client:
        assert await client.ready(60)
        await until(lambda: shared_of(client).connected, what="a connection to Redis")
        http = client.http_client()
        async with openai.AsyncOpenAI(
            api_key="x", base_url=client.base_url, http_client=http, max_retries=0
        ) as llm:
            if job[0] == "create":
                raw = await llm.responses.with_raw_response.create(model="m", input="hi")
                await until(lambda: not shared_of(client).unsent, what="the ids written")
                return {"id": raw.parse().id, "pool": pool_of(raw)}
            for number in range(1, TRIES_MAX + 1):
                try:
                    if pool_of(await llm.responses.with_raw_response.retrieve(job[1])) == job[2]:
                        return {"requests": number}
                except openai.NotFoundError:
                    continue
    return {"requests": None}


def shared_of(client: tieline.Client | tieline.AsyncClient) -> Any:
    """The part of a client that shares holders."""
    return client.core.shared_holders


def main(kind: str, path: Path, redis_url: str, namespace: str, job: list[str]) -> None:
    """Does the job and prints one line."""
    arguments = client_arguments(redis_url, namespace)
    if kind == "sync":
        report = run_sync(path, arguments, job)
    else:
        report = asyncio.run(run_async(path, arguments, job))
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:])
