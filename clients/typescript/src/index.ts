/** What applications use of this package. */

export { Client, type ClientOptions } from "./client.ts";
export type { Credential, Secret } from "./credentials.ts";
export type { Outcome } from "./exchange.ts";
export type { Blame, Needs, Reason, ResultClass, Route, Shed, Target } from "./outcome.ts";
export { StreamBrokenError } from "./relay.ts";
export type { PoolView } from "./router.ts";
export type { State, Status } from "./status.ts";
