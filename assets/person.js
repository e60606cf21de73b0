// Whose browser this is. What one person leaves in it is not for the next one: the server has it cleared when they sign
// in, but browsers obey that over encrypted connections alone.

import { remember, remembered } from "./dom.js";

/** Whether somebody else was signed in here before `name`; what they left is gone then, and the page is to be loaded
 * again. Without a login, `name` is null and everything stays. */
export function follows(name) {
  const before = remembered("person");
  if (!name || before === name) return false;
  try {
    if (before !== null) {
      localStorage.clear();
      sessionStorage.clear();
    }
  } catch {
    return false; // Storage is switched off: nothing was left.
  }
  remember("person", name);
  return before !== null && remembered("person") === name;
}
