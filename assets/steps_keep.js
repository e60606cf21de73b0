// Step in: keep some bands and paint the rest anew, mix with another run, change the words, paint on the picture, continue.

import { button, h, icon } from "./dom.js";
import { choice, joined, segments, wave } from "./steps_marks.js";
import { upload } from "./steps_server.js";

const SEEDS = 2 ** 32;

/** `actions`: branch(wish), paint(purpose, done). `view()` is the state of the tab. */
export function createKeepView(actions, view) {
  let run = null;
  let at = 0;
  let locked = new Set();
  let mode = "content";

  const locks = h("div", { class: "wb-locks", role: "group", "aria-label": "Bands to keep" });
  const modes = segments("How they are kept", [["content", "As they are"], ["energy", "Only how strong"]], (wanted) => turn(wanted), "small");
  const rest = choice("The rest comes from", [["noise", "new noise"]], () => draw());
  const words = h("textarea", { class: "wb-field", rows: "2", "aria-label": "Words from this step on" });
  const more = h(
    "div",
    { class: "wb-more-ways", id: "wb-more-ways", hidden: true },
    h("div", { class: "wb-row" }, h("span", {}, "Keep them"), modes.element),
    h("label", { class: "wb-row" }, h("span", {}, "The rest from"), rest.field),
    h("label", { class: "wb-row wb-row-tall" }, h("span", {}, "Words from here"), words),
  );
  const said = h("p", { class: "wb-faint" });
  const brush = button("", "Paint on it", "brush", paintOn);
  const go = button("primary", "Continue", "branch", () => proceed());
  const ways = button("icon", "More ways to go on", "sliders", () => {
    more.hidden = !more.hidden;
    ways.setAttribute("aria-expanded", String(!more.hidden));
  });
  ways.setAttribute("aria-controls", more.id);
  ways.setAttribute("aria-expanded", "false");
  const element = h("section", { class: "wb-card wb-keep", "aria-label": "Step in" }, h("div", { class: "wb-card-head" }, h("h3", {}, "Keep from here on"), said), locks, more, h("div", { class: "wb-two-buttons" }, ways, brush, go));

  words.addEventListener("input", draw);

  function turn(wanted) {
    mode = wanted;
    draw();
  }

  const names = () => run.lockable?.bands ?? [];

  function open(facts) {
    const fresh = run?.id !== facts.id;
    run = facts;
    at = view().step;
    if (fresh) {
      words.value = run.request.prompt;
      if (!locked.size) locked = new Set([0, 1].filter((band) => band < names().length - 1));
      locked = new Set([...locked].filter((band) => band < names().length));
    }
    const others = view().runs.filter((other) => other.id !== run.id && other.latents && other.width === run.width && other.height === run.height);
    rest.offer([["noise", "new noise"], ...others.map((other) => [other.id, `${other.label}: ${other.request.prompt.trim().slice(0, 40) || "no words"}, seed ${other.request.seed}`])]);
    locks.style.setProperty("--wb-band-count", String(Math.max(1, names().length)));
    locks.replaceChildren(
      ...names().map((name, band) => {
        const pixels = run.lockable.pixels?.[band];
        const lock = h("button", { type: "button", class: "wb-lock", "aria-label": `Keep ${name.toLowerCase()}`, title: pixels ? `${name}, ${pixels}` : null }, wave(band, Math.max(5, names().length), 26, 12), h("span", {}, name), h("span", { class: "wb-lock-icon" }));
        lock.addEventListener("click", () => {
          if (!locked.delete(band)) locked.add(band);
          draw();
        });
        return lock;
      }),
    );
    draw();
  }

  const list = (bands) => joined(bands.map((band) => names()[band].toLowerCase()));
  const newWords = () => (words.value.trim() === run.request.prompt.trim() ? null : words.value.trim());

  /** What Continue would ask for, and in words what that means. */
  function plan() {
    const all = names().map((_, band) => band);
    const kept = all.filter((band) => locked.has(band));
    const free = all.filter((band) => !locked.has(band));
    const wish = { from: at };
    const said = [];
    const other = rest.field.value !== "noise" ? view().runs.find(({ id }) => id === rest.field.value) : null;
    const bands = { wavelet: run.lockable?.wavelet, levels: run.lockable?.levels };
    if (other && free.length) {
      wish.mix = { run: other.id, bands: free, ...bands };
      wish.label = capital(`${list(free)} of ${other.parent ? other.label : `“${briefly(other)}”`}`);
      said.push(`${list(free)} from the other run`);
    } else {
      if (kept.length && kept.length < all.length) wish.lock = { bands: kept, mode, ...bands };
      if (kept.length < all.length) wish.noise = { seed: Math.floor(Math.random() * SEEDS) };
      wish.label = kept.length === all.length ? "Same again" : kept.length ? `${capital(list(kept))} kept` : "New noise";
      if (kept.length < all.length) said.push(kept.length ? "the rest is painted anew" : "all is painted anew");
    }
    const changed = newWords();
    if (changed !== null) {
      wish.request = { prompt: changed };
      if (kept.length === all.length) wish.label = "Other words";
      said.push("other words");
    }
    return { wish: { ...wish, label: wish.label.slice(0, 80) }, said: said.join(", "), nothing: kept.length === all.length && changed === null && !other };
  }

  const briefly = (other) => other.request.prompt.trim().split(/\s+/).slice(0, 6).join(" ") || `seed ${other.request.seed}`;
  const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

  function draw() {
    if (!run) return;
    [...locks.children].forEach((lock, band) => {
      const on = locked.has(band);
      lock.setAttribute("aria-pressed", String(on));
      if (lock.lastChild.dataset.on !== String(on)) {
        lock.lastChild.dataset.on = String(on);
        lock.lastChild.replaceChildren(icon(on ? "lock" : "unlock", true));
      }
    });
    modes.press(mode);
    const { said: meaning, nothing } = plan();
    said.textContent = run.latents ? (nothing ? "unlock a band or change the words" : meaning) : "the steps were let go";
    go.lastChild.textContent = `Continue from ${at + 1}`;
    go.disabled = nothing || !run.latents;
    brush.disabled = !run.latents || !run.space.picture;
    brush.title = !run.space.picture ? "This model's latents cannot be painted on" : "";
  }

  async function proceed() {
    go.disabled = true;
    const { wish } = plan();
    await actions.branch(wish);
    draw();
  }

  /** Painting keeps the run's own noise and everything that was not painted: locks are for the other button. */
  function paintOn() {
    const [from, parent] = [at, run];
    actions.paint("edit", async ({ picture, region, count }) => {
      const [edited, mask] = await Promise.all([upload(picture), upload(region)]);
      const changed = newWords();
      return actions.branch({ from, edit: { picture: edited, mask, shown: "full" }, ...(changed === null ? {} : { request: { prompt: changed } }), label: `Painted at step ${from + 1}, ${count.toLocaleString("en")} px` }, parent);
    });
  }

  return {
    element,
    open,
    paint: paintOn,
    step(index) {
      at = index;
      if (run) draw();
    },
  };
}
