// A scribble on an object: what its marks say, and what becomes of the mask while it is looked at, taken back or dropped.

import assert from "node:assert/strict";
import test from "node:test";

import { apply, blankState } from "../../assets/canvas_ops.js";
import { BESIDE, createScribble, marksOf, ON_IT } from "../../assets/canvas_scribble.js";
import { readBox } from "../../assets/canvas_tiles.js";
import { settled, DEFAULTS, scribbles } from "../../assets/canvas_tools.js";

const SIZE = { width: 300, height: 280 };
const WHOLE = { x: 0, y: 0, ...SIZE };
const at = ({ data }, x, y) => data[y * SIZE.width + x];
const mark = (on, size, ...places) => ({ on, size, points: places.flatMap(([x, y]) => [x, y, 1, 0, 0]) });

/** A scribble on a document, and what it told. */
function begun(mode = "add") {
  const state = { head: blankState(SIZE.width, SIZE.height, "L"), mode };
  const told = [];
  const boxes = [];
  const acting = () => state.head.mask.tiles;
  const scribble = createScribble({ head: () => state.head, mode: () => state.mode, acting, changed: (box) => boxes.push(box), above: () => {}, emit: (name, detail) => told.push([name, detail]) });
  return { scribble, state, told, boxes };
}

function disc(cx, cy, radius) {
  const data = new Uint8Array(SIZE.width * SIZE.height);
  for (let y = 0; y < SIZE.height; y += 1) for (let x = 0; x < SIZE.width; x += 1) if ((x - cx) ** 2 + (y - cy) ** 2 < radius ** 2) data[y * SIZE.width + x] = 255;
  return { ...SIZE, channels: 1, data };
}

test("a mark covers its brush across tiles, and says nothing elsewhere", () => {
  const picture = marksOf([mark(true, 20, [240, 250], [290, 270])], SIZE);
  assert.deepEqual([at(picture, 250, 254), at(picture, 270, 262), at(picture, 100, 100), at(picture, 240, 275)], [ON_IT, ON_IT, 0, 0]);
  assert.ok(picture.data.every((value) => value === 0 || value === ON_IT)); // no soft edges: each pixel is sure
});

test("what lies beside the object is told apart, and a later mark lies over an earlier one", () => {
  const [on, beside] = [mark(true, 30, [60, 60], [120, 60]), mark(false, 30, [90, 30], [90, 90])];
  const first = marksOf([on, beside], SIZE);
  assert.deepEqual([at(first, 62, 60), at(first, 90, 60), at(first, 90, 85)], [ON_IT, BESIDE, BESIDE]);
  assert.equal(at(marksOf([beside, on], SIZE), 90, 60), ON_IT);
});

test("the thinnest mark still marks something wherever it runs", () => {
  for (const x of [50, 50.25, 50.5, 50.75]) assert.ok(marksOf([mark(true, 1, [x, 40], [x, 60])], SIZE).data.some(Boolean), `${x}`);
});

test("there is nothing to look for until a mark lies on the object", () => {
  const { scribble } = begun();
  assert.equal(scribble.picture(), null);
  scribble.add(mark(false, 10, [5, 5]));
  assert.equal(scribble.picture(), null);
  scribble.add(mark(true, 10, [50, 50]));
  assert.equal(scribble.picture().data[50 * SIZE.width + 50], ON_IT);
});

test("the answer is seen as the mask would be with it, in every way of combining", () => {
  const wanted = { add: [255, 255], replace: [0, 255], subtract: [255, 0], intersect: [0, 0] };
  for (const [mode, [before, found]] of Object.entries(wanted)) {
    const { scribble, state } = begun(mode);
    state.head = apply(state.head, { op: "maskCombine", mode: "add", x: 0, y: 0 }, () => disc(60, 60, 20));
    const untouched = state.head;
    scribble.add(mark(true, 10, [200, 200]));
    scribble.show(disc(200, 200, 30));
    const seen = readBox(scribble.tiles() ?? new Map(), 1, WHOLE);
    assert.deepEqual([seen[60 * SIZE.width + 60], seen[200 * SIZE.width + 200]], [before, found], mode);
    assert.equal(state.head, untouched); // it is not in the mask yet
  }
});

test("undo takes marks back one by one, redo does them again, and what is dropped comes back too", () => {
  const { scribble, boxes } = begun();
  const marks = [mark(true, 10, [50, 50]), mark(false, 10, [90, 90])];
  for (const each of marks) scribble.add(each);
  scribble.show(disc(50, 50, 20));
  scribble.undo();
  assert.deepEqual(scribble.marks, [marks[0]]);
  scribble.redo();
  assert.deepEqual(scribble.marks, marks);
  boxes.length = 0;
  scribble.drop();
  assert.deepEqual([scribble.marks, scribble.answer, scribble.tiles(), scribble.canUndo], [[], null, null, false]);
  assert.ok(boxes.length); // what was seen is drawn anew
  scribble.redo();
  scribble.redo();
  assert.deepEqual(scribble.marks, marks);
  scribble.drop(true);
  assert.equal(scribble.canRedo, false);
});

test("another mask below the answer is seen, and marks that were taken back are gone then", () => {
  const { scribble, state } = begun();
  scribble.add(mark(true, 10, [200, 200]));
  scribble.add(mark(true, 10, [210, 200]));
  scribble.undo();
  scribble.show(disc(200, 200, 30));
  state.head = apply(state.head, { op: "maskCombine", mode: "add", x: 0, y: 0 }, () => disc(60, 60, 20));
  scribble.refresh(true);
  const seen = readBox(scribble.tiles(), 1, WHOLE);
  assert.deepEqual([seen[60 * SIZE.width + 60], seen[200 * SIZE.width + 200]], [255, 255]);
  assert.equal(scribble.canRedo, false);
});

test("only what there is can be chosen", () => {
  const chosen = settled(DEFAULTS, { by: "scribble", mark: "beside" });
  assert.deepEqual([chosen.by, chosen.mark, scribbles("object", chosen), scribbles("brush", chosen)], ["scribble", "beside", true, false]);
  assert.deepEqual(settled(chosen, { by: "magic", mark: 3 }), chosen);
});
