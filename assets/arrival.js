// From an address to a tab: Gradio draws its tabs late, and knows nothing of the part of an address behind the #.

/** Presses the tab with the id `tab` whenever the address asks for it: as soon as it is drawn, and at every change. */
export function arriveAt(tab, addressed) {
  function press() {
    const button = document.getElementById(tab);
    if (!button) return false;
    if (button.getAttribute("aria-selected") !== "true") button.click();
    return true;
  }

  function arrive() {
    if (!addressed() || press()) return;
    const waiting = new MutationObserver(() => press() && waiting.disconnect());
    waiting.observe(document.body, { childList: true, subtree: true });
  }

  arrive();
  addEventListener("hashchange", arrive); // Back and Forward, and an address that was typed or followed
}
