// A worker that packs pixels as PNG, so that the page does not stand still while a large picture is sent.

import { encodePng } from "./canvas_png.js";

addEventListener("message", async ({ data: { number, picture } }) => {
  try {
    const png = await encodePng(picture);
    postMessage({ number, png }, [png.buffer]);
  } catch (problem) {
    postMessage({ number, problem: String(problem) });
  }
});
