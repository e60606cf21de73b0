// The run's line: which run is shown, what it was made of, how its bands are split and drawn, and what can be saved.

import { button, h, icon } from "./dom.js";
import { openInFill, putBack } from "./fill_link.js";
import { choice, segments, stepsWords } from "./steps_marks.js";
import { animationAddress, fileAddress, sheetAddress, thumbnailAddress } from "./steps_server.js";

/** A panel that opens below `opener`, in the top layer. `fill(panel)` makes its content anew each time. */
export function popoverOf(opener, label, look, fill) {
  const panel = h("div", { class: `wb-popover wb-drop-down ${look}`, popover: "auto", role: "dialog", "aria-label": label });
  opener.setAttribute("aria-haspopup", "dialog");
  opener.addEventListener("click", () => panel.togglePopover());
  panel.addEventListener("beforetoggle", (event) => event.newState === "open" && fill(panel));
  panel.addEventListener("toggle", (event) => {
    opener.setAttribute("aria-expanded", String(event.newState === "open"));
    if (event.newState !== "open") return;
    const { left, right, bottom } = opener.getBoundingClientRect();
    const { width } = panel.getBoundingClientRect();
    const start = left + width > innerWidth - 12 ? right - width : left;
    Object.assign(panel.style, { inset: "auto", left: `${Math.max(12, Math.min(start, innerWidth - width - 12))}px`, top: `${bottom + 6}px`, maxHeight: `${Math.max(160, innerHeight - bottom - 18)}px` });
  });
  document.querySelector(".gradio-container").append(panel);
  return panel;
}

