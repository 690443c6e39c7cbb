/**
 * How many tokens a text may take beyond one for every two bytes of its JSON. Prose and code in any common script take fewer than that,
 * so the answer is 0 or little; but numbers, hexadecimal, base64, random characters and rare scripts take more, up to one for each byte,
 * and whoever sends them must be held for them too. The costs were fitted from above to OpenAI's `o200k_base` vocabulary, whose
 * pattern (tiktoken, `tiktoken_ext/openai_public.py`) says where a token must end: digits go by three, a space joins the word
 * after it but never a digit, letters and digits never share a token. Only rare Han characters in random order are known to exceed it.
 */
export function tokensBeyondHalf(text: string): number {
  if (text.length < textCharsMin) return 0
  let before = 0x20
  let excess = 0
  for (let from = 0; from < text.length; from += pieceChars) {
    const length = piece.write(text.length <= pieceChars ? text : text.slice(from, from + pieceChars))
    for (let i = 0; i < length; i++) {
      const byte = piece[i]!
      excess += excesses[(before << 8) | byte]!
      before = byte
    }
  }
  return Math.max(0, excess / unitsPerToken - tokensOfQuotes)
}

/** Below this the JSON around a text has bytes enough to pay for it. */
const textCharsMin = 12
/** Two quotes and a comma, which are no text, count as one token and a half. */
const tokensOfQuotes = 1.5
/** A text is read as bytes in pieces: writing each into the same few kilobytes is several times faster than making a buffer. */
const pieceChars = 8 * 1024
const utf8BytesMax = 3
const piece = Buffer.alloc(pieceChars * utf8BytesMax)

/** The scripts that most people write, which the vocabulary knows well: first and last character, and tokens each at most. */
const wellKnown: readonly (readonly [number, number, number])[] = [
  [0x80, 0x6ff, 1],
  [0x900, 0xeff, 1.5],
  [0x1000, 0x10ff, 1.5],
  [0x1e00, 0x20ff, 1.5],
  [0x2100, 0x27ff, 2],
  [0x3000, 0x30ff, 1.5],
  [0x4e00, 0x9fff, 1.5],
  [0xac00, 0xd7ff, 1.5],
  [0xff00, 0xffff, 1.5],
  [0x1f000, 0x1ffff, 3],
]

const unitsPerToken = 50
/** What a byte costs after another beyond half of its JSON: `excesses[before << 8 | byte]`, in fiftieths of a token to fit a byte. */
const excesses = new Int8Array(1 << 16)
for (let before = 0; before < 256; before++) {
  for (let byte = 0; byte < 256; byte++) {
    const excess = byte < 0x80 ? asciiTokens(before, byte) - jsonBytes(byte) / 2 : foreignExcess(before, byte)
    excesses[(before << 8) | byte] = Math.round(excess * unitsPerToken)
  }
}

/** How many bytes an ASCII character takes inside a JSON string. */
function jsonBytes(byte: number): number {
  return JSON.stringify(String.fromCharCode(byte)).length - 2
}

function asciiTokens(before: number, byte: number): number {
  const kind = kindOf(byte)
  const last = kindOf(before)
  switch (kind) {
    case 'space':
      return 0
    case 'control':
      return last === 'control' ? 0.1 : 1
    case 'digit':
      return last === 'digit' ? 0.34 : last === 'space' ? 2 : last === 'lower' ? 1.2 : 1
    case 'lower':
      return last === 'digit' ? 1 : last === 'upper' ? 0.66 : 0.58
    case 'upper':
      return last === 'digit' ? 1 : last === 'lower' ? 0.76 : 0.6
    default:
      return last === 'mark' ? 0.68 : 1
  }
}

function kindOf(byte: number): 'space' | 'control' | 'digit' | 'lower' | 'upper' | 'mark' | 'foreign' {
  const char = String.fromCharCode(byte)
  if (byte >= 0x80) return 'foreign'
  if (char === ' ') return 'space'
  if (byte < 0x20 || byte === 0x7f) return 'control'
  if (char >= '0' && char <= '9') return 'digit'
  if (char >= 'a' && char <= 'z') return 'lower'
  return char >= 'A' && char <= 'Z' ? 'upper' : 'mark'
}

/** A longer character is paid for at its second byte, which with the first says well enough which script it is of. */
function foreignExcess(lead: number, byte: number): number {
  if (lead < 0xc0 || byte >= 0xc0) return 0
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
  const start = (((lead & (0xff >> (length + 1))) << 6) | (byte & 0x3f)) << (6 * (length - 2))
  const tokens = wellKnown.find(([first, last]) => start >= first && start <= last)?.[2] ?? length
  return tokens - length / 2
}
