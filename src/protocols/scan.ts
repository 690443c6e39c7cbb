import type { FieldSpan } from './protocol.ts'

/** One member of an object: its name with escapes resolved, and where its value stands (end exclusive), in bytes. */
export interface Member {
  readonly name: string
  readonly valueStart: number
  readonly valueEnd: number
}

export interface ObjectScan {
  /** The wanted members in the order they stand; a name that stands twice is here twice. */
  readonly members: readonly Member[]
  /** Right after the opening brace: where a new first member can be put. */
  readonly insertAt: number
  readonly isEmpty: boolean
}

export interface ScanLimits {
  /** Where the object, or white space before it, begins. */
  readonly from?: number
  /** Stop as soon as this many wanted members were found. */
  readonly membersMax?: number
}

/** Names to look for, made once by `namesToFind`. */
export interface Names {
  readonly all: ReadonlySet<string>
  /** By length in bytes. The last has all that are longer. */
  readonly byLength: readonly (readonly string[])[]
}

/** Deeper nesting than any server accepts (serde_json stops at 128, Python at about 1,000), and no danger to our own parser. */
export const nestingDepthMax = 10_000
/** Values in one body. A parsed value takes up to about a hundred bytes, so this keeps reading a body below half a gigabyte. */
export const valuesMax = 4_000_000

export function namesToFind(names: Iterable<string>): Names {
  const all = new Set(names)
  const byLength = Array.from({ length: lengthsMax + 1 }, (): string[] => [])
  for (const name of all) byLength[Math.min(Buffer.byteLength(name), lengthsMax)]!.push(name)
  return { all, byLength }
}

/**
 * Finds the wanted members of the JSON object that begins at `from`, without parsing it: strings are jumped over, nested values
 * are skipped by counting brackets, and nothing recurses, so that no body can exhaust the stack. Undefined when there is no
 * object, when it is visibly broken, too deep or has too many values. It does not validate: whoever must know that the bytes
 * are JSON also parses them, and whoever parses bytes of a stranger first scans them, because the parser has no bound on depth.
 */
export function scanObject(bytes: Buffer, wanted: Names, { from = 0, membersMax }: ScanLimits = {}): ObjectScan | undefined {
  const open = afterBlanks(bytes, from)
  if (bytes[open] !== brace) return undefined
  const members: Member[] = []
  const insertAt = open + 1
  const counts = { values: 0 }
  let at = afterBlanks(bytes, insertAt)
  if (bytes[at] === braceEnd) return { members, insertAt, isEmpty: true }
  while (true) {
    if (bytes[at] !== quote) return undefined
    const keyEnd = endOfString(bytes, at)
    if (keyEnd < 0) return undefined
    const colonAt = afterBlanks(bytes, keyEnd)
    if (bytes[colonAt] !== colon) return undefined
    const valueStart = afterBlanks(bytes, colonAt + 1)
    const valueEnd = endOfValue(bytes, valueStart, counts)
    if (valueEnd <= valueStart) return undefined
    const name = nameIfWanted(bytes, at + 1, keyEnd - 1, wanted)
    if (name !== undefined && members.push({ name, valueStart, valueEnd }) === membersMax) break
    at = afterBlanks(bytes, valueEnd)
    if (bytes[at] === braceEnd) break
    if (bytes[at] !== comma || ++counts.values > valuesMax) return undefined
    at = afterBlanks(bytes, at + 1)
  }
  return { members, insertAt, isEmpty: false }
}

/** Where the elements stand of the JSON array that begins at `from`. Undefined as `scanObject`. */
export function scanItems(bytes: Buffer, from: number): readonly FieldSpan[] | undefined {
  const open = afterBlanks(bytes, from)
  if (bytes[open] !== bracket) return undefined
  const items: FieldSpan[] = []
  const counts = { values: 0 }
  let at = afterBlanks(bytes, open + 1)
  while (bytes[at] !== bracketEnd) {
    const valueEnd = endOfValue(bytes, at, counts)
    if (valueEnd <= at) return undefined
    items.push({ valueStart: at, valueEnd })
    at = afterBlanks(bytes, valueEnd)
    if (bytes[at] === bracketEnd) break
    if (bytes[at] !== comma || ++counts.values > valuesMax) return undefined
    at = afterBlanks(bytes, at + 1)
  }
  return items
}

