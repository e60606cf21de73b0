// What a brush, a shape and a fill do to pixels: against closed forms, areas and invariants.

import assert from "node:assert/strict";
import test from "node:test";

import { compositeBox } from "../../assets/canvas_blend.js";
import { apply, blankState } from "../../assets/canvas_ops.js";
import { beginStroke, strokeOnto } from "../../assets/canvas_stroke.js";
import { readBox } from "../../assets/canvas_tiles.js";
import { DEFAULTS } from "../../assets/canvas_tools.js";

const RED = "#ff0000";

function op(points, change = {}) {
  return {
    id: "op",
    op: "stroke",
    tool: "brush",
    target: "paint",
    layer: "L",
    settings: { ...DEFAULTS, size: 20, hardness: 100, color: RED, ...change.settings },
    points: points.flatMap(([x, y, pressure = 1, tiltX = 0, tiltY = 0]) => [x, y, pressure, tiltX, tiltY]),
    ...Object.fromEntries(Object.entries(change).filter(([name]) => name !== "settings")),
  };
}

const box = (state) => ({ x: 0, y: 0, width: state.width, height: state.height });
const maskOf = (state) => readBox(state.mask.tiles, 1, box(state));
const pixelsOf = (state) => compositeBox(state, box(state));
const alphaAt = (state, x, y) => pixelsOf(state)[(y * state.width + x) * 4 + 3];
const onMask = (change = {}) => ({ target: "mask", layer: null, ...change });
const sum = (values) => values.reduce((all, value) => all + value, 0);

test("a hard dab covers the area of its circle", () => {
  for (const size of [1, 2, 5, 20, 75, 200]) {
    const state = strokeOnto(blankState(300, 300, "L"), op([[150, 150]], onMask({ settings: { size } })));
    const area = sum(maskOf(state)) / 255;
    const circle = (Math.PI * size * size) / 4;
    // the edge is one px wide and soft: half of it lies within, so at most a tenth of the rim is off
    assert.ok(Math.abs(area - circle) <= 1 + 0.55 * Math.PI * size, `${size} px: ${area}, not ${circle}`);
  }
});

test("a stroke's opacity does not build up within itself, only between strokes", () => {
  const back = Array.from({ length: 40 }, (_, k) => [60 + 80 * (k % 2), 100]);
  const blank = blankState(200, 200, "L");
  const once = strokeOnto(blank, op(back, { settings: { opacity: 50 } }));
  assert.equal(alphaAt(once, 100, 100), 128);
  assert.equal(Math.max(...pixelsOf(once).filter((_, k) => k % 4 === 3)), 128);
  const twice = strokeOnto(once, op(back, { settings: { opacity: 50 } }));
  assert.equal(alphaAt(twice, 100, 100), 192);
});

test("flow builds up to the brush's own edge and not beyond it", () => {
  const blank = blankState(200, 200, "L");
  const back = Array.from({ length: 60 }, (_, k) => [60 + 80 * (k % 2), 100]);
  const full = strokeOnto(blank, op([[60, 100], [140, 100]], { settings: { size: 60, hardness: 0 } }));
  const little = strokeOnto(blank, op([[60, 100], [140, 100]], { settings: { size: 60, hardness: 0, flow: 5 } }));
  const much = strokeOnto(blank, op(back, { settings: { size: 60, hardness: 0, flow: 5 } }));
  for (const y of [100, 110, 120, 126]) {
    assert.ok(alphaAt(little, 100, y) < alphaAt(full, 100, y));
    assert.ok(Math.abs(alphaAt(much, 100, y) - alphaAt(full, 100, y)) <= 1);
  }
});

test("a line of dabs has a straight edge", () => {
  for (const size of [12, 100, 400]) {
    const state = strokeOnto(blankState(900, 500, "L"), op([[100, 250], [800, 250]], onMask({ settings: { size } })));
    const mask = maskOf(state);
    const edge = Array.from({ length: 300 }, (_, k) => sum(Array.from({ length: 500 }, (_, y) => mask[y * 900 + 300 + k])) / 255);
    assert.ok(Math.max(...edge) - Math.min(...edge) < 0.3, `${size} px: ${Math.min(...edge)} to ${Math.max(...edge)}`);
  }
});

test("pressure makes the brush smaller, or fainter, as was chosen; tilt makes it narrow", () => {
  const blank = blankState(200, 200, "L");
  const area = (state) => maskOf(state).filter(Boolean).length;
  const dab = (point, settings) => strokeOnto(blank, op([point], onMask({ settings: { size: 60, pressureSize: false, pressureOpacity: false, ...settings } })));
  assert.equal(area(dab([100, 100, 0.5], {})), area(dab([100, 100, 1], {})));
  const [half, full] = [area(dab([100, 100, 0.5], { pressureSize: true })), area(dab([100, 100, 1], { pressureSize: true }))];
  assert.ok(Math.abs(half / full - 0.25) < 0.03, `${half} of ${full}`);
  assert.equal(Math.max(...maskOf(dab([100, 100, 0.5], { pressureOpacity: true }))), 128);
  const tilted = maskOf(dab([100, 100, 1, 60, 0], {}));
  assert.equal(tilted[100 * 200 + 125] > 0, true);
  assert.equal(tilted[125 * 200 + 100] > 0, false);
});

