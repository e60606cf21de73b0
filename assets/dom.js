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
  fill: "M3.500 7V3.500H7M13 3.500h3.500V7M16.500 13v3.500H13M7 16.500H3.500V13M10 7v6M7 10h6",
  hand: "M6 10V5.500a1.200 1.200 0 0 1 2.400 0V9V4a1.200 1.200 0 0 1 2.400 0v5-4a1.200 1.200 0 0 1 2.400 0v5-2.500a1.200 1.200 0 0 1 2.400 0V12c0 3-2 5.500-5 5.500-2.500 0-3.500-1-5-3.500L3.500 11.200c.8-1 1.800-.7 2.500.3z",
  zoom: "M9 3.500a5.500 5.500 0 1 1 0 11 5.500 5.500 0 0 1 0-11zM13 13l4 4",
  lasso: "M6 14c-2-.8-3.500-2.500-3.500-4.500C2.500 6 6 3.500 10 3.500s7.500 2.500 7.500 6-3.500 5.500-7.500 5.500c-.8 0-1.500 0-2.200-.2M6 12.500a1.800 1.800 0 1 0 1.800 1.800C7.800 16 6.500 17.500 5 18",
  rectangle: "M3.500 5h13v10h-13z",
  ellipse: "M10 4.500c4 0 7 2.500 7 5.500s-3 5.500-7 5.500-7-2.500-7-5.500 3-5.500 7-5.500z",
  wand: "M3 17L12 8M14 2v3M12.500 3.500h3M17 8v2.500M15.800 9.200h2.500M8 3v2M7 4h2",
  cutout: "M3.500 5V3.500H5M8 3.500h4M15 3.500h1.500V5M16.500 8v4M16.500 15v1.500H15M12 16.500H8M5 16.500H3.500V15M3.500 12V8M10 6.500a2 2 0 1 1 0 4 2 2 0 0 1 0-4zM6.500 14c.5-2 2-2.800 3.500-2.800s3 .8 3.500 2.800",
  inside: "M3.500 6.500v-3h3M9 3.500h2M13.500 3.500h3v3M16.500 9v2M16.500 13.500v3h-3M11 16.500H9M6.500 16.500h-3v-3M3.500 11V9M10 7a3 3 0 1 1 0 6 3 3 0 0 1 0-6z",
  line: "M4 16L16 4",
  bucket: "M4 10l6-6 6 6-6 6zM4 10h12M17 13c1 1.500 1.500 2.200 1.500 3a1.500 1.500 0 0 1-3 0c0-.8.5-1.500 1.500-3z",
  smudge: "M4 16c3-1 4-3 5-6s3-6 7-7c-1 4-2 6-5 7.500S7 13 7 16",
  clone: "M10 3a2.500 2.500 0 0 1 1.500 4.500c-.5.500-.5 1.500 0 2.500H16v3.500H4V10h4.500c.5-1 .5-2 0-2.500A2.500 2.500 0 0 1 10 3zM4 16.500h12",
  crop: "M5.500 2.500v12h12M2.500 5.500h12v12",
  move: "M10 2.500v15M2.500 10h15M10 2.500L8 4.500M10 2.500l2 2M10 17.500l-2-2M10 17.500l2-2M2.500 10l2-2M2.500 10l2 2M17.500 10l-2-2M17.500 10l-2 2",
  full: "M3.500 8V3.500H8M12 3.500h4.500V8M16.500 12v4.500H12M8 16.500H3.500V12",
  plus: "M10 4v12M4 10h12",
  minus: "M4 10h12",
  up: "M10 16V4.500M5.500 9L10 4.500 14.500 9",
  lower: "M10 4v11.500M5.500 11l4.500 4.500 4.500-4.500",
  merge: "M10 3v8M6.500 7.500L10 11l3.500-3.500M4 14.500h12M4 17h12",
  bin: "M4 5.500h12M8 5.500V3.500h4v2M5.500 5.500l.8 11h7.400l.8-11M8.500 8.500v5M11.500 8.500v5",
  eye: "M2.500 10S5 5 10 5s7.500 5 7.500 5-2.500 5-7.500 5-7.500-5-7.500-5zM10 7.800a2.200 2.200 0 1 1 0 4.400 2.200 2.200 0 0 1 0-4.400z",
  shut: "M2.500 10S5 5 10 5s7.500 5 7.500 5-2.500 5-7.500 5-7.500-5-7.500-5zM4 16L16 4",
  shield: "M10 2.500l6 2.200V9.500c0 4-2.500 6.500-6 8-3.500-1.500-6-4-6-8V4.700zM7.300 10l2 2 3.500-4",
  layers: "M10 3l7 3.800-7 3.800-7-3.800zM3.500 10.200L10 13.700l6.500-3.500M3.500 13.500L10 17l6.500-3.500",
  swap: "M6.500 4L3.500 7l3 3M3.500 7h9v9M9.500 13l3 3 3-3",
  star: "M10 2.800l2.200 4.600 5 .7-3.600 3.500.9 5L10 14.200l-4.500 2.400.9-5L2.800 8.100l5-.7z",
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
