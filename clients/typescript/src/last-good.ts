/** The last good table on disk, for starts without an endpoint: three lines, of which the second is the
 * SHA-256 of the third. Needs Node. */

import { parsed } from "./answers.ts";
import { type Table, TableError, decodeTable } from "./table.ts";

const MAGIC = "tieline-table-json-1";
const FILE_MAX_BYTES = 16 * 1024 * 1024;

/** The table in the file; undefined if there is no file. Throws `TableError` for one that can't be used, also
 * when it lacks one of the routes: what one workload or origin may use can be forbidden to another. */
export async function readLastGood(
  path: string, workload: string, origins: readonly string[],
): Promise<Table | undefined> {
  const text = await contentOf(path);
  if (text === undefined) return undefined;
  const [magic, digest, ...rest] = text.split("\n");
  const body = rest.join("\n");
  if (magic !== MAGIC || digest !== (await digestOf(body))) {
    throw new TableError(`${path}: damaged, or not a last good table`);
  }
  const table = decodeTable(parsed(body));
  const missing = origins.find((origin) => table.routes.get(origin)?.workload !== workload);
  if (missing !== undefined) throw new TableError(`${path}: has no route ${workload}/${missing}`);
  return table;
}

/** Write a table so that a reader sees the old file or the new one, never a part. Throws what the file system
 * throws. */
export async function writeLastGood(path: string, body: string): Promise<void> {
  const { open, rename, rm } = await import("node:fs/promises");
  const temporary = `${path}.${process.pid}.new`;
  try {
    const file = await open(temporary, "w", 0o600);
    try {
      await file.writeFile(`${MAGIC}\n${await digestOf(body)}\n${body}`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function contentOf(path: string): Promise<string | undefined> {
  const { readFile, stat } = await import("node:fs/promises");
  try {
    if ((await stat(path)).size > FILE_MAX_BYTES) throw new TableError(`${path}: larger than ${FILE_MAX_BYTES} bytes`);
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error instanceof TableError ? error : new TableError(`${path}: ${String(error)}`);
  }
}

async function digestOf(body: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(body));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
