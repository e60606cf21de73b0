// One picture as large as the window, over everything. Arrows turn, Esc or a click goes back.

import { button, h } from "./dom.js";
import { pictureAddress } from "./server.js";

/** The largest size for a width × height picture in the room: whole or half multiples where that wastes little. */
export function fitted(width, height, roomWidth, roomHeight) {
  const most = Math.min(roomWidth / width, roomHeight / height);
  let scale = most;
  if (most >= 1) {
    const whole = Math.floor(most);
    const half = Math.floor(most * 2) / 2;
    if (whole / most >= 0.9) scale = whole;
    else if (half / most >= 0.9) scale = half;
  }
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

export function createViewer() {
  let album = [];
  let at = 0;
  let onTurn = () => {};

  const image = h("img", { alt: "" });
  const hud = h("div", { class: "wb-hud" });
  const close = button("icon close", "Back to the page", "cross", () => dialog.close());
  const previous = button("icon previous", "Previous picture", "left", () => turn(-1));
  const next = button("icon next", "Next picture", "right", () => turn(1));
  const dialog = h("dialog", { class: "wb-viewer", "aria-label": "Picture, enlarged" }, image, hud, previous, next, close);
  document.body.append(dialog);

  const neighbour = (way) => {
    for (let index = at + way; index >= 0 && index < album.length; index += way) if (album[index].id) return index;
    return null;
  };

  function turn(way) {
    const index = neighbour(way);
    if (index === null) return;
    at = index;
    draw();
    onTurn(at);
  }

  function draw() {
    const { id, request } = album[at];
    const [width, height] = fitted(request.width, request.height, innerWidth - 16, innerHeight - 16);
    image.width = width;
    image.height = height;
    image.src = pictureAddress(id);
    image.alt = request.prompt.trim() || "A picture without words";
    hud.textContent = `${album.length > 1 ? `${at + 1} of ${album.length} · ` : ""}${request.width} × ${request.height} px at ${(width / request.width).toFixed(1).replace(".0", "")}×`;
    previous.hidden = neighbour(-1) === null;
    next.hidden = neighbour(1) === null;
  }

  image.addEventListener("click", () => dialog.close());
  addEventListener("resize", () => dialog.open && draw());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") turn(-1);
    else if (event.key === "ArrowRight") turn(1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    open(pictures, index, turned) {
      album = pictures;
      at = index;
      onTurn = turned;
      draw();
      dialog.showModal();
    },
  };
}
