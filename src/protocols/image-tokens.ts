/** An image's size in pixels. */
export interface Pixels {
  readonly width: number
  readonly height: number
}

/**
 * The most tokens that an image can be billed as, by OpenAI's images and vision guide (developers.openai.com/api/docs/guides/images-vision)
 * and what users measured of it (vybestack/llxprt-code#3477, Prism-Shadow/agenthub#194), over all models but gpt-4o-mini:
 * - by patches of 32 × 32 pixels: 1.2 tokens each, up to 30,000 of them (`original`, and what `auto` means since gpt-5.6), 2,500 in
 *   `high`; the small models 2.46 each, up to 1,536;
 * - by tiles of 512 × 512 pixels, at most eight: 85 + 170 each;
 * - `low`: the image fits into 512 × 512 pixels, so 256 patches.
 * Without a size the largest counts. gpt-4o-mini bills an image as up to 48,169 tokens of its very low rate: that is not covered.
 */
export function imageTokens(detail: unknown, size: Pixels | undefined): number {
  if (detail === 'low') return Math.ceil(lowPatches * tokensPerSmallPatch)
  const patchesMax = detail === 'high' ? highPatches : originalPatches
  const patches = size === undefined ? patchesMax : squares(size, 32)
  const tiles = size === undefined ? tilesMax : Math.min(tilesMax, squares(size, 512))
  const byPatch = Math.min(patches, patchesMax) * tokensPerPatch
  const bySmallPatch = Math.min(patches, smallPatches) * tokensPerSmallPatch
  return Math.ceil(Math.max(byPatch, bySmallPatch, baseTokens + tiles * tokensPerTile))
}

/** Reads the size from the head of a PNG, JPEG, GIF or WebP image in base64 that begins at `from`; undefined when it does not say. */
export function pixelsOf(base64: string, from = 0): Pixels | undefined {
  const head = Buffer.from(base64.slice(from, from + headChars), 'base64')
  const size = head[0] === 0xff ? jpegPixels(Buffer.from(base64.slice(from, from + jpegHeadChars), 'base64')) : fixedPixels(head)
  return size !== undefined && size.width > 0 && size.height > 0 ? size : undefined
}

const tokensPerPatch = 1.2
const tokensPerSmallPatch = 2.46
const originalPatches = 30_000
const highPatches = 2_500
const smallPatches = 1_536
const lowPatches = 256
const baseTokens = 85
const tokensPerTile = 170
const tilesMax = 8

function squares({ width, height }: Pixels, side: number): number {
  return Math.ceil(width / side) * Math.ceil(height / side)
}

const headChars = 64
/** A JPEG may carry a preview and colour profiles before it says its size; beyond this it is taken as unknown. */
const jpegHeadChars = 512 * 1024

function fixedPixels(head: Buffer): Pixels | undefined {
  if (head.length < 30) return undefined
  const mark = head.toString('latin1', 0, 4)
  if (mark === '\x89PNG') return { width: head.readUInt32BE(16), height: head.readUInt32BE(20) }
  if (mark === 'GIF8') return { width: head.readUInt16LE(6), height: head.readUInt16LE(8) }
  if (mark === 'RIFF' && head.toString('latin1', 8, 12) === 'WEBP') return webpPixels(head)
  return undefined
}

/** The three ways of WebP: developers.google.com/speed/webp/docs/riff_container, and RFC 6386 and 9649 for what they hold. */
function webpPixels(head: Buffer): Pixels | undefined {
  const kind = head.toString('latin1', 12, 16)
  if (kind === 'VP8X') return { width: head.readUIntLE(24, 3) + 1, height: head.readUIntLE(27, 3) + 1 }
  if (kind === 'VP8 ') return { width: head.readUInt16LE(26) & 0x3fff, height: head.readUInt16LE(28) & 0x3fff }
  if (kind !== 'VP8L') return undefined
  const bits = head.readUInt32LE(21)
  return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 }
}

/** Goes from segment to segment until the one that begins the frame (ITU T.81, B.2.2). */
function jpegPixels(head: Buffer): Pixels | undefined {
  let at = 2
  while (at + 9 <= head.length && head[at] === 0xff) {
    const marker = head[at + 1]!
    const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc
    if (isFrame) return { width: head.readUInt16BE(at + 7), height: head.readUInt16BE(at + 5) }
    at += marker === 0xff ? 1 : 2 + head.readUInt16BE(at + 2)
  }
  return undefined
}
