/** What a client says about itself. */

/** `initializing`: started, without a table. `last_good`: with the table from the file; the endpoint has not
 * answered yet. `live`: within the stale limit the endpoint answered. `stale`: it did not, and requests go on
 * with the table in force. `off`: not started, or closed. */
export type State = "initializing" | "live" | "stale" | "last_good" | "off";

/** `ageMs`: since the endpoint last answered. `error`: what is wrong with it; "" when nothing is. `overlay`: the
 * id of the emergency overlay in force; `overlayError`: why one is refused. */
export interface Status {
  readonly state: State;
  readonly generation: string;
  readonly ageMs: number | undefined;
  readonly error: string;
  readonly fileError: string;
  readonly overlay: string;
  readonly overlayError: string;
  readonly reportsDropped: number;
}
