// Import: a .wavebrush file comes in with its pictures and steps, a picture of any kind as a document of one layer.

import { button, h } from "./dom.js";
import { importDocument } from "./fill_server.js";

const LARGEST = 64 * 2 ** 20; // bytes of a file

const OWN = /\.(wavebrush|zip)$/i;

/** `actions`: done(id, words) with the new document's id and what is to be said, notice(words, bad), fail(problem). */
export function createImport(actions) {
  const field = h("input", { type: "file", accept: "image/*,.wavebrush", hidden: true, "aria-label": "A wavebrush file or a picture" });
  const open = button("edged", "Import", "open", () => field.click());

  field.addEventListener("change", async () => {
    const [file] = field.files;
    field.value = "";
    if (!file) return;
    const own = OWN.test(file.name); // which brings its own name
    const name = own ? "" : file.name.replace(/\.[^.]*$/, "").replace(/[_-]+/g, " ").trim().slice(0, 120);
    if (file.size > LARGEST) return actions.notice(`${file.name} has ${Math.round(file.size / 2 ** 20)} MB. At most 64 MB can be imported.`, true);
    open.disabled = true;
    actions.notice(`Importing ${file.name}…`);
    try {
      const { id, notes = [] } = await importDocument(file, name);
      const what = own ? "is here as a document, with the pictures it came from." : "is here as a document of one layer.";
      actions.done(id, [`${file.name} ${what}`, ...notes].join(" "));
    } catch (problem) {
      actions.fail(problem);
    } finally {
      open.disabled = false;
    }
  });

  return { open, field };
}
