// Every number behind the curves, as a table that can be read, sorted out elsewhere and copied.

import { button, h } from "./dom.js";

const TITLES = { energy: "Energy of the clean estimate, per band", change: "Energy of what each step changed, per band", gap: "SNR gap, per band" };

let dialog = null;

/** Opens the table of what a curve shows. `view`: the state of the tab; `kind`: energy, change or gap. */
export function openNumbers(run, view, kind) {
  dialog?.remove();
  const { title, unit, head, rows } = kind === "gap" ? gapTable(run) : bandTable(run, view.space, kind);
  const copied = h("span", { class: "wb-faint", role: "status" });
  const copy = button("", "Copy as CSV", "copy", async () => {
    try {
      await navigator.clipboard.writeText([head, ...rows].map((row) => row.join(",")).join("\n"));
      copied.textContent = "Copied.";
    } catch {
      copied.textContent = "The browser did not allow it. Select the table instead.";
    }
  });
  const close = button("quiet icon wb-close", "Close", "cross", () => dialog.close());
  dialog = h(
    "dialog",
    { class: "wb-dialog wb-numbers", "aria-label": title },
    h("div", { class: "wb-dialog-head" }, h("h2", {}, title), close),
    h("p", { class: "wb-faint" }, unit),
    h(
      "div",
      { class: "wb-table-box", tabindex: "0", role: "region", "aria-label": "Table" },
      h(
        "table",
        { "data-kind": kind },
        h("thead", {}, h("tr", {}, ...head.map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, ...rows.map(([first, ...rest]) => h("tr", {}, h("th", { scope: "row" }, String(first)), ...rest.map((value) => h("td", {}, String(value)))))),
      ),
    ),
    h("div", { class: "wb-dialog-foot" }, copied, copy),
  );
  document.querySelector(".gradio-container").append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
}

function bandTable(run, space, kind) {
  const where = space === "picture" ? "decoded picture, RGB from −1 to 1" : "latent";
  return {
    title: TITLES[kind],
    unit: `Sum of squares in each band of the ${where}; ${run.wavelet}, ${run.levels} levels, measured on the ${run.look === "full" ? "full decode" : "linear preview"}.`,
    head: ["Step", "Noise level", ...run.bands.map(({ label }) => label)],
    rows: run[kind][space].map((row, step) => [step + 1, Number(run.steps[step].noise_level?.toPrecision(6) ?? NaN) || "", ...row]),
  };
}

function gapTable(run) {
  const { gap } = run;
  return {
    title: TITLES.gap,
    unit: `${gap.unit}; ${gap.wavelet}, ${gap.levels} levels, ${gap.samples} samples. ± is the standard error.`,
    head: ["Noise level", ...gap.bands.flatMap((label) => [label, "±"])],
    rows: gap.noise_level.map((level, k) => [level, ...gap.mean[k].flatMap((value, band) => [value, gap.error[k][band]])]),
  };
}
