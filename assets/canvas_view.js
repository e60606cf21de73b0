// Where the document lies in its room: zoom, pan, fit, full screen. CSS px throughout, from the room's corner.

const ZOOMS = { least: 0.02, most: 64 }; // CSS px per document px
const MARGIN = 18; // px around a picture that fits
const KEPT = 48; // px of the picture that cannot be pushed out of the room

/**
 * `room`: the element; `size()`: the document's {width, height}; `sheet()`: the box that should be in sight when it fits;
 * `moved()` is called after every change.
 */
export function createView(room, size, sheet, moved, fullscreen = room) {
  let zoom = 1;
  let [left, top] = [0, 0];
  let insets = { top: 0, right: 0, bottom: 0, left: 0 };
  let fitted = true; // stays fitted as the room changes, until somebody zooms or pans

  function fit() {
    const { x, y, width, height } = sheet();
    const across = room.clientWidth - insets.left - insets.right;
    const down = room.clientHeight - insets.top - insets.bottom;
    if (across <= 0 || down <= 0 || !width) return;
    zoom = limited(Math.min(Math.max(across - 2 * MARGIN, across / 2) / width, Math.max(down - 2 * MARGIN, down / 2) / height));
    left = insets.left + (across - width * zoom) / 2 - x * zoom;
    top = insets.top + (down - height * zoom) / 2 - y * zoom;
    fitted = true;
    moved();
  }

  const limited = (value) => Math.min(ZOOMS.most, Math.max(ZOOMS.least, value));

  function settle() {
    const { width, height } = size();
    left = Math.min(room.clientWidth - KEPT, Math.max(KEPT - width * zoom, left));
    top = Math.min(room.clientHeight - KEPT, Math.max(KEPT - height * zoom, top));
    fitted = false;
    moved();
  }

  /** What lies at (x, y) of the room stays there. */
  function zoomAt(factor, x, y) {
    const to = limited(zoom * factor);
    left = x - ((x - left) * to) / zoom;
    top = y - ((y - top) * to) / zoom;
    zoom = to;
    settle();
  }

  const inRoom = (clientX, clientY) => {
    const box = room.getBoundingClientRect();
    return [clientX - box.left - room.clientLeft, clientY - box.top - room.clientTop];
  };

  return {
    get zoom() {
      return zoom;
    },
    get left() {
      return left;
    },
    get top() {
      return top;
    },
    fit,
    actual() {
      zoomAt(1 / zoom, room.clientWidth / 2, room.clientHeight / 2);
    },
    zoomBy(factor, clientX, clientY) {
      const [x, y] = clientX === undefined ? [room.clientWidth / 2, room.clientHeight / 2] : inRoom(clientX, clientY);
      zoomAt(factor, x, y);
    },
    panBy(dx, dy) {
      left += dx;
      top += dy;
      settle();
    },
    /** Room that something else covers; a fitted picture keeps clear of it. */
    setInsets(covered) {
      insets = { ...insets, ...covered };
      if (fitted) fit();
    },
    /** The document has grown by (dx, dy) px to the left and above: what is seen stays where it is. */
    follow(dx, dy) {
      left -= dx * zoom;
      top -= dy * zoom;
    },
    /** After the room or the document has another size. */
    refit() {
      if (fitted) fit();
      else settle();
    },
    toDocument(clientX, clientY) {
      const [x, y] = inRoom(clientX, clientY);
      return { x: (x - left) / zoom, y: (y - top) / zoom };
    },
    toClient(x, y) {
      const box = room.getBoundingClientRect();
      return { x: box.left + room.clientLeft + left + x * zoom, y: box.top + room.clientTop + top + y * zoom };
    },
    async fullScreen() {
      try {
        if (document.fullscreenElement) await document.exitFullscreen();
        else await fullscreen.requestFullscreen?.();
      } catch {
        // the browser does not let this page: it stays as it is
      }
    },
  };
}
