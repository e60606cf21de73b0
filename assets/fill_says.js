// Words over the canvas and for screen readers.

import { button, h } from "./dom.js";
import { Silence } from "./server.js";

const REST = 500; // ms of rest before words are said to a screen reader
const STAYS = { plain: 8000, doable: 15_000 }; // ms; what went wrong stays until it is closed

export function createSays() {
  const element = h("div", { class: "wb-fill-notices" });
  const live = h("div", { class: "wb-hidden-words", role: "status", "aria-live": "polite" });
  let closing = null;
  let speaking = null;

  /** Words over the canvas. `act`: [label, function] of something that can be done about them. */
  function notice(words, bad = false, act = null) {
    clearTimeout(closing);
    const clear = () => element.replaceChildren();
    if (!words) return clear();
    const doing = act ? button("small", act[0], null, () => (clear(), act[1]())) : null;
    element.replaceChildren(h("div", { class: bad ? "wb-notice bad" : "wb-notice", role: bad ? "alert" : "status" }, h("p", {}, words), doing, button("quiet icon", "Close", "cross", clear)));
    if (!bad) closing = setTimeout(clear, act ? STAYS.doable : STAYS.plain);
    return undefined;
  }

  /** Says what the server refused. Anything else is a fault of the page and stays loud. */
  function report(problem) {
    if (problem instanceof Silence) notice("The studio is not answering. It is started with “python app.py”. What you paint is kept in this browser meanwhile.", true);
    else if (problem.status || problem.constructor === Error) notice(problem.message, true);
    else throw problem;
  }

  function announce(words) {
    clearTimeout(speaking);
    speaking = setTimeout(() => {
      if (live.textContent !== words) live.textContent = words;
    }, REST);
  }
  return { element, live, notice, report, announce };
}
