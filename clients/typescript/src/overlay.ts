/** The emergency overlay: an operator excludes pools at every client at once, for at most four hours. It is
 * honoured only if one of the keys that the application gave has signed it (Ed25519). */

import { isObject, parsed } from "./answers.ts";

const LASTS_MAX_MS = 4 * 3_600_000;
const CLOCK_SKEW_MAX_MS = 60_000;
const OVERLAY_MAX_BYTES = 128 * 1024;
const DOMAIN = "tieline-overlay-1\n"; // signed with the payload
const RAW_KEY_BYTES = 32;

/** What is excluded: providers, provider/region, or whole pools. Unix milliseconds. */
export interface Overlay {
  readonly id: string;
  readonly exclude: readonly string[];
  readonly issuedMs: number;
  readonly expiresMs: number;
}

/** An overlay must not be honoured; the message says why. */
export class OverlayError extends Error {
  override readonly name = "OverlayError";
}

/** Public keys in PEM, by their names: the first 16 hex digits of the SHA-256 of the raw key. */
export async function publicKeys(pems: readonly string[]): Promise<ReadonlyMap<string, CryptoKey>> {
  const keys = await Promise.all(
    pems.map(async (pem) => {
      const der = bytesOf(pem.replace(/-----[^-]+-----|\s/g, ""));
      const key = await crypto.subtle.importKey("spki", der, "Ed25519", true, ["verify"]);
      const digest = await crypto.subtle.digest("SHA-256", der.slice(-RAW_KEY_BYTES));
      const hex = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      return [hex.slice(0, 16), key] as const;
    }),
  );
  return new Map(keys);
}

/** The overlay, if one of the keys signed it and it applies now. Throws `OverlayError`. */
export async function verified(
  data: Uint8Array, keys: ReadonlyMap<string, CryptoKey>, namespace: string, nowEpochMs: number,
): Promise<Overlay> {
  if (data.length > OVERLAY_MAX_BYTES) throw new OverlayError(`it takes more than ${OVERLAY_MAX_BYTES} bytes`);
  const signed = parsed(new TextDecoder().decode(data));
  if (!isObject(signed) || typeof signed.payload !== "string" || typeof signed.signature !== "string") {
    throw new OverlayError("not a signed overlay");
  }
  const key = keys.get(String(signed.key));
  if (key === undefined) {
    throw new OverlayError(`it is signed by the key ${String(signed.key)}, which is not among overlayKeys`);
  }
  const isSigned = await crypto.subtle.verify(
    "Ed25519", key, bytesOf(signed.signature), new TextEncoder().encode(DOMAIN + signed.payload),
  );
  if (!isSigned) throw new OverlayError(`its signature was not made with the key ${String(signed.key)}`);
  return checked(parsed(signed.payload), namespace, nowEpochMs);
}

function checked(payload: unknown, namespace: string, nowEpochMs: number): Overlay {
  if (!isObject(payload) || !Array.isArray(payload.exclude) || !payload.exclude.every((each) => typeof each === "string")) {
    throw new OverlayError("not an overlay");
  }
  const { id, issued_ms: issuedMs, expires_ms: expiresMs } = payload;
  if (typeof id !== "string" || typeof issuedMs !== "number" || typeof expiresMs !== "number") {
    throw new OverlayError("not an overlay");
  }
  if (payload.namespace !== namespace) {
    throw new OverlayError(`it is for the namespace ${String(payload.namespace)}, and this is ${namespace}`);
  }
  if (expiresMs <= issuedMs || expiresMs - issuedMs > LASTS_MAX_MS) {
    throw new OverlayError("it lasts for more than 4 h, or ends before it begins");
  }
  if (issuedMs > nowEpochMs + CLOCK_SKEW_MAX_MS) throw new OverlayError("it was issued in the future");
  if (expiresMs <= nowEpochMs) throw new OverlayError("it has expired");
  return { id, exclude: payload.exclude as string[], issuedMs, expiresMs };
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    throw new OverlayError("it is not in base64");
  }
}