/** `actions`: open(id), set(part of the state), compare(), refresh(). `view()` is the state of the tab. */
export function createHeadView(actions, view) {
  let run = null;

  const title = h("span", { class: "wb-run-title" });
  const pick = h("button", { type: "button", class: "wb-run-pick" }, title, icon("chevron", true));
  const facts = h("span", { class: "wb-run-facts" });
  const split = button("quiet", "", "sliders");
  const splitWords = h("span", {});
  split.append(splitWords);
  const fill = button("quiet", "Open in Fill", "fill", () => openInFill({ id: run.id, request: run.request }));
  fill.title = "The finished picture as a document of its own, to paint on and to fill";
  const back = button("quiet", "Put into its picture", "layers", () => putBack(run.id, run.tree.map(({ id }) => id)));
  back.title = "Instead of the fill in the document that it was made in, which is opened. Undo takes it back.";
  const compare = button("quiet", "Compare", "compare", () => actions.compare("side"));
  const link = (words, iconName) => h("a", { class: "wb-btn quiet", download: "" }, icon(iconName), words);
  const sheet = link("Contact sheet", "grid");
  const animation = link("Animation", "down");
  const file = link("Run file", "down");
  const tools = h("div", { class: "wb-run-tools", id: "wb-run-tools" }, split, compare, back, fill, sheet, animation, file);
  const more = button("quiet icon wb-run-more", "More", "dots", () => {
    const open = tools.classList.toggle("open");
    more.setAttribute("aria-expanded", String(open));
  });
  more.setAttribute("aria-controls", "wb-run-tools");
  more.setAttribute("aria-expanded", "false");
  const element = h("header", { class: "wb-run-head" }, h("div", { class: "wb-run-name" }, pick, facts), tools, more);
  tools.addEventListener("click", (event) => {
    if (!event.target.closest("a, button") || event.target.closest("button") === split) return;
    tools.classList.remove("open");
    more.setAttribute("aria-expanded", "false");
  });

  const picker = popoverOf(pick, "Runs of this session", "wb-picker", (panel) => {
    drawRuns(panel);
    actions.refresh().then(() => panel.matches(":popover-open") && drawRuns(panel), () => {});
  });

  function drawRuns(panel) {
    const kept = panel.querySelector(":focus")?.dataset.id;
    panel.replaceChildren(
      h("h2", {}, "Runs"),
      h(
        "div",
        { class: "wb-picker-list" },
        ...view().runs.map((entry) =>
          h(
            "button",
            { type: "button", class: "wb-picker-run", "data-id": entry.id, "aria-current": entry.id === run?.id ? "true" : null, onclick: () => (picker.hidePopover(), actions.open(entry.id)) },
            h("img", { src: thumbnailAddress(entry.id), alt: "", loading: "lazy" }),
            h("span", {}, h("b", {}, entry.request.prompt.trim() || "No words"), h("small", {}, `${entry.parent ? `${entry.label} · ` : ""}seed ${entry.request.seed} · ${stepsWords(entry.recorded)}`)),
          ),
        ),
      ),
    );
    if (kept) panel.querySelector(`[data-id="${CSS.escape(kept)}"]`)?.focus();
  }

  popoverOf(split, "Bands", "wb-splitting", (panel) => {
    const { wavelet, levels, look, space, channel } = view();
    const row = (label, ...content) => h("div", { class: "wb-row" }, h("span", {}, label), ...content);
    const wavelets = choice("Wavelet", run.wavelets.map((name) => [name, name]), (name) => actions.set({ wavelet: name }));
    wavelets.field.value = wavelet;
    const counts = Array.from({ length: Math.min(5, run.max_levels ?? 5) }, (_, k) => [k + 1, String(k + 2)]);
    const count = segments("Bands", counts, (value) => (actions.set({ levels: Number(value), band: null }), count.press(value)));
    count.press(levels);
    const looks = segments("Details drawn as", [["signed", "Signed"], ["magnitude", "Magnitude"]], (value) => (actions.set({ look: value }), looks.press(value)));
    looks.press(look);
    const parts = [row("Wavelet", wavelets.field), row("Bands", count.element), row("Details", looks.element)];
    const { latent } = run.space;
    const spaces = segments("Bands of", [["picture", "The picture"], ["latent", "The latent"]], (value) => {
      actions.set({ space: value, band: null });
      spaces.press(value);
      channels.field.disabled = value !== "latent";
    });
    spaces.press(space);
    const channels = choice("Channel of the latent", [["", "All, root mean square"], ...Array.from({ length: latent.channels }, (_, k) => [k, `Channel ${k + 1}`])], (value) => actions.set({ channel: value === "" ? null : Number(value) }));
    channels.field.value = channel ?? "";
    channels.field.disabled = space !== "latent";
    if (latent.channels) parts.push(row("Bands of", spaces.element), row("Channel", channels.field));
    panel.replaceChildren(h("h2", {}, "How bands are split"), ...parts, h("p", { class: "wb-faint" }, "Signed: mid-grey is nothing, lighter adds, darker takes away. Magnitude: black is nothing."));
  });

  return {
    element,
    open(opened) {
      run = opened;
      const { request } = run;
      title.textContent = request.prompt.trim() || "No words";
      title.title = title.textContent;
      pick.setAttribute("aria-label", `Run: ${title.textContent}. Choose another`);
      const wide = (words) => h("span", {}, words); // where there is room
      facts.replaceChildren(wide(run.parent ? `${run.label} · ` : ""), `seed ${request.seed} · ${stepsWords(run.recorded)}`, wide(` · ${request.solver} · guidance ${Number(request.guidance_scale).toFixed(1)}`));
      facts.title = facts.textContent;
      back.hidden = !run.fill;
      sheet.href = sheetAddress(run.id);
      animation.href = animationAddress(run.id);
      file.href = fileAddress(run.id);
      splitWords.textContent = `${run.wavelet}, ${run.bands.length} bands${view().space === "latent" ? ", latent" : ""}`;
    },
    turned() {
      if (run) splitWords.textContent = `${view().wavelet}, ${view().levels + 1} bands${view().space === "latent" ? ", latent" : ""}`;
    },
  };
}