/** True when there is nothing but JSON's white space. */
export function isBlank(bytes: Buffer): boolean {
  return afterBlanks(bytes, 0) === bytes.length
}

const quote = 0x22
const backslash = 0x5c
const brace = 0x7b
const braceEnd = 0x7d
const bracket = 0x5b
const bracketEnd = 0x5d
const colon = 0x3a
const comma = 0x2c

const lengthsMax = 255

function afterBlanks(bytes: Buffer, from: number): number {
  let at = from
  for (let byte = bytes[at]; byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09; byte = bytes[at]) at++
  return at
}

/** After this many plain bytes a string is long, and the native search for its end beats looking at each byte. */
const longStringBytes = 24

/** `at` is the opening quote; the answer is the byte after the closing one, or −1. */
export function endOfString(bytes: Buffer, at: number): number {
  const { length } = bytes
  let plainSince = at + 1
  for (let i = at + 1; i < length; i++) {
    const byte = bytes[i]
    if (byte === quote) return i + 1
    if (byte === backslash) {
      i++
      plainSince = i + 1
      continue
    }
    if (i - plainSince < longStringBytes) continue
    const next = bytes.indexOf(quote, i)
    if (next < 0) return -1
    let slashes = 0
    while (bytes[next - 1 - slashes] === backslash) slashes++
    if (slashes % 2 === 0) return next + 1
    i = next
    plainSince = next + 1
  }
  return -1
}

/** The byte after the value that begins at `at`, or −1. `counts` is what the whole scan has met so far. */
function endOfValue(bytes: Buffer, at: number, counts: { values: number }): number {
  const first = bytes[at]
  if (first === quote) return endOfString(bytes, at)
  if (first === brace || first === bracket) return endOfNested(bytes, at, counts)
  let end = at
  for (; end < bytes.length; end++) {
    const byte = bytes[end]!
    if (byte === comma || byte === braceEnd || byte === bracketEnd || byte <= 0x20) break
  }
  return end
}

function endOfNested(bytes: Buffer, at: number, counts: { values: number }): number {
  const { length } = bytes
  let depth = 0
  let values = counts.values
  for (let i = at; i < length; i++) {
    switch (bytes[i]) {
      case quote:
        i = endOfString(bytes, i) - 1
        if (i < 0) return -1
        break
      case brace:
      case bracket:
        if (++depth > nestingDepthMax || ++values > valuesMax) return -1
        break
      case comma:
        if (++values > valuesMax) return -1
        break
      case braceEnd:
      case bracketEnd:
        if (--depth === 0) {
          counts.values = values
          return i + 1
        }
    }
  }
  return -1
}

/** Most keys are known, or told apart by their length, before any string is made of them; but an escape makes a key look longer than it is. */
function nameIfWanted(bytes: Buffer, start: number, end: number, { all, byLength }: Names): string | undefined {
  const asLong = byLength[Math.min(end - start, lengthsMax)]!
  for (const name of asLong) if (isWritten(name, bytes, start, end)) return name
  let hasEscape = false
  for (let i = start; i < end && !hasEscape; i++) hasEscape = bytes[i] === backslash
  if (!hasEscape && asLong.length === 0) return undefined
  const text = bytes.toString('utf8', start, end)
  const name = hasEscape ? unescaped(text) : text
  return name !== undefined && all.has(name) ? name : undefined
}

/** Whether these bytes are the name as it is, with nothing escaped. One that is as long in characters as in bytes is ASCII. */
function isWritten(name: string, bytes: Buffer, start: number, end: number): boolean {
  if (name.length !== end - start) return false
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i)
    if (code !== bytes[start + i] || code === backslash) return false
  }
  return true
}

function unescaped(text: string): string | undefined {
  try {
    return JSON.parse(`"${text}"`)
  } catch {
    // A broken escape: the parser refuses the whole text anyway.
    return undefined
  }
}
