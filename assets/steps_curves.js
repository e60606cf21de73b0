// Curves over the steps, one per band: energy, change, and the gap between training and sampling. Hover reads, click goes.

import { button, h, svg } from "./dom.js";
import { openNumbers } from "./steps_numbers.js";
import { bandColor, figure, percent, segments, showHint, small, wave } from "./steps_marks.js";

const LEFT = 34;
const RIGHT = 10;
const TOP = 8;
const BOTTOM = 20;
const MOST = 300; // % of the final energy: what goes beyond leaves the drawing
const KINDS = [
  ["energy", "Energy"],
  ["change", "Change"],
  ["gap", "SNR gap"],
];

/** `actions`: go(step). `view()` is the state of the tab. */
export function createCurvesView(actions, view) {
  let run = null;
  let at = 0;
  let kind = "energy";
  let plot = null; // {x, y, series, ...} of what is drawn
  let hovered = null;

  const tabs = segments("Curve", KINDS, (wanted) => turn(wanted), "small");
  const unit = h("span", { class: "wb-faint" });
  const table = button("quiet small icon", "All numbers", "table", () => openNumbers(run, view(), kind));
  const read = h("div", { class: "wb-read" });
  const drawing = svg("svg", { class: "wb-curve", role: "img", tabindex: "-1" });
  const about = h("p", { class: "wb-faint wb-curve-about" });
  const nothing = h("p", { class: "wb-curve-none", hidden: true });
  const box = h("div", { class: "wb-curve-box" }, drawing, nothing);
  const element = h("section", { class: "wb-card wb-plot", "aria-label": "Curves over the steps" }, h("div", { class: "wb-card-head" }, tabs.element, unit, table), read, box, about);

  const LINES = {
    energy: () => ({
      unit: "% of final",
      name: "Energy of each band over the steps, as a share of its final value",
      of: "of its final energy",
      about: "How much of each band is there. It has settled where it stays within 5 % of 100.",
      points: run.arrived[view().space].map((row, step) => [step, row]),
      words: (value) => percent(value, value < 10 ? 1 : 0),
      log: false,
    }),
    change: () => {
      const { space } = view();
      const final = run.energy[space].at(-1);
      return {
        unit: "% of final",
        name: "What each step changed in each band, as a share of the band's final energy",
        of: "of its final energy changed",
        about: "How much of each band each step changed.",
        points: run.change[space].map((row, step) => [step, row.map((value, band) => (final[band] > 0 ? (value / final[band]) * 100 : null))]),
        words: (value) => `${small(value)} %`,
        log: true,
      };
    },
    gap: () =>
      run.gap && {
        unit: "1 is white noise",
        name: `Gap between the noise that the model was trained to see and that in its runs, per band: ${run.gap.unit}`,
        of: "of white noise",
        about: gapWords(run.gap),
        points: run.gap.at.map((step, k) => [step, run.gap.mean[k]]),
        errors: run.gap.error,
        corrected: run.gap.mean_corrected ? run.gap.at.map((step, k) => [step, run.gap.mean_corrected[k]]) : null,
        words: (value) => figure(value),
        log: false,
        labels: run.gap.bands,
      },
  };

  function turn(wanted) {
    kind = wanted;
    draw();
  }

  function draw() {
    if (!run) return;
    tabs.press(kind);
    const lines = LINES[kind]();
    table.hidden = !lines;
    nothing.hidden = Boolean(lines);
    drawing.style.display = lines ? "" : "none";
    read.hidden = !lines;
    about.hidden = !lines;
    about.textContent = lines?.about ?? "";
    plot = null;
    if (!lines) {
      unit.textContent = "";
      nothing.replaceChildren(h("span", {}, "Not measured yet for this model, wavelet and number of bands. This measures it:"), h("code", {}, "python -m studio calibrate"));
      return;
    }
    unit.textContent = lines.unit;
    unit.title = lines.name;
    const width = box.clientWidth;
    const height = box.clientHeight;
    if (width < 60 || height < 60) return;
    plot = { ...lines, ...scales(lines, width, height), width, height };
    if (lines.log) about.textContent = `${lines.about} Each line is ${plot.ticks[1] / plot.ticks[0] > 50 ? "a hundred" : "ten"} times the one below.`;
    paint();
  }

  /** Axes that hold all values. A log axis spans at most six decades below its top. */
  function scales(lines, width, height) {
    const last = Math.max(1, run.steps.length - 1);
    const x = (step) => LEFT + ((width - LEFT - RIGHT) * step) / last;
    const values = lines.points.flatMap(([, row], k) => row.flatMap((value, band) => (lines.errors ? [value - lines.errors[k][band], value + lines.errors[k][band]] : [value]))).concat((lines.corrected ?? []).flatMap(([, row]) => row)).filter(Number.isFinite);
    const across = height - TOP - BOTTOM;
    if (lines.log) {
      const positive = values.filter((value) => value > 0);
      const high = Math.ceil(Math.log10(Math.max(...positive, 1e-9)));
      const low = Math.max(high - 6, Math.floor(Math.log10(Math.min(...positive, 10 ** high))));
      const y = (value) => TOP + across * (1 - (Math.log10(Math.max(value, 10 ** low)) - low) / Math.max(1, high - low));
      const ticks = Array.from({ length: high - low + 1 }, (_, k) => 10 ** (low + k));
      return { x, y, ticks: ticks.length > 5 ? ticks.filter((_, k) => (high - low - k) % 2 === 0) : ticks };
    }
    let low = Math.min(0, ...values);
    let high = kind === "energy" ? Math.min(Math.max(110, ...values), MOST) : Math.max(...values, 0);
    if (high - low < 1e-12) high = low + 1;
    if (kind !== "energy") [low, high] = [low - (high - low) * 0.06, high + (high - low) * 0.06];
    const y = (value) => TOP + across * (1 - (Math.min(high * 2, Math.max(low, value)) - low) / (high - low)); // beyond the top it is clipped
    return { x, y, ticks: kind === "energy" ? [0, 25, 50, 75, 100, 150, 200, 250, 300].filter((tick) => tick <= high && (high < 160 || tick % 50 === 0)) : nice(low, high) };
  }

  function nice(low, high) {
    const raw = (high - low) / 4;
    const power = 10 ** Math.floor(Math.log10(raw));
    const size = [1, 2, 5, 10].find((step) => step * power >= raw) * power;
    const ticks = [];
    for (let tick = Math.ceil(low / size) * size; tick <= high + size * 1e-6; tick += size) ticks.push(Math.abs(tick) < size * 1e-6 ? 0 : tick);
    return ticks;
  }

  const tickWords = (value) => (value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 1e4) ? value.toExponential(0).replace("-", "−") : String(Number(value.toPrecision(2))).replace("-", "−"));

  function paint() {
    const { x, y, ticks, width, height, points, errors, corrected } = plot;
    const count = points[0]?.[1].length ?? 0;
    const total = run.steps.length;
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawing.setAttribute("aria-label", plot.name);
    const every = [1, 5, 10, 20, 50].find((step) => ((width - LEFT - RIGHT) / total) * step >= 34) ?? 100;
    const numbers = Array.from({ length: total }, (_, step) => step).filter((step) => step === 0 || ((step + 1) % every === 0 && (every === 1 || step > every / 2)));
    const path = (rows, band) => {
      const shown = rows.filter(([, row]) => Number.isFinite(row[band]));
      return shown.map(([step, row]) => `${x(step).toFixed(1)},${y(row[band]).toFixed(1)}`).join(" ");
    };
    const line = (rows, band, look) => svg("polyline", { points: path(rows, band), class: `line ${look}`, style: `stroke: ${bandColor(band, count)}` });
    frame.replaceChildren(svg("rect", { x: LEFT, y: 0, width: Math.max(0, width - LEFT - RIGHT + 6), height: height - BOTTOM + 2 }));
    drawing.replaceChildren(
      frame,
      ...ticks.flatMap((tick) => [
        svg("line", { x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick), class: tick === 0 && kind === "gap" ? "grid zero" : "grid" }),
        svg("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, tickWords(tick)),
      ]),
      ...numbers.map((step) => svg("text", { x: x(step), y: height - 4, "text-anchor": step === 0 ? "start" : step === total - 1 ? "end" : "middle" }, String(step + 1))),
      svg(
        "g",
        { "clip-path": `url(#${frame.id})` },
        ...(errors ? Array.from({ length: count }, (_, band) => errorBand(band, count)) : []),
        ...Array.from({ length: count }, (_, band) => line(points, band, "")),
        ...(corrected ? Array.from({ length: count }, (_, band) => line(corrected, band, "dashed")) : []),
      ),
      cursor,
    );
    drawCursor();
  }

  function errorBand(band, count) {
    const { x, y, points, errors } = plot;
    const edge = (sign) => points.map(([step, row], k) => `${x(step).toFixed(1)},${y(row[band] + sign * errors[k][band]).toFixed(1)}`);
    return svg("polygon", { points: [...edge(1), ...edge(-1).reverse()].join(" "), class: "error", style: `fill: ${bandColor(band, count)}` });
  }

  const cursor = svg("g", {});
  const frame = svg("clipPath", { id: "wb-curve-frame" });

  /** Values of all bands at a step; between measured points they are interpolated. */
  function rowAt(step) {
    const { points } = plot;
    const after = points.findIndex(([place]) => place >= step);
    if (after < 0) return points.at(-1)[1];
    const [place, row] = points[after];
    if (after === 0 || place === step) return row;
    const [from, before] = points[after - 1];
    return row.map((value, band) => before[band] + ((value - before[band]) * (step - from)) / (place - from));
  }

  function drawCursor() {
    if (!plot) return;
    const step = hovered ?? at;
    const row = rowAt(step);
    const count = row.length;
    const { x, y, height } = plot;
    cursor.replaceChildren(
      svg("line", { x1: x(at), x2: x(at), y1: TOP - 4, y2: height - BOTTOM, class: "now" }),
      ...(hovered !== null && hovered !== at ? [svg("line", { x1: x(step), x2: x(step), y1: TOP - 4, y2: height - BOTTOM, class: "hovered" })] : []),
      ...row.map((value, band) => (Number.isFinite(value) && y(value) > 0 ? svg("circle", { cx: x(step), cy: y(value), r: 4, style: `fill: ${bandColor(band, count)}` }) : null)).filter(Boolean),
    );
    const labels = plot.labels ?? run.bands.map(({ label }) => label);
    if (read.children.length !== count) read.replaceChildren(...row.map((_, band) => h("span", { title: labels[band] }, wave(band, count, 18, 10, 1.6), h("b", {}), h("span", { class: "wb-hidden-words" }, labels[band]))));
    row.forEach((value, band) => (read.children[band].querySelector("b").textContent = plot.words(value)));
  }

  const stepAt = (event) => {
    const { left, width } = drawing.getBoundingClientRect();
    const share = (event.clientX - left - LEFT) / Math.max(1, width - LEFT - RIGHT);
    return Math.min(run.steps.length - 1, Math.max(0, Math.round(share * (run.steps.length - 1))));
  };

  drawing.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !plot) return;
    drawing.setPointerCapture(event.pointerId);
    actions.go(stepAt(event));
  });
  drawing.addEventListener("pointermove", (event) => {
    if (!plot) return;
    const step = stepAt(event);
    if (drawing.hasPointerCapture(event.pointerId)) actions.go(step);
    if (event.pointerType !== "mouse") return;
    hovered = step;
    drawCursor();
    const labels = plot.labels ?? run.bands.map(({ label }) => label);
    const near = nearest(step, event);
    showHint(near === null ? null : `step ${step + 1}, ${labels[near]}: ${plot.words(rowAt(step)[near])} ${plot.of}`, event);
  });
  drawing.addEventListener("pointerleave", () => {
    hovered = null;
    drawCursor();
    showHint(null);
  });

  function nearest(step, event) {
    const top = event.clientY - drawing.getBoundingClientRect().top;
    let best = null;
    rowAt(step).forEach((value, band) => {
      const far = Number.isFinite(value) ? Math.abs(plot.y(value) - top) : Infinity;
      if (far < (best?.far ?? Infinity)) best = { band, far };
    });
    return best?.band ?? null;
  }

  /** What the gap says, and what came of calibrating. */
  function gapWords({ verdict, closed, mean_corrected: corrected, samples }) {
    const found = verdict === "closes the gap" ? `${corrected ? "Dashed: the" : "The"} calibrated strengths close ${percent(closed * 100)} of its square.` : "No strengths were found that close it.";
    return `Below 0 a run carries less noise than the model was trained on. ${found} ${samples} runs, ± one standard error.`;
  }

  new ResizeObserver(draw).observe(box);

  return {
    element,
    open(facts) {
      run = facts;
      at = Math.min(at, run.steps.length - 1);
      draw();
    },
    step(index) {
      at = index;
      drawCursor();
    },
    turned: draw,
  };
}
