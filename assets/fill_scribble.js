// An object cut out by scribbling: after every mark the server is asked anew, and what it found is shown, until the
// person takes it into the mask or lets it go.

import { decodePng } from "./canvas_png.js";
import { button, h } from "./dom.js";
import { choices, count } from "./fill_parts.js";
import { createMarked } from "./fill_selections.js";
import { expected } from "./fill_server.js";

const FIRST = "Draw roughly over the object.";
const ONLY_BESIDE = "Now draw over the object itself.";

/** `room.kept(marks)` hears the marks whenever they change, for a reload. */
export function createScribbleBar(canvas, room) {
  const { scribble } = canvas;
  const marked = createMarked(canvas);
  let found = null; // the PNG that is shown
  let asking = null; // a promise, while the server is asked
  let stale = false; // the marks are other ones than those it was asked about
  let taking = null;
  const words = h("small", { role: "status" });
  const side = choices("What the next mark lies on", [["on", "On it"], ["beside", "Beside it"]], "on", (mark) => canvas.set({ mark }));
  const drop = button("quiet", "Cancel", null, () => (scribble.drop(), canvas.focus()));
  const apply = button("primary", "Apply", "check", () => (take(), canvas.focus()));
  const element = h("div", { class: "wb-floating wb-scribble-bar", role: "region", "aria-label": "Cut out an object", hidden: true }, h("p", {}, h("b", {}, "Cut out an object"), words), side.element, drop, apply);
  side.element.title = "With Alt a mark lies on the other side";

  function say(text, bad = false) {
    if (words.textContent !== text) words.textContent = text;
    element.classList.toggle("bad", bad);
  }

  function turned() {
    room.kept(scribble.marks);
    stale = true;
    asking ??= ask().finally(() => {
      asking = null;
      draw();
    });
    draw();
  }

  async function ask() {
    while (stale) {
      stale = false;
      const picture = scribble.picture();
      if (!picture) {
        show(null, scribble.marks.length ? ONLY_BESIDE : "");
        continue;
      }
      say("Looking for it…");
      try {
        const png = await marked.find(picture);
        const object = await decodePng(png);
        if (!stale) show(png, `${count(object.data.reduce((sum, value) => sum + (value > 0), 0))} px found. More marks correct it.`, object);
      } catch (problem) {
        if (!expected(problem)) throw problem;
        if (!stale) show(null, problem.message, null, true);
      }
    }
  }

  function show(png, text, object = null, bad = false) {
    found = png;
    if (object || scribble.answer) scribble.show(object);
    say(text, bad);
    draw();
  }

  /** What was found joins the mask. While it is being looked for, as soon as it is there. */
  function take() {
    taking ??= taken().finally(() => {
      taking = null;
      draw();
    });
    draw();
    return taking;
  }

  async function taken() {
    if (asking) await asking;
    if (!found || !scribble.marks.length) return;
    try {
      await marked.take(found, canvas.settings.mode);
    } catch (problem) {
      if (!expected(problem)) throw problem;
      say(problem.message, true); // the marks stay
      return;
    }
    scribble.drop(true);
  }

  /** The person does something else: what was found is taken, and undo takes it back. Marks stay if that fails. */
  async function settle() {
    if (!scribble.marks.length) return;
    if (scribble.marks.some(({ on }) => on)) await take();
    else scribble.drop(true);
  }

  function draw() {
    element.hidden = canvas.empty || (!scribble.active && !scribble.marks.length);
    side.set(canvas.settings.mark);
    drop.disabled = !scribble.marks.length;
    apply.disabled = Boolean(taking) || (!found && !asking);
    if (!words.textContent && !scribble.marks.length) say(FIRST);
  }

  let known = scribble.marks;
  canvas.on("scribble", (what) => {
    if (what.take) take();
    else if (scribble.marks !== known) {
      known = scribble.marks;
      turned();
    }
  });
  canvas.on("tool", () => {
    draw();
    if (!scribble.active) settle();
  });
  for (const event of ["loaded", "layers"]) canvas.on(event, draw);
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !scribble.marks.length) return;
    event.preventDefault();
    event.stopPropagation();
    scribble.drop();
    canvas.focus();
  });
  return { element, settle };
}
