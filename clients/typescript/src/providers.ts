/** Each provider's URL and authentication by the table's adapter, and where a secret may be sent. */

import type { Adapter } from "./table.ts";

const AZURE_API_VERSION = "2024-10-21"; // of the classic API; its v1 has no versions

/** The URL of a request. `path`: what follows `/v1`, query included; `model`: the pool's own name for it. */
export function urlFor(adapter: Adapter, baseUrl: string, path: string, model: string): string {
  const base = baseUrl.replace(/\/+$/, "");
  if (adapter !== "azure_classic") return base + path;
  const cut = path.indexOf("?");
  let query = cut < 0 ? "" : path.slice(cut + 1);
  if (!query.includes("api-version=")) query += `${query === "" ? "" : "&"}api-version=${AZURE_API_VERSION}`;
  const deployment = model === "" ? "" : `/deployments/${encodeURIComponent(model)}`;
  return `${base.replace(/\/openai$/, "")}/openai${deployment}${cut < 0 ? path : path.slice(0, cut)}?${query}`;
}

/** The header that carries the secret. `isToken`: it came from a function and expires. */
export function authFor(adapter: Adapter, secret: string, isToken: boolean): [name: string, value: string] {
  if (adapter === "anthropic" && !isToken) return ["x-api-key", secret];
  const isKeyOfAzure = !isToken && (adapter === "azure" || adapter === "azure_classic");
  return isKeyOfAzure ? ["api-key", secret] : ["authorization", `Bearer ${secret}`];
}

const AZURE = ["*.openai.azure.com", "*.cognitiveservices.azure.com", "*.services.ai.azure.com"];
const PROVIDER_HOSTS: Partial<Record<Adapter, readonly string[]>> = {
  azure: AZURE,
  azure_classic: AZURE,
  vertex: ["*.googleapis.com"],
  oci: ["inference.generativeai.*.oci.oraclecloud.com"],
  anthropic: ["api.anthropic.com", "*.services.ai.azure.com"],
};

/** There is no secret of that name that may be sent there. */
export class MissingCredentialError extends Error {
  override readonly name = "MissingCredentialError";
}

/**
 * Where secrets may be sent: the table names the URLs, and who can write a table could name another host.
 * Plain http is for this machine and for origins that the application names. A secret with hosts goes to
 * those; any other one to the hosts of its pool's provider, and never to two providers.
 */
export class Destinations {
  readonly #hostsOf: (name: string) => readonly string[];
  readonly #families = new Map<string, string>();

  constructor(hostsOf: (name: string) => readonly string[]) {
    this.#hostsOf = hostsOf;
  }

  /** Throws `MissingCredentialError` if the secret of this name must not be sent to `url`. */
  check(name: string, adapter: Adapter, url: string): void {
    const refusal = this.#refusal(name, adapter, url);
    if (refusal !== undefined) throw new MissingCredentialError(refusal);
  }

  #refusal(name: string, adapter: Adapter, url: string): string | undefined {
    const parts = new URL(url);
    const host = parts.hostname.replace(/^\[|\]$/g, "").toLowerCase();
    if (isLoopback(host)) return undefined;
    const hosts = this.#hostsOf(name);
    const origin = `${parts.protocol}//${parts.host}`;
    if (parts.protocol !== "https:" && !hosts.includes(origin)) {
      return `credential ${name} is not sent unencrypted to ${origin}: use https`;
    }
    const remedy = `give its hosts with it (${variableOf(name)}_HOSTS, or { secret, hosts })`;
    if (hosts.length > 0) {
      if (hosts.includes(origin) || hosts.some((pattern) => fits(host, pattern))) return undefined;
      return `credential ${name} is not for the host ${host}: ${remedy}`;
    }
    const family = adapter === "azure_classic" ? "azure" : adapter;
    const before = this.#families.get(name);
    if (before === undefined) this.#families.set(name, family);
    else if (before !== family) return `credential ${name} was sent to ${before} and is not for ${family}: ${remedy}`;
    const patterns = PROVIDER_HOSTS[adapter] ?? ["*"];
    if (patterns.some((pattern) => fits(host, pattern))) return undefined;
    return `credential ${name} is not for the host ${host}, which is none of ${adapter}'s: ${remedy}`;
  }
}

/** The environment variable that holds a secret: TIELINE_CREDENTIAL_AZURE_EU for azure-eu. */
export function variableOf(name: string): string {
  return `TIELINE_CREDENTIAL_${name.toUpperCase().replace(/[^A-Z0-9]/g, "_")}`;
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function fits(host: string, pattern: string): boolean {
  const parts = pattern.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`).test(host);
}
