// The newest picture as the server sent it. The server sends everything first, then only what changes.

export const state = { sections: {}, atMs: 0, aheadMs: 0, heardMs: 0 };

// The server's time now, by this machine's clock corrected with what the server said last.
export const now = () => Date.now() + state.aheadMs;

// Takes in one message; returns the names of the sections that changed.
export function take(message) {
  state.atMs = message.at_ms;
  state.aheadMs = message.at_ms - Date.now();
  const changed = new Set(Object.keys(message.sections));
  Object.assign(state.sections, message.sections);
  for (const [name, rows] of Object.entries(message.rows ?? {})) {
    state.sections[name] = { ...state.sections[name], ...rows };
    changed.add(name);
  }
  for (const [name, keys] of Object.entries(message.gone ?? {})) {
    for (const key of keys) delete state.sections[name][key];
    changed.add(name);
  }
  return changed;
}
