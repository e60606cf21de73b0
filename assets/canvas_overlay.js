// What lies above the picture: the brush's circle, the frame of what the model sees, and the shape that is being drawn.

import { asRgba } from "./canvas_png.js";
import { h } from "./dom.js";
import { boxOf, POINT } from "./canvas_stroke.js";
import { scribbles } from "./canvas_tools.js";

const CORNERS = { nw: [0, 0], ne: [1, 0], sw: [0, 1], se: [1, 1] };
const SIDES = { n: [0.5, 0], s: [0.5, 1], w: [0, 0.5], e: [1, 0.5] };
const LEAST = 8; // px, a side of the frame
const ARM = 9; // CSS px, of a corner's mark

const ROUND = ["brush", "eraser", "smudge", "clone", "line"]; // tools whose cursor is a circle

export function createOverlay(room, core, view) {
  const circle = h("i", { class: "wb-canvas-cursor", hidden: true });
  const hud = h("span", { class: "wb-canvas-hud", hidden: true });
  room.append(circle, hud);
  let frame = null; // {box, label, handles, beyond}
  let staged = null; // a variation that reaches beyond the document: {canvas, x, y}
  let dragged = null; // the frame's box when a drag of it began
  let place = null; // where the cursor is: {x, y, seen, keyboard}
  const waiting = new Set(); // what somebody thinks about: {x, y} or {x, y, width, height}

  function corners() {
    if (!frame?.handles) return [];
    const { x, y, width, height } = frame.box;
    const all = frame.beyond ? { ...CORNERS, ...SIDES } : CORNERS;
    return Object.entries(all).map(([name, [right, down]]) => ({ name, x: x + width * right, y: y + height * down, outwards: frame.beyond }));
  }

  /** The frame with a corner or side moved to (x, y); null lets it be as it was. */
  function dragFrame(corner, x, y, done) {
    if (!frame) return;
    dragged ??= frame.box;
    if (x !== null) frame.box = movedBox(dragged, corner, x, y, frame.beyond ? null : core.size());
    if (done) dragged = null;
    core.emit("frame", { box: frame.box, done });
    core.above();
  }

  function showCursor(now) {
    place = now;
    room.dataset.corner = now?.corner || "";
    const round = ROUND.includes(core.tool()) || scribbles(core.tool(), core.settings());
    room.dataset.circle = round ? "yes" : "no";
    circle.hidden = !now?.seen || !core.size().width || (!round && !now.keyboard);
    if (circle.hidden) return;
    const across = round ? Math.max(5, core.settings().size * view.zoom) : 11;
    const [x, y] = [view.left + now.x * view.zoom, view.top + now.y * view.zoom];
    Object.assign(circle.style, { width: `${across}px`, height: `${across}px`, transform: `translate(${x - across / 2}px, ${y - across / 2}px)` });
    circle.toggleAttribute("data-keyboard", Boolean(now.keyboard));
  }

  /** Draws onto the topmost canvas, in its own px. */
  function decorate(context, { scale, left, top, ratio }) {
    const across = (x) => left + x * scale;
    const down = (y) => top + y * scale;
    const twice = (width, draw) => {
      for (const [color, extra] of [["rgb(0 0 0 / 0.55)", 2], ["#fff", 0]]) {
        context.strokeStyle = color;
        context.lineWidth = (width + extra) * ratio;
        draw();
      }
    };
    if (staged && !core.before()) drawBeyond(context, across, down, scale);
    core.cropFrame.decorate(context, { across, down, twice, ratio });
    if (frame) drawFrame(context, { across, down, twice, ratio });
    const { doing, source } = core.hand;
    for (const mark of core.scribble.marks) drawMark(context, mark, { across, down, scale, ratio });
    if (doing?.mark) drawMark(context, doing.mark, { across, down, scale, ratio });
    for (const where of waiting) drawWaiting(context, where, { across, down, twice, scale, ratio });
    if (doing?.points?.length) drawShape(context, doing, { across, down, twice, scale });
    if (source && core.tool() === "clone") {
      const at = source.shift && place && core.hand.doing ? { x: place.x + source.shift.dx, y: place.y + source.shift.dy } : source;
      twice(1.2, () => cross(context, across(at.x), down(at.y), 7 * ratio));
    }
    placeHud();
  }

  function drawFrame(context, { across, down, twice, ratio }) {
    const { x, y, width, height } = frame.box;
    const [x0, y0, x1, y1] = [across(x), down(y), across(x + width), down(y + height)].map(Math.round);
    if (frame.beyond) veil(context, [x0, y0, x1, y1], [across(0), down(0), across(core.size().width), down(core.size().height)]);
    twice(1, () => context.strokeRect(x0, y0, x1 - x0, y1 - y0));
    if (!frame.handles) return;
    const arm = Math.min(ARM * ratio, (x1 - x0) / 2, (y1 - y0) / 2);
    twice(3, () => {
      context.beginPath();
      for (const [px, py, sx, sy] of [[x0, y0, 1, 1], [x1, y0, -1, 1], [x1, y1, -1, -1], [x0, y1, 1, -1]]) {
        context.moveTo(px + sx * arm, py);
        context.lineTo(px, py);
        context.lineTo(px, py + sy * arm);
      }
      if (frame.beyond) {
        for (const [px, py, along] of [[(x0 + x1) / 2, y0, true], [(x0 + x1) / 2, y1, true], [x0, (y0 + y1) / 2, false], [x1, (y0 + y1) / 2, false]]) {
          context.moveTo(px - (along ? arm : 0), py - (along ? 0 : arm));
          context.lineTo(px + (along ? arm : 0), py + (along ? 0 : arm));
        }
      }
      context.stroke();
    });
  }

  /** What the frame holds beyond the document. */
  function veil(context, [x0, y0, x1, y1], inner) {
    outside(context, inner, () => {
      context.fillStyle = "rgb(255 255 255 / 0.16)";
      context.fillRect(x0, y0, x1 - x0, y1 - y0);
    });
  }

  /** Draws where the document, [left, top, right, bottom], is not. */
  function outside(context, [left, top, right, bottom], draw) {
    context.save();
    context.beginPath();
    context.rect(0, 0, context.canvas.width, context.canvas.height);
    context.rect(left, top, right - left, bottom - top);
    context.clip("evenodd");
    draw();
    context.restore();
  }

  function drawBeyond(context, across, down, scale) {
    const { canvas, x, y, opacity } = staged;
    outside(context, [across(0), down(0), across(core.size().width), down(core.size().height)].map(Math.round), () => {
      context.globalAlpha = opacity;
      context.imageSmoothingEnabled = scale < 2;
      context.drawImage(canvas, Math.round(across(x)), Math.round(down(y)), Math.round(canvas.width * scale), Math.round(canvas.height * scale));
    });
  }

  /** A variation's part inside of the document is composited; what lies beyond is drawn here. */
  function setStaged(variation) {
    staged = null;
    if (variation) {
      const { picture, x, y, opacity = 100 } = variation;
      const { width, height } = core.size();
      if (x < 0 || y < 0 || x + picture.width > width || y + picture.height > height) {
        const canvas = Object.assign(document.createElement("canvas"), { width: picture.width, height: picture.height });
        canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(asRgba(picture).data), picture.width, picture.height), 0, 0);
        staged = { canvas, x, y, opacity: opacity / 100 };
      }
    }
    core.above();
  }

  function drawShape(context, { kind, tool, points }, { across, down, twice, scale }) {
    const last = points.length - POINT;
    const box = boxOf(points);
    const trace = () => {
      context.beginPath();
      if (tool === "lasso") for (let k = 0; k < points.length; k += POINT) context.lineTo(across(points[k]), down(points[k + 1]));
      else if (kind === "line") {
        context.moveTo(across(points[0]), down(points[1]));
        context.lineTo(across(points[last]), down(points[last + 1]));
      } else if (!box) return;
      else if (tool === "ellipse") context.ellipse(across(box.x + box.width / 2), down(box.y + box.height / 2), (box.width / 2) * scale, (box.height / 2) * scale, 0, 0, 2 * Math.PI);
      else context.rect(across(box.x), down(box.y), box.width * scale, box.height * scale);
    };
    if (kind === "line") {
      const { size, color, opacity } = core.settings();
      context.save();
      context.globalAlpha = opacity / 100;
      context.lineCap = "round";
      context.lineWidth = Math.max(1, size * scale);
      context.strokeStyle = core.target() === "mask" ? "rgb(26 26 26 / 0.5)" : color;
      trace();
      context.stroke();
      context.restore();
      return;
    }
    twice(1.2, () => {
      trace();
      context.stroke();
    });
  }

  /** A mark of a scribble: light with a line on the object, dark with a dashed one beside it. */
  function drawMark(context, { on, size, points }, { across, down, scale, ratio }) {
    context.save();
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(across(points[0]), down(points[1]));
    for (let k = 0; k < points.length; k += POINT) context.lineTo(across(points[k]) + 0.01, down(points[k + 1])); // a click is a dot
    context.lineWidth = Math.max(size * scale, 4 * ratio);
    context.strokeStyle = on ? "rgb(255 255 255 / 0.5)" : "rgb(0 0 0 / 0.5)";
    context.stroke();
    if (!on) context.setLineDash([5 * ratio, 5 * ratio]);
    for (const [width, color] of on ? [[3, "#000"], [1.4, "#fff"]] : [[3, "#fff"], [1.4, "#000"]]) {
      context.lineWidth = width * ratio;
      context.strokeStyle = color;
      context.stroke();
    }
    context.restore();
  }

  /** A box that is dashed, or a ring around a point. */
  function drawWaiting(context, { x, y, width, height }, { across, down, twice, scale, ratio }) {
    context.save();
    context.setLineDash([5 * ratio, 4 * ratio]);
    twice(1.4, () => {
      context.beginPath();
      if (width) context.rect(across(x), down(y), width * scale, height * scale);
      else context.arc(across(x + 0.5), down(y + 0.5), 9 * ratio, 0, 2 * Math.PI);
      context.stroke();
    });
    context.restore();
  }

  function placeHud() {
    hud.hidden = !frame?.label;
    if (hud.hidden) return;
    const { x, y, width, height } = frame.box;
    hud.textContent = frame.label;
    const left = Math.min(view.left + (x + width) * view.zoom + 8, room.clientWidth - hud.offsetWidth - 4);
    const top = Math.min(Math.max(4, view.top + (y + height) * view.zoom - hud.offsetHeight), room.clientHeight - hud.offsetHeight - 4);
    hud.style.transform = `translate(${Math.max(4, left)}px, ${top}px)`;
  }

  return {
    decorate,
    setStaged,
    /** The frame, where it may reach beyond the document. */
    get beyond() {
      return frame?.beyond ? frame.box : null;
    },
    corners,
    dragFrame,
    showCursor,
    refresh: () => showCursor(place),
    setFrame(box, { label = "what the model sees", handles = true, beyond = false } = {}) {
      if (dragged) return; // the hand that drags it is right
      frame = box && { box: { ...box }, label, handles, beyond };
      core.above();
    },
    /** Marks a place that somebody thinks about; answers what ends it. */
    wait({ x, y, width = 0, height = 0 }) {
      const where = { x, y, width, height };
      waiting.add(where);
      core.above();
      return () => {
        waiting.delete(where);
        core.above();
      };
    },
    get cursor() {
      return place;
    },
    destroy() {
      circle.remove();
      hud.remove();
    },
  };
}

function cross(context, x, y, arm) {
  context.beginPath();
  context.moveTo(x - arm, y);
  context.lineTo(x + arm, y);
  context.moveTo(x, y - arm);
  context.lineTo(x, y + arm);
  context.stroke();
}

/** A box with the named corner or side moved to (x, y), whole px, inside of `size` if there is one. */
export function movedBox(box, corner, x, y, size) {
  let [left, top, right, bottom] = [box.x, box.y, box.x + box.width, box.y + box.height];
  const within = (value, most) => Math.round(size ? Math.min(most, Math.max(0, value)) : value);
  if (corner.includes("w")) left = Math.min(within(x, size?.width), right - LEAST);
  if (corner.includes("e")) right = Math.max(within(x, size?.width), left + LEAST);
  if (corner.includes("n")) top = Math.min(within(y, size?.height), bottom - LEAST);
  if (corner.includes("s")) bottom = Math.max(within(y, size?.height), top + LEAST);
  return { x: left, y: top, width: right - left, height: bottom - top };
}
