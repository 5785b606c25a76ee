/** Every case of tests/conformance gives here what it gives in the Python client. CONFORMANCE names the
 * directory of the cases where it is not that of the repository. */

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { Affinity } from "../src/affinity.ts";
import {
  NO_ERROR, type Reading, asTold, errorInBody, readingOfError, readingOfStatus,
} from "../src/answers.ts";
import { withoutExcluded } from "../src/exclusion.ts";
import { crc32 } from "../src/hashes.ts";
import { retryAfterMs, waitingForStream, waitingForTrial, waitingForWhole } from "../src/limits.ts";
import { Destinations, authFor, urlFor } from "../src/providers.ts";
import { StreamReader } from "../src/streams.ts";
import { type Split, TableError, decodeOffer, decodeSettings, decodeTable, isNewer } from "../src/table.ts";
import { judge } from "../src/whole.ts";
import { type Json, Player } from "./player.ts";

const FOLDER = process.env.CONFORMANCE ?? fileURLToPath(new URL("../../../tests/conformance", import.meta.url));

function rowOf({ result, blame, elsewhere, again, topic }: Reading): unknown[] {
  return [result, blame, elsewhere, again, topic ?? null];
}

function weightsOf({ rows }: Split): unknown[] {
  return rows.map(({ info, weight }) => [info.pool, weight]);
}

const SETTINGS = decodeSettings({});

const KINDS: Record<string, (given: Json) => unknown> = {
  affinity: ({ weights, out, sessions }) => {
    const affinity = new Affinity(weights);
    const names: [string, string][] = weights.map(([pool]: [string, number]) => [pool, pool]);
    const poolsIn = new Map(names.filter(([pool]) => !out.includes(pool)));
    const { owners } = affinity;
    return {
      pools: sessions.map((session: string) => affinity.follow(crc32(session), poolsIn) ?? null),
      owners_crc32: crc32(owners.join(",")),
      first_owners: owners.slice(0, 16),
    };
  },
  answers: ({ status, body, names_model, names_deployment, should_retry }) => {
    const error = errorInBody(body);
    if (status === null) return rowOf(readingOfError(error, names_model));
    return rowOf(asTold(readingOfStatus(status, error, names_model, names_deployment), should_retry ?? null));
  },
  bodies: ({ body, is_creation, retry_empty }) => {
    const { reading, usage, error = NO_ERROR } = judge(body, is_creation, retry_empty);
    return { reading: rowOf(reading), usage: usage ?? null, names: error.names };
  },
  destinations: ({ hosts, urls }) => {
    const destinations = new Destinations(() => hosts);
    return urls.map(([adapter, url]: [never, string]) => {
      try {
        destinations.check("key", adapter, url);
        return true;
      } catch {
        return false;
      }
    });
  },
  exclusions: ({ table, exclude }) => {
    const routes = [...withoutExcluded(decodeTable(table), exclude).routes];
    const rows = routes.map(([origin, { split, onLoss, lastResort }]) => {
      const losses = [...onLoss].map(([provider, loss]) => [provider, weightsOf(loss)]);
      const last_resort = lastResort.map(({ pool }) => pool);
      return [origin, { pools: weightsOf(split), shed_ppm: split.shed, on_loss: Object.fromEntries(losses), last_resort }];
    });
    return Object.fromEntries(rows);
  },
  limits: ({ stream, offer, usual_ms, left_ms, part_ms, output_tokens_max, is_costly, lately_ms }) => {
    const attempted = {
      settings: SETTINGS,
      offer: offer === null ? undefined : decodeOffer(offer),
      usualMs: usual_ms,
      leftMs: left_ms,
      partMs: part_ms ?? undefined,
    };
    const tokens = output_tokens_max ?? undefined;
    let waiting = stream ? waitingForStream(attempted) : waitingForWhole(attempted, tokens, is_costly);
    if (lately_ms !== null) waiting = waitingForTrial(waiting, SETTINGS, lately_ms);
    return [waiting.silenceMs, waiting.wholeMs, waiting.ownMs];
  },
  shapes: ({ adapter, url, path, model, secret, is_token }) => ({
    url: urlFor(adapter, url, path, model),
    header: authFor(adapter, secret, is_token),
  }),
  streams: ({ path, answers, text, piece_bytes, clean }) => {
    const reader = new StreamReader(path, answers);
    const data = new TextEncoder().encode(text);
    let first: number | null = null;
    for (let at = 0; at < data.length; at += piece_bytes) {
      const phase = reader.feed(data.subarray(at, at + piece_bytes));
      if (phase !== "waiting") first ??= at / piece_bytes;
    }
    const ended_before_close = reader.hasEnded;
    const result = reader.close(clean);
    const { phase, hasEnded: ended, error, usage = null, events } = reader;
    return { first_piece: first, phase, ended_before_close, ended, has_error: error !== undefined, result, usage, events };
  },
  tables: ({ table, in_force }) => {
    try {
      const { generation } = decodeTable(table);
      const before = in_force && decodeTable(in_force).generation;
      const same_lineage = !before || before.lineage === generation.lineage;
      return { usable: true, same_lineage, newer: isNewer(generation, before) };
    } catch (error) {
      if (error instanceof TableError) return { usable: false };
      throw error;
    }
  },
  waits: ({ headers, now_epoch_ms }) => retryAfterMs(new Headers(headers), now_epoch_ms) ?? null,
};

for (const file of readdirSync(FOLDER).sort()) {
  const kind = file.replace(/\.json$/, "");
  const cases: Json[] = JSON.parse(readFileSync(`${FOLDER}/${file}`, "utf8"));
  test(`${kind}: ${cases.length} cases`, () => {
    for (const given of cases) check(kind, given);
  });
}

function check(kind: string, given: Json): void {
  if (given.steps === undefined) {
    assert.deepEqual(plain(KINDS[kind](given)), given.gives, given.name);
    return;
  }
  const player = new Player(given);
  given.steps.forEach((step: Json, number: number) => {
    assert.deepEqual(plain(player.play(step)), step.gives, `${given.name}, step ${number}: ${step.do}`);
  });
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
