// Keys that act in the Fill tab wherever the focus is, as long as no words are being typed: what people press out of habit.

import { choosesTool, commandOf } from "./canvas_keys.js";

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

  // A letter goes to the canvas after a click on a slider or a layer, as in every painting program. Not so while somebody
  // goes through the page by Tab: then a letter that is pressed by mistake, or said to a machine, shall do nothing.
  let tabbing = false;
  addEventListener("keydown", ({ key }) => key === "Tab" && (tabbing = true), { capture: true });
  addEventListener("pointerdown", () => (tabbing = false), { capture: true });

  function toCanvas(event) {
    if (tabbing || event.isComposing || canvas.empty || !choosesTool(event) || event.target.closest?.("[role=menu]")) return;
    event.preventDefault();
    canvas.focus();
    const { key, shiftKey, repeat } = event;
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, shiftKey, repeat, bubbles: true, cancelable: true }));
  }

  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || !room.visible()) return;
    if (event.target instanceof Element && event.target.closest(`${WORDS}, dialog`)) return;
    const saves = (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "s";
    const act = saves ? () => room.busy(save()) : (room.current() || room.stepping()) && commandOf(event, canvas);
    if (!act) return toCanvas(event);
    event.preventDefault(); // also where the browser would do something of its own
    return act();
  });
}
