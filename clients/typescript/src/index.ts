/** What applications use of this package. */

export type { Needs, Reason, ResultClass, Route, Shed, Target } from "./outcome.ts";
export type { Generation, Table } from "./table.ts";
export { TableError, decodeTable } from "./table.ts";
export { Router } from "./router.ts";