test("points in one go and one by one give the same bytes", () => {
  const path = Array.from({ length: 60 }, (_, k) => [120 + 90 * Math.cos(k / 7), 120 + 80 * Math.sin(k / 5), 0.3 + (k % 10) / 20, (k % 9) * 5, 10]);
  const ground = strokeOnto(blankState(260, 260, "L", "#88aa44"), op([[20, 20], [90, 230], [230, 60]], { settings: { size: 50, hardness: 0, opacity: 70 } }));
  const blank = apply(ground, { op: "placeLayer", layer: "L", x: 30, y: 12 });
  const tools = [
    { settings: { hardness: 30, opacity: 70, flow: 30 } },
    { tool: "eraser", settings: { hardness: 50 } },
    { tool: "smudge", settings: { size: 31, opacity: 60 } },
    { tool: "clone", source: { dx: -40, dy: 33 } },
    onMask({ settings: { opacity: 40 } }),
  ];
  for (const change of tools) {
    const whole = op(path, change);
    const stroke = beginStroke(blank, whole);
    for (let k = 0; k < whole.points.length; k += 15) {
      stroke.add(whole.points.slice(k, k + 15));
      stroke.taken();
    }
    const { state } = stroke.finish();
    const other = strokeOnto(blank, whole);
    assert.deepEqual(Buffer.from(pixelsOf(state)), Buffer.from(pixelsOf(other)));
    assert.deepEqual(Buffer.from(maskOf(state)), Buffer.from(maskOf(other)));
    assert.notDeepEqual([Buffer.from(pixelsOf(state)), Buffer.from(maskOf(state))], [Buffer.from(pixelsOf(blank)), Buffer.from(maskOf(blank))]);
  }
});

test("a stroke leaves every pixel beyond its box alone, to the byte", () => {
  const before = strokeOnto(blankState(300, 300, "L", "#345678"), op([[20, 20], [280, 280]], { settings: { opacity: 37, hardness: 0 } }));
  for (const tool of ["brush", "eraser", "smudge"]) {
    const after = strokeOnto(before, op([[150, 150], [180, 150]], { tool, settings: { size: 40, opacity: 80 } }));
    const [old, now] = [pixelsOf(before), pixelsOf(after)];
    for (let k = 0; k < old.length; k += 1) {
      const [x, y] = [(k >> 2) % 300, Math.floor((k >> 2) / 300)];
      if (x < 128 || x > 202 || y < 128 || y > 172) assert.equal(now[k], old[k]);
    }
    assert.notDeepEqual(Buffer.from(old), Buffer.from(now));
  }
});

test("paint stays inside of the mask where that was asked for", () => {
  const masked = strokeOnto(blankState(200, 200, "L"), op([[50, 50, 1, 0, 0], [150, 150, 1, 0, 0]], onMask({ op: "shape", tool: "rect", settings: { mode: "add" } })));
  const state = strokeOnto(masked, op([[0, 100], [200, 100]], { settings: { size: 40, withinMask: true } }));
  assert.equal(alphaAt(state, 100, 100), 255);
  for (const x of [10, 40, 49, 150, 180]) assert.equal(alphaAt(state, x, 100), 0);
});

test("boxes are whole, ellipses and outlines have their area", () => {
  const blank = blankState(300, 300, "L");
  const shape = (tool, points) => sum(maskOf(strokeOnto(blank, op(points, onMask({ op: "shape", tool, settings: { mode: "add" } }))))) / 255;
  assert.equal(shape("rect", [[10, 20], [110, 70]]), 100 * 50);
  assert.equal(shape("rect", [[-50, 250], [20, 350]]), 20 * 50);
  assert.ok(Math.abs(shape("ellipse", [[10, 10], [210, 110]]) - Math.PI * 100 * 50) < 10);
  assert.ok(Math.abs(shape("lasso", [[20, 20], [220, 20], [20, 120]]) - 10_000) < 10);
  // a star's middle, which its line goes around twice, is inside
  const star = Array.from({ length: 5 }, (_, k) => [150 + 100 * Math.sin((k * 4 * Math.PI) / 5), 150 - 100 * Math.cos((k * 4 * Math.PI) / 5)]);
  const mask = maskOf(strokeOnto(blank, op(star, onMask({ op: "shape", tool: "lasso", settings: { mode: "add" } }))));
  assert.equal(mask[150 * 300 + 150], 255);
});

