// From pointers, wheel and arrow keys to the hand: one finger paints, two pinch; the pen's other end erases; whatever
// interrupts a stroke ends it with what was drawn.

const GRIP = { mouse: 9, touch: 22 }; // CSS px around a corner of the frame
const BESIDE = 1.5; // times as far where a corner is only grabbed from outside of the frame
const STIRRED = 3; // CSS px after which a mouse is moved and not only touched
const SECOND_FINGER = 250; // ms in which a second finger takes the first one's stroke back
const WHEEL = 0.0016; // log zoom per px of wheel
const EDGES = ["rect", "ellipse", "lasso", "object"];
const PINCH = 0.01; // the same for a trackpad's pinch, whose px are small

/**
 * `core`: hand, view, tool(), settings(), set(), corners() and dragFrame(corner, x, y, done), holds(x, y), cursor(place | null),
 * say(), measured(ms). Answers what keys need: {held, keyboard}.
 */
export function attachInput(element, core) {
  const { hand, view } = core;
  const fingers = new Map(); // pointerId -> {x, y}: touches that are down
  let stroke = null; // {id, type, at}: the pointer that draws
  let pan = null; // {id, x, y}
  let pinch = null; // {far, x, y}
  let grip = null; // {id, corner}
  let holding = false; // H, or Space with the mouse
  let pen = false; // a pen is down: palms are not fingers
  let keyboard = null; // {x, y, drawing}: the keyboard's cursor
  let rest = null; // {x, y}: where the mouse was when the keyboard's cursor came
  let byKeys = true; // the last thing that was pressed, anywhere, was a key
  const stop = new AbortController();
  const on = (name, listener, options = {}) => element.addEventListener(name, (event) => core.timed(() => listener(event)), { signal: stop.signal, ...options });

  const modsOf = (event) => ({ shift: event.shiftKey, alt: event.altKey, erases: event.pointerType === "pen" && (event.buttons & 32) === 32 });

  function pressureOf(event) {
    if (event.pointerType === "pen") return event.pressure || 0;
    // a touch screen without pressure says 0, 0.5 or 1
    if (event.pointerType === "touch" && event.pressure > 0 && event.pressure < 1 && event.pressure !== 0.5) return event.pressure;
    return 1;
  }

  function pointAt(event) {
    const { x, y } = view.toDocument(event.clientX, event.clientY);
    return [x, y, pressureOf(event), event.pointerType === "pen" ? event.tiltX || 0 : 0, event.pointerType === "pen" ? event.tiltY || 0 : 0];
  }

  /**
   * The corner or side of the frame that a pointer would drag. Where the frame is there to be dragged outwards, or with Pan,
   * all around it; with any other tool only from outside, so that strokes may begin in the frame's corner.
   */
  function cornerAt(event) {
    const reach = event.pointerType === "touch" ? GRIP.touch : GRIP.mouse;
    let nearest = null; // the handles of a small frame lie over each other
    for (const { name, x, y, outwards } of core.corners()) {
      const at = view.toClient(x, y);
      const [right, down] = [event.clientX - at.x, event.clientY - at.y];
      const far = Math.max(Math.abs(right), Math.abs(down));
      const beside = (name.includes("w") ? -right : right) > 1 && (name.includes("n") ? -down : down) > 1;
      const held = outwards || core.tool() === "hand" ? far <= reach : beside && far <= BESIDE * reach;
      if (held && far < (nearest?.far ?? Infinity)) nearest = { name, far };
    }
    return nearest?.name ?? null;
  }

  function capture(event) {
    try {
      element.setPointerCapture(event.pointerId);
    } catch {
      // the pointer is gone already: what it began ends with the next event
    }
  }

  on("pointerdown", (event) => {
    pressed = true;
    element.focus({ preventScroll: true });
    pressed = false;
    byKeyboard(false);
    event.preventDefault();
    keyboardOff();
    if (event.pointerType === "touch") {
      if (pen) return;
      fingers.set(event.pointerId, event);
      if (fingers.size === 2) return beginPinch();
      if (fingers.size > 2) return;
    }
    if (stroke || pan || grip) return;
    capture(event);
    const corner = event.button === 0 && !holding && cornerAt(event);
    if (corner) {
      grip = { id: event.pointerId, corner };
      return;
    }
    if (event.button === 1 || holding || (core.tool() === "hand" && event.button === 0)) {
      pan = { id: event.pointerId, x: event.clientX, y: event.clientY };
      shown();
      return;
    }
    const penEnd = event.pointerType === "pen" && event.button === 5;
    if (event.button !== 0 && !penEnd) return;
    if (core.tool() === "zoom") {
      view.zoomBy(event.altKey || event.shiftKey ? 1 / 2 : 2, event.clientX, event.clientY);
      return;
    }
    pen = event.pointerType === "pen";
    stroke = { id: event.pointerId, at: event.timeStamp, type: event.pointerType };
    const [x, y, pressure, tiltX, tiltY] = pointAt(event);
    hand.begin(x, y, pressure, [tiltX, tiltY], modsOf(event));
    core.cursor({ x, y, seen: event.pointerType !== "touch" });
  });

  on("pointermove", (event) => {
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, event);
    if (pinch) return movePinch();
    if (grip?.id === event.pointerId) {
      const { x, y } = view.toDocument(event.clientX, event.clientY);
      core.dragFrame(grip.corner, x, y, false);
      return;
    }
    if (pan?.id === event.pointerId) {
      view.panBy(event.clientX - pan.x, event.clientY - pan.y);
      Object.assign(pan, { x: event.clientX, y: event.clientY });
      return;
    }
    if (stroke?.id === event.pointerId) {
      const parts = event.getCoalescedEvents?.() ?? [];
      const points = (parts.length ? parts : [event]).flatMap(pointAt);
      hand.move(points, modsOf(event));
    }
    stir(event);
    const { x, y } = view.toDocument(event.clientX, event.clientY);
    if (!keyboard) core.cursor({ x, y, seen: event.pointerType !== "touch", corner: !stroke && !holding && (cornerAt(event) ?? (core.holds(x, y) && "all")) });
  });

  const over = (event) => {
    fingers.delete(event.pointerId);
    if (pinch && fingers.size < 2) pinch = null;
    if (grip?.id === event.pointerId) {
      const { x, y } = view.toDocument(event.clientX, event.clientY);
      if (event.type === "pointerup") core.dragFrame(grip.corner, x, y, false);
      letGo();
    }
    if (pan?.id === event.pointerId) pan = null;
    if (stroke?.id === event.pointerId) {
      stroke = null;
      pen = false;
      hand.end(); // also where the system took the pointer away: what was drawn stays, undo takes it back
    }
    shown();
  };
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) on(name, over);
  on("pointerleave", () => !keyboard && !stroke && core.cursor(null));
  on("contextmenu", (event) => event.preventDefault());

  on(
    "wheel",
    (event) => {
      event.preventDefault();
      const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? element.clientHeight : 1;
      if (event.shiftKey && !event.ctrlKey) return view.panBy(-(event.deltaX || event.deltaY) * unit, event.deltaX ? -event.deltaY * unit : 0);
      view.zoomBy(Math.exp(-event.deltaY * unit * (event.ctrlKey ? PINCH : WHEEL)), event.clientX, event.clientY);
      return undefined;
    },
    { passive: false },
  );

  function spread() {
    const [a, b] = [...fingers.values()];
    return { far: Math.max(1, Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY)), x: (a.clientX + b.clientX) / 2, y: (a.clientY + b.clientY) / 2 };
  }

  /** The frame's corner stays where it was dragged to. */
  function letGo() {
    if (grip) core.dragFrame(grip.corner, null, null, true);
    grip = null;
  }

  function beginPinch() {
    if (stroke) {
      const short = performance.now() - stroke.at < SECOND_FINGER;
      stroke = null;
      if (short) hand.cancel(); // the first finger of two, not a stroke
      else hand.end();
    }
    pan = null;
    letGo();
    pinch = spread();
  }

  function movePinch() {
    if (fingers.size < 2) return;
    const now = spread();
    view.panBy(now.x - pinch.x, now.y - pinch.y);
    view.zoomBy(now.far / pinch.far, now.x, now.y);
    pinch = now;
  }

  function shown() {
    element.dataset.pans = holding || core.tool() === "hand" ? (pan ? "now" : "ready") : "no";
  }

  /** A mouse or pen that is moved has the cursor, unless a stroke of the keyboard's is being drawn. */
  function stir(event) {
    if (event.pointerType === "touch") return;
    const place = { x: event.clientX, y: event.clientY };
    if (!keyboard || !rest) rest = place;
    else if (!keyboard.drawing && Math.hypot(place.x - rest.x, place.y - rest.y) >= STIRRED) keyboardOff();
  }

  // the keyboard's own cursor
  function keyboardOn() {
    if (keyboard || core.tool() === "crop") return; // a frame has handles of its own
    const { width, height } = core.size();
    keyboard = { x: Math.floor(width / 2), y: Math.floor(height / 2), drawing: false, ...core.lastCursor() };
    core.cursor({ ...keyboard, seen: true, keyboard: true });
  }

  function keyboardOff() {
    if (!keyboard) return;
    if (keyboard.drawing) hand.end();
    keyboard = null;
    core.cursor(null);
  }

  function step(dx, dy, far) {
    keyboardOn();
    const { width, height } = core.size();
    keyboard.x = Math.min(width, Math.max(0, keyboard.x + dx * far));
    keyboard.y = Math.min(height, Math.max(0, keyboard.y + dy * far));
    if (keyboard.drawing) hand.move([...middle(), 1, 0, 0], { shift: false, alt: false });
    core.cursor({ ...keyboard, seen: true, keyboard: true });
    core.saySoon();
  }

  /** Strokes go through the middle of the pixel that the cursor is on; boxes run along pixels' edges. */
  function middle() {
    const half = EDGES.includes(core.tool()) ? 0 : 0.5;
    return [keyboard.x + half, keyboard.y + half];
  }

  function press(mods) {
    if (!keyboard || keyboard.drawing) return;
    hand.begin(...middle(), 1, [0, 0], mods);
    keyboard.drawing = Boolean(hand.doing);
    core.saySoon();
  }

  function release() {
    if (!keyboard?.drawing) return;
    keyboard.drawing = false;
    hand.end();
    core.saySoon();
  }

  on("blur", () => {
    holding = false;
    release();
    shown();
  });
  let pressed = false; // the focus comes from a pointer
  for (const name of ["pointerdown", "keydown"]) window.addEventListener(name, () => (byKeys = name === "keydown"), { signal: stop.signal, capture: true });
  on("focus", () => {
    const keys = byKeys && !pressed && element.matches(":focus-visible"); // a script may give the focus after a click
    byKeyboard(keys);
    if (keys && core.size().width) keyboardOn();
  });
  on("keydown", (event) => !["Control", "Shift", "Alt", "Meta"].includes(event.key) && byKeyboard(true));

  function byKeyboard(is) {
    element.toggleAttribute("data-keyboard", is);
  }

  return {
    step,
    press,
    release,
    get keyboard() {
      return keyboard;
    },
    keyboardOff,
    get drawing() {
      return Boolean(stroke || keyboard?.drawing);
    },
    /** H, or Space with the mouse, is held: the next drag pans. */
    hold(is) {
      holding = is;
      shown();
    },
    shown,
    drop() {
      letGo();
      stroke = pan = pinch = null;
      fingers.clear();
    },
    destroy: () => stop.abort(),
  };
}
