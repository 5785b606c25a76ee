"""The background of `react`, a process of its own: 1,000 records/s of 19 pools each, evenly spread."""

import asyncio
import sys
import time

from aiokafka import AIOKafkaProducer

from bench._react_world import BACKGROUND_INTERVAL_MS, background_events
from tieline.cloudevents import encode
from tieline.topics import Topics

SLICES = 20  # of an interval: not all records at once


async def main(kafka: str) -> None:
    """Until killed; says `ready` when the first interval is out."""
    topic = Topics().reports.name
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks=1) as producer:
        sequence, due_s = 0, time.monotonic()
        while True:
            sequence += 1
            events = list(background_events(sequence, time.time_ns() // 1_000_000))
            for start in range(SLICES):
                for event in events[start::SLICES]:
                    record = encode(event, time_ms=event.window_end_ms)
                    await producer.send(topic, record.value, record.key, headers=record.headers)
                due_s += BACKGROUND_INTERVAL_MS / 1000 / SLICES
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            if sequence == 1:
                sys.stdout.write("ready\n")
                sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
