// Strokes on a picture: a layer of its own over the picture, so that what was painted, and where, is known to the pixel.

const HISTORY = 64; // states
const HISTORY_BYTES = 96 * 1024 * 1024;

/** A layer of width × height px over `base`, an ImageBitmap. */
export function createStrokes(base, width, height) {
  const canvas = (options) => {
    const made = Object.assign(document.createElement("canvas"), { width, height });
    return [made, made.getContext("2d", options)];
  };
  const [layer, ink] = canvas({ willReadFrequently: true });
  const [stroke, wet] = canvas();
  const tip = document.createElement("canvas");
  let tipKey = "";
  let drawing = null; // {brush, last, carry}
  let past = [];
  let future = [];

  /** One dab: a disc of `size` px whose edge is as soft as `hardness` (0 to 1) leaves it. */
  function dabOf({ size, hardness, color }) {
    const key = `${size} ${hardness} ${color}`;
    if (key === tipKey) return tip;
    tipKey = key;
    const across = Math.ceil(size) + 4;
    Object.assign(tip, { width: across, height: across });
    const context = tip.getContext("2d");
    const middle = across / 2;
    const gradient = context.createRadialGradient(middle, middle, 0, middle, middle, size / 2 + 0.5);
    gradient.addColorStop(0, color);
    gradient.addColorStop(Math.min(0.98, hardness), color);
    gradient.addColorStop(1, `${color}00`);
    context.fillStyle = gradient;
    context.fillRect(0, 0, across, across);
    return tip;
  }

  function dab(x, y, brush) {
    const drawn = dabOf(brush);
    wet.drawImage(drawn, x - drawn.width / 2, y - drawn.height / 2);
  }

  const state = () => ink.getImageData(0, 0, width, height);

  function begin(x, y, brush) {
    past.push(state());
    while (past.length > Math.max(1, Math.min(HISTORY, HISTORY_BYTES / (width * height * 4)))) past.shift();
    future = [];
    drawing = { brush, x, y };
    wet.clearRect(0, 0, width, height);
    dab(x, y, brush);
  }

  function to(x, y) {
    if (!drawing) return;
    const { brush } = drawing;
    const far = Math.hypot(x - drawing.x, y - drawing.y);
    const spacing = Math.max(0.5, brush.size / 8);
    const dabs = Math.floor(far / spacing);
    for (let k = 1; k <= dabs; k += 1) dab(drawing.x + ((x - drawing.x) * k * spacing) / far, drawing.y + ((y - drawing.y) * k * spacing) / far, brush);
    if (dabs) Object.assign(drawing, { x: drawing.x + ((x - drawing.x) * dabs * spacing) / far, y: drawing.y + ((y - drawing.y) * dabs * spacing) / far });
  }

  function end() {
    if (!drawing) return;
    settle(ink, drawing.brush);
    drawing = null;
    wet.clearRect(0, 0, width, height);
  }

  /** The stroke in progress joins the layer, or is taken out of it. */
  function settle(context, brush) {
    context.save();
    context.globalAlpha = brush.opacity;
    context.globalCompositeOperation = brush.erases ? "destination-out" : "source-over";
    context.drawImage(stroke, 0, 0);
    context.restore();
  }

  function step(from, onto) {
    if (!from.length) return;
    onto.push(state());
    ink.putImageData(from.pop(), 0, 0);
  }

  const [shown, view] = canvas();

  /** Draws what a person sees: the picture, the layer and the stroke in progress. */
  function show(context, veil = 1) {
    view.clearRect(0, 0, width, height);
    view.drawImage(layer, 0, 0);
    if (drawing) settle(view, drawing.brush);
    context.drawImage(base, 0, 0, width, height);
    context.save();
    context.globalAlpha = veil;
    context.drawImage(shown, 0, 0);
    context.restore();
  }

  return {
    begin,
    to,
    end,
    show,
    undo: () => step(past, future),
    redo: () => step(future, past),
    canUndo: () => past.length > 0,
    canRedo: () => future.length > 0,
    clear() {
      past.push(state());
      future = [];
      ink.clearRect(0, 0, width, height);
    },
    /** How many pixels carry paint. */
    count() {
      const { data } = state();
      let painted = 0;
      for (let k = 3; k < data.length; k += 4) if (data[k]) painted += 1;
      return painted;
    },
    /** The colour that is seen at a place, as #rrggbb. */
    colorAt(x, y) {
      const [all, context] = canvas({ willReadFrequently: true });
      show(context);
      const [r, g, b] = context.getImageData(Math.floor(x), Math.floor(y), 1, 1).data;
      all.width = 0;
      return `#${[r, g, b].map((value) => value.toString(16).padStart(2, "0")).join("")}`;
    },
    /** The picture with its paint, and where the paint lies (white, as strong as it covers), both as PNG. */
    async export() {
      const [flat, context] = canvas();
      show(context);
      const [where, mask] = canvas();
      const pixels = state();
      for (let k = 0; k < pixels.data.length; k += 4) {
        pixels.data.fill(pixels.data[k + 3], k, k + 3);
        pixels.data[k + 3] = 255;
      }
      mask.putImageData(pixels, 0, 0);
      const [picture, region] = await Promise.all([flat, where].map((made) => new Promise((done) => made.toBlob(done, "image/png"))));
      return { picture, region };
    },
  };
}
