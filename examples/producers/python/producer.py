"""Sends one report about a pool to Tieline. Settings: TIELINE_KAFKA, TIELINE_NAMESPACE, SOURCE."""

import asyncio
import os
import secrets
import time

from tieline import Producer
from tieline.events import Outcomes, PoolObservation, Report


async def main() -> None:
    now_ms = int(time.time() * 1000)
    seen = PoolObservation(
        pool="azure/swedencentral/gpt-4o",
        outcomes=Outcomes(ok=19, server_error=1),
        first_token_p50_ms=210.0,
    )
    report = Report(
        source=os.environ.get("SOURCE", "prober"),
        provider="azure",
        region="swedencentral",
        incarnation=secrets.token_hex(8),
        sequence=1,
        window_start_ms=now_ms - 10_000,
        window_end_ms=now_ms,
        interval_ms=10_000,
        pools=(seen,),
    )
    kafka = os.environ.get("TIELINE_KAFKA", "localhost:9092")
    async with Producer(kafka, prefix=os.environ.get("TIELINE_NAMESPACE", "tieline")) as producer:
        sent = await producer.send(report)
    print(f"{sent.topic} partition {sent.partition} offset {sent.offset}")


asyncio.run(main())
