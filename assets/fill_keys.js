// Keys that act in the Fill tab wherever the focus is, as long as no words are being typed: what people press out of habit.

import { commandOf } from "./canvas_keys.js";

const WORDS = "textarea, [contenteditable=true], [role=combobox], [role=listbox], input:not([type=range], [type=checkbox], [type=radio], [type=color], [type=file])";

/**
 * `room`: visible(); stepping(), whether a recorded step is painted on; current(), the document or null; settled(), which
 * resolves when the server has everything; notice(words); busy(work), which tells what went wrong.
 */
export function attachFillKeys(canvas, room) {
  async function save() {
    if (room.stepping()) return room.notice("What you paint on this step stays in this browser until you give it back.");
    if (!room.current()) return room.notice("No document is open, so there is nothing to save.");
    await room.settled();
    return room.notice("Everything is saved. Each change is, as soon as it is made.");
  }

  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || !room.visible()) return;
    if (event.target instanceof Element && event.target.closest(`${WORDS}, dialog`)) return;
    const saves = (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "s";
    const act = saves ? () => room.busy(save()) : (room.current() || room.stepping()) && commandOf(event, canvas);
    if (!act) return;
    event.preventDefault(); // also where the browser would do something of its own
    act();
  });
}
