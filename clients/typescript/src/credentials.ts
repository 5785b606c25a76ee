/** Secrets by the name that the table gives: from the application, else from the environment. A secret is
 * asked for when a request needs it, and sent only where `Destinations` allows it. */

import { MissingCredentialError, variableOf } from "./providers.ts";

/** A secret, or a token that expires (60 s after it was given out, unless it says otherwise). */
export type Secret = string | { readonly token: string; readonly expiresInMs?: number };
export type SecretSource = string | (() => Secret | Promise<Secret>);
/** With `hosts` it may be sent to those hosts only; `*` in them stands for any text. */
export type Credential = SecretSource | { readonly secret: SecretSource; readonly hosts: readonly string[] };

const TOKEN_DEFAULT_MS = 60_000;
const RENEW_AT_SHARE = 0.75; // of a token's life
const FETCH_TIMEOUT_MS = 30_000;

interface Token {
  readonly value: Promise<string>;
  untilMs: number;
}

export class Credentials {
  readonly #sources: Readonly<Record<string, Credential>>;
  readonly #environment: Readonly<Record<string, string | undefined>>;
  readonly #clock: () => number;
  readonly #tokens = new Map<string, Token>();

  constructor(
    sources: Readonly<Record<string, Credential>>,
    environment: Readonly<Record<string, string | undefined>>,
    clock: () => number,
  ) {
    this.#sources = sources;
    this.#environment = environment;
    this.#clock = clock;
  }

  /** The hosts that were given with a secret; empty for none. */
  hostsOf(name: string): readonly string[] {
    const source = this.#sources[name];
    if (typeof source === "object") return source.hosts.map((host) => host.trim().toLowerCase());
    const listed = this.#environment[`${variableOf(name)}_HOSTS`] ?? "";
    return listed.split(",").map((host) => host.trim().toLowerCase()).filter((host) => host !== "");
  }

  /** The secret, and whether it is a token. Throws `MissingCredentialError`. */
  async get(name: string): Promise<{ secret: string; isToken: boolean }> {
    const entry = this.#sources[name];
    const source = typeof entry === "object" ? entry.secret : entry;
    if (typeof source === "function") return { secret: await this.#token(name, source), isToken: true };
    const secret = source ?? this.#environment[variableOf(name)];
    if (secret) return { secret, isToken: false };
    const remedy = `give it by credentials, or set ${variableOf(name)}`;
    throw new MissingCredentialError(`there is no credential ${name}: ${remedy}`);
  }

  /** A provider refused the token in use: the next request gets another one. */
  refused(name: string): void {
    this.#tokens.delete(name);
  }

  /** One call at a time: requests that come meanwhile wait for the same one. */
  async #token(name: string, source: () => Secret | Promise<Secret>): Promise<string> {
    let token = this.#tokens.get(name);
    if (token === undefined || this.#clock() >= token.untilMs) {
      token = { value: this.#fetched(name, source), untilMs: this.#clock() + FETCH_TIMEOUT_MS };
      this.#tokens.set(name, token);
    }
    return token.value;
  }

  async #fetched(name: string, source: () => Secret | Promise<Secret>): Promise<string> {
    try {
      const secret = await source();
      const [value, lifeMs] =
        typeof secret === "string" ? [secret, TOKEN_DEFAULT_MS] : [secret.token, secret.expiresInMs ?? TOKEN_DEFAULT_MS];
      const token = this.#tokens.get(name);
      if (token !== undefined) token.untilMs = this.#clock() + lifeMs * RENEW_AT_SHARE;
      return value;
    } catch (error) {
      this.#tokens.delete(name);
      throw new MissingCredentialError(`the function of credential ${name} failed: ${String(error)}`);
    }
  }
}
