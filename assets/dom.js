// Elements, icons and the band marks. Text enters the page through textContent only, so no word of anybody runs.

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  down: "M10 3v9.500M6 9l4 4 4-4M4 16.500h12",
  stop: "M5.500 5.500h9v9h-9z",
  help: "M10 2.500a7.500 7.500 0 1 1 0 15 7.500 7.500 0 0 1 0-15zM8 8a2 2 0 1 1 3 1.800c-.7.400-1 .8-1 1.700M10 14h.01",
  sun: "M10 6.500a3.500 3.500 0 1 1 0 7 3.500 3.500 0 0 1 0-7zM10 2v1.500M10 16.500V18M2 10h1.500M16.500 10H18M4.300 4.300l1 1M14.700 14.700l1 1M4.300 15.700l1-1M14.700 5.300l1-1",
  moon: "M16.500 12.200A7 7 0 0 1 7.800 3.500a7 7 0 1 0 8.700 8.700z",
  more: "M10 3l1.700 4.800L16.500 10l-4.800 1.700L10 16.500l-1.700-4.800L3.500 10l4.800-2.200z",
  copy: "M7 7h9.500v9.500H7zM4 13H3.500V3.500H13V4",
  sliders: "M3 6h8M15 6h2M3 14h2M9 14h8M13 4v4M7 12v4",
  cross: "M5 5l10 10M15 5L5 15",
  left: "M12 4l-6 6 6 6",
  right: "M8 4l6 6-6 6",
  open: "M10 16.500V6M6 10l4-4 4 4M4 3.500h12",
  play: "M6.500 4l9.500 6-9.500 6z",
  pause: "M6.500 4.500v11M13.500 4.500v11",
  lock: "M5.500 9h9v7.500h-9zM7 9V6.500a3 3 0 0 1 6 0V9",
  unlock: "M5.500 9h9v7.500h-9zM7 9V6a3 3 0 0 1 5.500-1.500",
  branch: "M6 4v12M6 10c0-3 8 0 8-4M6 2.500a1.500 1.500 0 1 1 0 3M14 3a1.500 1.500 0 1 1 0 3",
  brush: "M14.500 2.500l3 3L9 14l-3-3zM6 11c-2.500.3-2 3.500-4 4.500 2.500 1.500 6 1 7-1.500",
  eraser: "M8 16h9M3 12l7.500-7.500 5 5L9 16H6z",
  picker: "M12 4l4 4M10.500 5.500l4 4M11.500 8.500L5 15l-2.500.5L3 13l6.500-6.500M14 2.500l3.500 3.500-2 2-3.500-3.500z",
  compare: "M10 3v14M3.500 5H10M10 15h6.500V5M3.500 5v10H10",
  grid: "M3.500 3.500h5.500v5.500H3.500zM11 3.500h5.500v5.500H11zM3.500 11h5.500v5.500H3.500zM11 11h5.500v5.500H11z",
  reset: "M4 10a6 6 0 1 0 2-4.500M4 3.500v3.200h3.200",
  undo: "M7 4L3.500 7.500 7 11M4 7.500h7.500a4.500 4.500 0 0 1 0 9H8",
  redo: "M13 4l3.500 3.500L13 11M16 7.500H8.500a4.500 4.500 0 0 0 0 9H12",
  steps: "M3 5h3.500v10H3zM8.300 5h3.500v10H8.300zM13.500 5H17v10h-3.500z",
  chevron: "M6 8l4 4 4-4",
  check: "M4 10.500l4 4 8-9",
  table: "M3.500 4.500h13v11h-13zM3.500 8.500h13M3.500 12h13M9 4.500v11",
  dots: "M5 10h.01M10 10h.01M15 10h.01",
};

/** An element with attributes and children. `on…` attributes are listeners; children are nodes or text. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function icon(name, small = false) {
  const drawing = svg("svg", { viewBox: "0 0 20 20", "aria-hidden": "true", class: small ? "wb-icon wb-icon-s" : "wb-icon" });
  drawing.append(svg("path", { d: ICONS[name] }));
  return drawing;
}

/** A button of ours. `look` is any of primary, quiet, edged, small, icon. */
export function button(look, label, iconName, onclick) {
  const shown = look.includes("icon") ? [] : [label];
  return h(
    "button",
    { type: "button", class: `wb-btn ${look}`, "aria-label": look.includes("icon") ? label : null, title: look.includes("icon") ? label : null, onclick },
    iconName ? icon(iconName) : null,
    ...shown,
  );
}

export function logo() {
  const tops = [2, 5, 3, 6, 8];
  const bars = tops.map((y, band) =>
    svg("rect", { x: 1 + band * 5, y, width: 3.4, height: 20 - 2 * y, rx: 1.7, style: `fill: var(--wb-band-${band})` }),
  );
  return svg("svg", { width: 26, height: 20, viewBox: "0 0 26 20", "aria-hidden": "true" }, ...bars);
}

/** Reads and writes a choice of the person that this browser remembers. Storage may be switched off. */
export function remembered(name) {
  try {
    return localStorage.getItem(`wavebrush.${name}`);
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    if (value === null) localStorage.removeItem(`wavebrush.${name}`);
    else localStorage.setItem(`wavebrush.${name}`, value);
  } catch {
    // The choice then lasts as long as the page.
  }
}
