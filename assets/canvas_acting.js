// The mask that acts, followed: whoever shows it is told when it is another one.

import { effectiveTiles } from "./canvas_mask_tiles.js";

/** `head()` answers the state. `turned(info, before, after)` is called with the tiles before and after. */
export function createActing(head, turned) {
  let made = { tiles: new Map(), count: 0, bounds: null, total: 0 };
  let preview = null; // {grow?, feather?} while a slider is dragged

  function now() {
    const state = head();
    if (!state) return made;
    const before = made;
    const acts = effectiveTiles({ ...state.mask, ...preview }, state.width, state.height);
    const total = state.width * state.height;
    if (acts.tiles === before.tiles && total === before.total) return made;
    made = { ...acts, total };
    turned(info(), before.tiles, made.tiles);
    return made;
  }

  const info = () => ({ count: made.count, total: made.total, share: made.total ? made.count / made.total : 0, bounds: made.bounds });

  return {
    /** Computes it, if it is another one, tells, and answers it. */
    now,
    info: () => (now(), info()),
    preview(values) {
      preview = values;
      now();
    },
  };
}