test("shapes add to the mask, take from it, replace it and keep what is in both", () => {
  const blank = blankState(100, 100, "L");
  const rect = (state, x0, x1, mode) => strokeOnto(state, op([[x0, 0], [x1, 100]], onMask({ op: "shape", tool: "rect", settings: { mode } })));
  const spans = (state) => Array.from(maskOf(state).subarray(0, 100), (value) => (value ? "#" : ".")).join("").replace(/(.)\1*/g, (run) => `${run[0]}${run.length}`);
  const first = rect(blank, 20, 60, "add");
  assert.equal(spans(first), ".20#40.40");
  assert.equal(spans(rect(first, 50, 80, "add")), ".20#60.20");
  assert.equal(spans(rect(first, 30, 40, "subtract")), ".20#10.10#20.40");
  assert.equal(spans(rect(first, 50, 80, "replace")), ".50#30.20");
  assert.equal(spans(rect(first, 50, 80, "intersect")), ".50#10.40");
});

test("a fill takes what hangs together within the tolerance, or all of it", () => {
  let state = blankState(600, 300, "L", "#808080");
  state = strokeOnto(state, op([[300, 0, 1], [310, 300, 1]], { op: "shape", tool: "rect", settings: { color: "#000000", mode: "add" } })); // a wall
  state = strokeOnto(state, op([[100, 100], [150, 150]], { op: "shape", tool: "rect", settings: { color: "#888888", mode: "add" } })); // 0.0268 lighter to the eye, of 1: between 6 and 7 of 255
  const fill = (settings) => maskOf(strokeOnto(state, op([[20, 20]], onMask({ op: "fill", tool: "wand", settings: { mode: "add", opacity: 100, sample: "all", ...settings } })))).filter(Boolean).length;
  assert.equal(fill({ tolerance: 6, contiguous: true }), 300 * 300 - 2500);
  assert.equal(fill({ tolerance: 7, contiguous: true }), 300 * 300);
  assert.equal(fill({ tolerance: 6, contiguous: false }), 590 * 300 - 2500);
  assert.equal(fill({ tolerance: 255, contiguous: true }), 600 * 300);
});

test("a fill or a wand looks at one layer where that is asked for", () => {
  const below = blankState(100, 100, "L", "#808080");
  let state = apply(below, { op: "addLayer", layer: { id: "M", name: "M", kind: "paint", x: -30, y: 10, visible: false, opacity: 40, facts: null } });
  state = strokeOnto(state, op([[10, 20], [50, 60]], { layer: "M", op: "shape", tool: "rect", settings: { mode: "add" } }));
  for (const tool of ["wand", "fill"]) {
    const taken = (sample) => maskOf(strokeOnto(state, op([[20, 30]], onMask({ op: "fill", tool, layer: "M", settings: { mode: "add", opacity: 100, tolerance: 9, contiguous: true, sample } })))).filter(Boolean).length;
    assert.deepEqual([taken("layer"), taken("all")], [1600, 10_000], tool);
  }
});

test("smudge keeps a flat colour as it is, drags an edge along, and brings nothing in from beyond", () => {
  const flat = blankState(200, 200, "L", "#7f3f1f");
  assert.deepEqual(Buffer.from(pixelsOf(strokeOnto(flat, op([[0, 5], [100, 100], [199, 199]], { tool: "smudge" })))), Buffer.from(pixelsOf(flat)));
  const edge = strokeOnto(flat, op([[0, 0], [100, 200]], { op: "shape", tool: "rect", settings: { color: "#ffffff", mode: "add" } }));
  const dragged = pixelsOf(strokeOnto(edge, op([[80, 100], [140, 100]], { tool: "smudge", settings: { size: 30, hardness: 50, opacity: 60 } })));
  const greens = [110, 120, 130].map((x) => dragged[(100 * 200 + x) * 4 + 1]);
  assert.ok(greens[0] > greens[1] && greens[1] > greens[2] && greens[2] > 0x3f, String(greens));
});

test("clone copies what lay there before the stroke", () => {
  let state = blankState(300, 100, "L");
  state = strokeOnto(state, op([[40, 40], [60, 60]], { op: "shape", tool: "rect", settings: { color: "#12ab56", mode: "add" } }));
  const clone = strokeOnto(state, op([[250, 50]], { tool: "clone", source: { dx: -200, dy: 0 }, settings: { size: 60 } }));
  const pixels = pixelsOf(clone);
  for (let y = 35; y < 65; y += 1) for (let x = 235; x < 265; x += 1) assert.deepEqual([...pixels.subarray((y * 300 + x) * 4, (y * 300 + x) * 4 + 4)], [...pixels.subarray((y * 300 + x - 200) * 4, (y * 300 + x - 200) * 4 + 4)]);
});

test("painting to the left of a layer's origin needs no tile below 0", () => {
  const moved = apply(blankState(200, 200, "L", "#445566"), { op: "resize", width: 700, height: 300, dx: 400, dy: 90 });
  const state = strokeOnto(moved, op([[5, 5], [600, 200]]));
  const [layer] = state.layers;
  assert.ok(layer.x <= 0 && layer.y <= 0);
  for (const key of layer.tiles.keys()) assert.match(key, /^\d+,\d+$/);
  assert.equal(alphaAt(state, 5, 5), 255);
  assert.deepEqual([...pixelsOf(state).subarray((91 * 700 + 590) * 4, (91 * 700 + 590) * 4 + 4)], [0x44, 0x55, 0x66, 255]);
});
