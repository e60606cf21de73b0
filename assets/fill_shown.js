// What the Fill tab shows of its state, at most once a frame: the prompt bar, the frame, the badge, and the room that the
// canvas keeps clear of what floats over it.

import { count } from "./fill_parts.js";
import { aroundMask, changeable, framed, grown, planOf } from "./fill_plan.js";
import { INTENTS } from "./fill_settings.js";

const CLEAR = { edge: 12, badge: 52, top: 24, bottom: 28 }; // px from what floats to the picture

/**
 * `parts`: what stands around the canvas; `run`: the fill that is looked at; `values`: the settings; `host`: the canvas's
 * element. `state()` is {current, session, intents, sending, again, box, result}; `frame(box)` sets the frame of an expansion.
 */
export function createShown(canvas, { parts, run, values, host, announce, state, frame }) {
  let waiting = false;

  const whole = () => ({ x: 0, y: 0, width: canvas.width, height: canvas.height });

  function draw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      if (!canvas.empty) drawAll();
    });
  }

  function drawAll() {
    const { current, session, intents, sending, again, box, result } = state();
    const stepping = parts.steps.active();
    const shown = stepping ? null : run.shown();
    const over = shown && !run.running();
    parts.prompt.element.hidden = stepping || !current || Boolean(canvas.crop.box);
    parts.prompt.place("above", shown ? parts.variations.element : null);
    parts.prompt.element.classList.toggle("staged", Boolean(shown));
    if (shown) {
      parts.variations.update(shown, run.looked());
      parts.variations.relabel(shown.count);
    } else parts.variations.forget();
    const expanding = framed(canvas, values, { again, current }) && !stepping;
    const begun = !stepping && !expanding && session && parts.strokes.update(values, session.model, intents, Boolean(again) || Boolean(shown));
    parts.prompt.place("between", begun ? parts.strokes.element : expanding && !shown ? parts.expand.element : null);
    const wide = expanding && !box ? whole() : box;
    if (wide !== box) frame(wide);
    if (expanding) parts.expand.set(wide, { width: canvas.width, height: canvas.height });
    parts.prompt.update({ ...values, ...planOf(canvas, values, { sending, running: run.running(), again, box: wide, current }), primary: !over });
    parts.words.look(INTENTS[values.intent].words === "none" || shown ? "" : values.prompt);
    const seen = stepping ? null : aroundMask(canvas, values, session?.model);
    parts.context.update(values, expanding ? null : seen);
    parts.context.element.hidden = stepping || expanding;
    parts.mask.element.hidden = expanding || (stepping && parts.steps.purpose() === "edit");
    parts.how.element.hidden = stepping;
    parts.how.update(values, { painted: Boolean(again), run: again?.facts.run ?? null });
    drawFrame(seen, expanding, again, wide);
    drawBadge(shown, expanding, wide, result);
    const idle = stepping ? parts.steps.purpose() === "edit" : expanding; // a mask that does not act is not drawn
    canvas.overlay.maskLook = idle ? "none" : (shown || result) && !canvas.scribble.answer ? "ants" : "hatch";
    insets();
  }

  function drawFrame(seen, expanding, again, box) {
    const { overlay } = canvas;
    if (parts.steps.active() || canvas.crop.box) return overlay.setFrame(null);
    if (run.busy()) return overlay.setFrame(run.frame(), { handles: false, beyond: true });
    if (again) return overlay.setFrame(again.facts.frame ?? null, { handles: false });
    if (expanding) return overlay.setFrame(box, { label: grown(box, canvas) ? `${box.width} × ${box.height}` : "drag me outwards", handles: true, beyond: true });
    return overlay.setFrame(seen?.frame ?? null, { handles: !canvas.scribble.active }); // a mark may begin at its corner
  }

  function drawBadge(shown, expanding, box, result) {
    const comparison = (shown && !run.running() && run.count()) || result;
    let facts = null;
    if (comparison && (shown || !expanding)) facts = { untouched: comparison.untouched, changed: comparison.outside_changed };
    else if (!parts.steps.active()) facts = changeable(canvas, expanding, box);
    parts.options.badge(facts);
    if (facts) announce(facts.change === undefined ? `${count(facts.untouched)} pixels untouched, ${count(facts.changed)} changed` : `${count(facts.change)} pixels will change, ${count(facts.rest)} cannot`);
  }

  /** The canvas keeps clear of what floats over it. */
  function insets() {
    const bar = parts.prompt.element;
    const bars = [parts.steps.element, parts.scribble.element, parts.crop.element].filter((part) => part.checkVisibility()).reduce((sum, part) => sum + part.offsetHeight, 0);
    const above = bars ? bars + CLEAR.top : parts.options.smallBadge.checkVisibility() ? CLEAR.badge : CLEAR.edge;
    canvas.view.setInsets({ top: above, right: CLEAR.edge, bottom: bar.hidden ? CLEAR.edge : bar.offsetHeight + CLEAR.bottom, left: CLEAR.edge });
  }

  /** Where the document's corner lies in the window, and its scale: for whoever drives the page from outside. */
  function place() {
    if (canvas.empty) return;
    const { x, y } = canvas.view.toClient(0, 0);
    host.dataset.place = JSON.stringify([x, y, canvas.view.zoom]);
  }

  for (const event of ["view", "loaded"]) canvas.on(event, place);
  for (const part of [parts.prompt.element, parts.steps.element, parts.scribble.element, parts.crop.element]) new ResizeObserver(insets).observe(part);
  new ResizeObserver(place).observe(host);
  return { draw, whole };
}
