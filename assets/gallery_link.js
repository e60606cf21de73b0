// The way to the Gallery tab: from an address such as #gallery or #gallery/ID, and from a link to one picture.

const TAB = "wb-gallery-tab-button";

/** What the address asks for: {id}, id null where it names no picture; null where it does not speak of the gallery. */
export function addressed() {
  const found = /^#gallery(?:\/([0-9a-f-]+))?$/.exec(location.hash);
  return found && { id: found[1] ?? null };
}

/** Keeps in the address that the gallery is open, and which picture; null when the tab is left. */
export function address(shown, anew = false) {
  if (!shown && !addressed()) return; // another tab has put its own there
  const hash = shown ? `#gallery${shown.id ? `/${shown.id}` : ""}` : "";
  if (location.hash === hash) return;
  history[anew ? "pushState" : "replaceState"](history.state, "", `${location.pathname}${location.search}${hash}`);
}

function press() {
  const tab = document.getElementById(TAB);
  if (!tab) return false;
  if (tab.getAttribute("aria-selected") !== "true") tab.click();
  return true;
}

/** Presses the tab as soon as Gradio has drawn it, if the address asks for it. */
function arrive() {
  if (!addressed() || press()) return;
  const waiting = new MutationObserver(() => press() && waiting.disconnect());
  waiting.observe(document.body, { childList: true, subtree: true });
}

arrive();
addEventListener("hashchange", arrive); // Back and Forward, and an address that was typed or followed
