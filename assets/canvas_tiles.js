// Sparse pixels: a picture is a Map of 256 × 256 tiles that are never changed once made, so that states share them.
//
// A tile is {data, id}: RGBA (not premultiplied) or grey bytes, and the id under which the server has them, or null. A
// missing tile is transparent, or zero. A Draft is the only way to change pixels: it copies a tile when it is written.

export const TILE = 256;

export const keyOf = (col, row) => `${col},${row}`;

export function placeOf(key) {
  const comma = key.indexOf(",");
  return [Number(key.slice(0, comma)), Number(key.slice(comma + 1))];
}

export const makeTile = (data, id = null) => ({ data, id });

/** Where two boxes overlap, or null. */
export function overlap(a, b) {
  const x = Math.max(a.x, b.x);
  const y = Math.max(a.y, b.y);
  const width = Math.min(a.x + a.width, b.x + b.width) - x;
  const height = Math.min(a.y + a.height, b.y + b.height) - y;
  return width > 0 && height > 0 ? { x, y, width, height } : null;
}

/** The smallest box around two, either of which may be null. */
export function around(a, b) {
  if (!a || !b) return a ?? b;
  const x = Math.min(a.x, b.x);
  const y = Math.min(a.y, b.y);
  return { x, y, width: Math.max(a.x + a.width, b.x + b.width) - x, height: Math.max(a.y + a.height, b.y + b.height) - y };
}

/** The tiles that a box touches: calls visit(col, row, part) with the part of the box that lies in each. */
export function eachTile(box, visit) {
  const right = Math.floor((box.x + box.width - 1) / TILE);
  const bottom = Math.floor((box.y + box.height - 1) / TILE);
  for (let row = Math.floor(box.y / TILE); row <= bottom; row += 1) {
    for (let col = Math.floor(box.x / TILE); col <= right; col += 1) {
      visit(col, row, overlap(box, { x: col * TILE, y: row * TILE, width: TILE, height: TILE }));
    }
  }
}

/** Whether every byte is zero; for RGBA, whether nothing is seen. */
export function isBlank(data, channels) {
  if (channels === 1) {
    const words = new Uint32Array(data.buffer, data.byteOffset, data.length / 4);
    for (let k = 0; k < words.length; k += 1) if (words[k]) return false;
    return true;
  }
  for (let k = 3; k < data.length; k += 4) if (data[k]) return false;
  return true;
}

function sameBytes(a, b) {
  const left = new Uint32Array(a.buffer, a.byteOffset, a.length / 4);
  const right = new Uint32Array(b.buffer, b.byteOffset, b.length / 4);
  for (let k = 0; k < left.length; k += 1) if (left[k] !== right[k]) return false;
  return true;
}

/** The pixels of a box as one array, row after row; zero where there is no tile. */
export function readBox(tiles, channels, box, into = new Uint8Array(box.width * box.height * channels)) {
  eachTile(box, (col, row, part) => {
    const tile = tiles.get(keyOf(col, row));
    if (!tile) return;
    for (let y = part.y; y < part.y + part.height; y += 1) {
      const from = ((y - row * TILE) * TILE + part.x - col * TILE) * channels;
      into.set(tile.data.subarray(from, from + part.width * channels), ((y - box.y) * box.width + part.x - box.x) * channels);
    }
  });
  return into;
}

/** Tiles being changed. Reads through to the tiles it started from. */
export class Draft {
  constructor(tiles, channels) {
    this.base = tiles;
    this.channels = channels;
    this.tiles = new Map(tiles); // what is seen while the change goes on
    this.own = new Map(); // key -> data that belongs to this draft
  }

  /** The bytes of a tile, to be written. */
  writable(col, row) {
    const key = keyOf(col, row);
    let data = this.own.get(key);
    if (!data) {
      const before = this.base.get(key);
      data = before ? before.data.slice() : new Uint8Array(TILE * TILE * this.channels);
      this.own.set(key, data);
      this.tiles.set(key, makeTile(data));
    }
    return data;
  }

  writeBox(box, pixels) {
    const { channels } = this;
    eachTile(box, (col, row, part) => {
      const data = this.writable(col, row);
      for (let y = part.y; y < part.y + part.height; y += 1) {
        const from = ((y - box.y) * box.width + part.x - box.x) * channels;
        data.set(pixels.subarray(from, from + part.width * channels), ((y - row * TILE) * TILE + part.x - col * TILE) * channels);
      }
    });
  }

  /** The changed tiles as a Map of their own. Tiles that came out as they were stay the same objects, as does the
   *  whole map if all did; blank ones go. */
  finish() {
    const made = new Map(this.base);
    let changed = false;
    for (const [key, data] of this.own) {
      const before = this.base.get(key);
      if (before && sameBytes(before.data, data)) continue;
      if (!isBlank(data, this.channels)) made.set(key, this.tiles.get(key));
      else if (!made.delete(key)) continue;
      changed = true;
    }
    return changed ? made : this.base;
  }
}

/** A picture's pixels as tiles, its corner at (x, y) of the grid. */
export function tilesOf({ width, height, channels, data }, x = 0, y = 0) {
  const draft = new Draft(new Map(), channels);
  draft.writeBox({ x, y, width, height }, data);
  return draft.finish();
}

/** Tiles moved by (dx, dy) px, and cut to `within`. Whole tiles are kept as they are where that is possible. */
export function moveTiles(tiles, channels, dx, dy, within) {
  const draft = new Draft(new Map(), channels);
  const kept = new Map();
  for (const [key, tile] of tiles) {
    const [col, row] = placeOf(key);
    const to = { x: col * TILE + dx, y: row * TILE + dy, width: TILE, height: TILE };
    const part = overlap(to, within);
    if (!part) continue;
    if (part.width === TILE && part.height === TILE && dx % TILE === 0 && dy % TILE === 0) {
      kept.set(keyOf(to.x / TILE, to.y / TILE), tile);
      continue;
    }
    const pixels = readBox(tiles, channels, { ...part, x: part.x - dx, y: part.y - dy });
    draft.writeBox(part, pixels);
  }
  return new Map([...draft.finish(), ...kept]);
}

/** The grid's indices moved by whole tiles: nothing is copied. */
export function renumber(tiles, cols, rows) {
  const made = new Map();
  for (const [key, tile] of tiles) {
    const [col, row] = placeOf(key);
    made.set(keyOf(col + cols, row + rows), tile);
  }
  return made;
}
