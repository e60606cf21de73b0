// What has to be said about a picture whose settings were dropped: a list, and where a branch can be looked at.

import { h } from "./dom.js";

/** `branch`: null, or {run}: the run here that leads on, {id, step, own}, `own` where it is the branch itself. */
export function listed(notes, branch = null) {
  const lines = notes.map((note) => h("li", {}, note));
  if (branch?.run) {
    const { id, step, own } = branch.run;
    lines.push(h("li", {}, h("a", { href: `#steps/${id}/${step}` }, own ? "Open it in Steps" : "Open the run that it left in Steps")));
  }
  return lines.length ? h("ul", {}, ...lines) : null;
}
