// How different two colours look: OKLab (Ottosson 2020) in whole numbers, as the server has it too (`oklab_levels` in
// studio/imaging/colour.py), so that both tell the same pixels apart.

const WHITE = 8192; // the lightness of white
const MOST = 255; // the tolerance that takes everything; black and white are as far apart
const TO_CONES = [[13508, 17574, 1686], [6944, 22305, 3519], [2894, 9231, 20643]]; // 32768ths of light 0 to 65535
const [[LL, LM, LS], [AL, AM, AS], [BL, BM, BS]] = [[862, 3251, -17], [8102, -9948, 1846], [106, 3206, -3312]]; // 4096ths of roots 0 to WHITE

const nearest = (value) => Math.floor(value + 0.5);
let tables = null; // made when first needed

function make() {
  const light = Array.from({ length: 256 }, (_, level) => nearest(65535 * (level / 255 <= 0.04045 ? level / 255 / 12.92 : ((level / 255 + 0.055) / 1.055) ** 2.4)));
  const [long, middle, short] = TO_CONES.map((row) => Int32Array.from({ length: 768 }, (_, k) => light[k & 255] * row[k >> 8])); // by red, green, blue
  const roots = Int32Array.from({ length: 65536 }, (_, value) => nearest(WHITE * Math.cbrt(value / 65535)));
  return { long, middle, short, roots };
}

/** Writes where the RGBA pixel at byte `p` lies, [lightness, green-red, blue-yellow, alpha], each 0 to WHITE or about half of it. */
export function place(pixels, p, into) {
  tables ??= make();
  const { long, middle, short, roots } = tables;
  const red = pixels[p];
  const green = 256 + pixels[p + 1];
  const blue = 512 + pixels[p + 2];
  const alpha = pixels[p + 3];
  const l = roots[(long[red] + long[green] + long[blue] + 16384) >> 15];
  const m = roots[(middle[red] + middle[green] + middle[blue] + 16384) >> 15];
  const s = roots[(short[red] + short[green] + short[blue] + 16384) >> 15];
  into[0] = veiled((LL * l + LM * m + LS * s + 2048) >> 12, alpha);
  into[1] = veiled((AL * l + AM * m + AS * s + 2048) >> 12, alpha);
  into[2] = veiled((BL * l + BM * m + BS * s + 2048) >> 12, alpha);
  into[3] = veiled(WHITE, alpha);
}

/** What is transparent altogether has no colour. */
const veiled = (level, alpha) => (alpha === 255 ? level : Math.floor((level * alpha + 127) / 255));

/**
 * Which RGBA pixels look like `aim`, one of them: 1 each, else 0. `tolerance` / 255 is the largest distance, of which black
 * and white have 1; transparency counts like lightness. 0 takes equal colours only, 255 everything.
 */
export function alikeTo(pixels, aim, tolerance) {
  const alike = new Uint8Array(pixels.length / 4);
  if (tolerance >= MOST) return alike.fill(1);
  const words = new Uint32Array(pixels.buffer, pixels.byteOffset, alike.length);
  const [wanted] = new Uint32Array(Uint8Array.from(aim).buffer);
  const farthest = Math.floor((tolerance * tolerance * WHITE * WHITE) / (MOST * MOST));
  const [from, to] = [new Int32Array(4), new Int32Array(4)];
  place(aim, 0, from);
  let last = wanted; // neighbours are often equal
  let value = 1;
  for (let k = 0; k < alike.length; k += 1) {
    if (words[k] !== last) {
      last = words[k];
      if (tolerance) {
        place(pixels, k * 4, to);
        const [x, y, z, w] = [to[0] - from[0], to[1] - from[1], to[2] - from[2], to[3] - from[3]];
        value = x * x + y * y + z * z + w * w <= farthest ? 1 : 0;
      } else value = last === wanted || (!aim[3] && !pixels[k * 4 + 3]) ? 1 : 0;
    }
    alike[k] = value;
  }
  return alike;
}
