// Pixels as PNG, packed beside the page where the browser has workers, and in it where it has none.

import { encodePng } from "./canvas_png.js";
import { at } from "./server.js";

const SMALL = 512 * 512; // px: packed sooner than handed over

let worker = null;
let waiting = new Map(); // number -> {resolve, picture}
let numbers = 0;

function hire() {
  if (worker) return worker;
  worker = new Worker(at("assets/fill_packer.js"), { type: "module" });
  worker.onmessage = ({ data: { number, png, problem } }) => {
    const open = waiting.get(number);
    waiting.delete(number);
    open?.resolve(problem ? encodePng(open.picture) : png);
  };
  worker.onerror = () => {
    const open = [...waiting.values()];
    waiting = new Map();
    for (const { resolve, picture } of open) resolve(encodePng(picture));
  };
  return worker;
}

/** {width, height, channels, data} -> the bytes of a PNG. */
export function packed(picture) {
  if (picture.width * picture.height <= SMALL || typeof Worker === "undefined") return encodePng(picture);
  return new Promise((resolve) => {
    const number = (numbers += 1);
    waiting.set(number, { resolve, picture });
    hire().postMessage({ number, picture });
  });
}
