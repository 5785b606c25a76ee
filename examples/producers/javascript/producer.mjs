// Sends one report about a pool to Tieline. Settings: TIELINE_KAFKA, TIELINE_NAMESPACE, SOURCE.
import { randomUUID } from "node:crypto";
import { Kafka, logLevel } from "kafkajs";

const { TIELINE_KAFKA = "localhost:9092", TIELINE_NAMESPACE = "tieline", SOURCE = "prober" } = process.env;
const incarnation = randomUUID();
const now = Date.now();

const report = {
  type: "report.v1", source: SOURCE, provider: "azure", region: "swedencentral",
  incarnation, sequence: 1, interval_ms: 10_000,
  window_start_ms: now - 10_000, window_end_ms: now,
  pools: [
    {
      pool: "azure/swedencentral/gpt-4o",
      outcomes: { ok: 19, server_error: 1 },
      first_token_p50_ms: 210,
    },
  ],
};

// The structured mode: attributes and body in one JSON object. The binary mode has the attributes in headers.
const event = {
  specversion: "1.0", type: "tieline.report.v1", source: `/examples/${SOURCE}`, id: `${incarnation}-1`,
  time: new Date(now).toISOString(), datacontenttype: "application/json", data: report,
};

const producer = new Kafka({ brokers: TIELINE_KAFKA.split(","), logLevel: logLevel.ERROR }).producer();
await producer.connect();
const [sent] = await producer.send({
  topic: `${TIELINE_NAMESPACE}.reports`,
  acks: -1,
  messages: [
    {
      key: "azure/swedencentral",
      value: JSON.stringify(event),
      headers: { "content-type": "application/cloudevents+json" },
    },
  ],
});
console.log(`${sent.topicName} partition ${sent.partition} offset ${sent.baseOffset}`);
await producer.disconnect();
