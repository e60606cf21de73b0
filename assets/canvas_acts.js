// What can be done to layers and masks by name: each makes one op, so that it is undone, journalled and replayed.

import { asRgba } from "./canvas_png.js";

/** Layers and the document's size. */
export function layerActs(document, newId, emit) {
  const layers = () => document.head()?.layers ?? [];
  const named = (id) => layers().find((layer) => layer.id === id)?.name ?? "layer";
  const commit = (op, label, how) => document.commit({ id: newId(), ...op, label }, how);

  return {
    get layers() {
      return layers().map(({ tiles, ...layer }) => ({ ...layer, blank: tiles.size === 0 }));
    },
    get activeId() {
      return document.head()?.active ?? null;
    },
    selectLayer(id) {
      document.select(id);
      emit("layers", {});
    },
    /** Answers the id of the entry; the layer's own is `id`, made here unless given. */
    addLayer({ id = newId(), name = `Layer ${layers().length + 1}`, kind = "paint", x = 0, y = 0, opacity = 100, visible = true, facts = null, picture, pixels, above } = {}, label = `Added ${name}`) {
      const op = { op: "addLayer", layer: { id, name, kind, x, y, visible, opacity, facts } };
      if (pixels) op.pixels = pixels;
      if (above !== undefined) op.above = above;
      return commit(op, label, { picture: picture && asRgba(picture) });
    },
    removeLayer: (layer) => commit({ op: "removeLayer", layer }, `Removed ${named(layer)}`),
    renameLayer: (layer, name) => commit({ op: "renameLayer", layer, name }, "Renamed a layer"),
    showLayer: (layer, visible) => commit({ op: "showLayer", layer, visible }, `${visible ? "Showed" : "Hid"} ${named(layer)}`),
    setOpacity: (layer, opacity) => commit({ op: "setOpacity", layer, opacity }, `Opacity of ${named(layer)}`, { joins: `opacity ${layer}` }),
    moveLayer: (layer, index) => commit({ op: "moveLayer", layer, index }, `Moved ${named(layer)}`),
    mergeDown: (layer) => commit({ op: "mergeDown", layer }, `Merged ${named(layer)}`),
    flatten: () => commit({ op: "flatten", name: "Flattened", layer: newId() }, "Flattened"),
    duplicateLayer: (layer) => commit({ op: "duplicateLayer", layer, copy: newId(), name: `${named(layer)} copy` }, `Duplicated ${named(layer)}`),
    setFacts: (layer, facts) => commit({ op: "setFacts", layer, facts }, `Changed ${named(layer)}`),
    resize: (width, height, dx = 0, dy = 0, { label = "Size" } = {}) => commit({ op: "resize", width, height, dx, dy }, label),
    get masks() {
      return (document.head()?.masks ?? []).map(({ id, name }) => ({ id, name }));
    },
  };
}

/** The mask. `acting` is the mask that acts; `png(id)` encodes the mask, or a kept one, as it is. */
export function maskActs(document, newId, acting, png) {
  const commit = (op, label, how) => document.commit({ id: newId(), ...op, label }, how);
  return {
    get grow() {
      return document.head()?.mask.grow ?? 0;
    },
    get feather() {
      return document.head()?.mask.feather ?? 0;
    },
    get info() {
      return acting.info();
    },
    clear: () => commit({ op: "maskClear" }, "Cleared the mask"),
    all: () => commit({ op: "maskAll" }, "Masked everything"),
    layer: (layer) => commit({ op: "maskLayer", layer }, "Masked what a layer shows"),
    invert: () => commit({ op: "maskInvert" }, "Inverted the mask"),
    combine(picture, mode = "add", { x = 0, y = 0, pixels, label = "Mask" } = {}) {
      const op = { op: "maskCombine", mode, x, y };
      if (pixels) op.pixels = pixels;
      return commit(op, label, { picture });
    },
    setGrow: (pixels) => commit({ op: "maskGrow", pixels }, "Grew the mask", { joins: "grow" }),
    setFeather: (pixels) => commit({ op: "maskFeather", pixels }, "Feathered the mask", { joins: "feather" }),
    save: (name) => commit({ op: "saveMask", mask: newId(), name }, `Kept mask ${name}`),
    use: (mask, mode = "replace") => commit({ op: "useMask", mask, mode }, "Used a kept mask"),
    rename: (mask, name) => commit({ op: "renameMask", mask, name }, "Renamed a mask"),
    remove: (mask) => commit({ op: "removeMask", mask }, "Removed a mask"),
    preview: (values) => acting.preview(values),
    png,
  };
}
