/** A number as it stands in the text. No float is made of it: prices are exact. */
export class NumberText {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** Data as JSON has it, and as a JavaScript source has it. Objects are maps, so that no name in a file means anything to us. */
export type Literal = null | boolean | string | NumberText | readonly Literal[] | ReadonlyMap<string, Literal>

/** What was given cannot be read; the message says where, and what would be right. */
export class Unreadable extends Error {
  override readonly name = 'Unreadable'
}

/**
 * Reads the data that begins at `at`, and nothing after it. JSON is a subset of what it takes; beyond that come names without quotes,
 * the other two quotes, commas at the end, and `!0` and `!1`, which is how minified sources write true and false. It only
 * reads: a file is somebody else's, and none of its code is ever run.
 */
export function readLiteral(text: string, at = 0): Literal {
  const reader = { text, at }
  return readValue(reader, 0)
}

interface Reader {
  readonly text: string
  at: number
}

const depthMax = 30

function readValue(reader: Reader, depth: number): Literal {
  if (depth > depthMax) throw wrongAt(reader, `may not be nested more than ${depthMax} deep`)
  skipBlanks(reader)
  const first = reader.text[reader.at]
  if (first === '{') return readObject(reader, depth)
  if (first === '[') return readList(reader, depth)
  if (first === '"' || first === "'" || first === '`') return readString(reader)
  const number = take(reader, /-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/y)
  if (number !== undefined) return new NumberText(number)
  const word = take(reader, /true|false|null|!0|!1/y)
  if (word === undefined) throw wrongAt(reader, 'must be data: a text, a number, a list, an object, true, false or null')
  return word === 'null' ? null : word === 'true' || word === '!0'
}

function readObject(reader: Reader, depth: number): ReadonlyMap<string, Literal> {
  const members = new Map<string, Literal>()
  while (hasItem(reader, '}', members.size === 0)) {
    const quote = reader.text[reader.at]
    const name = quote === '"' || quote === "'" ? readString(reader) : take(reader, /[A-Za-z_$][\w$]*/y)
    if (name === undefined) throw wrongAt(reader, 'must be the name of a member')
    if (members.has(name)) throw wrongAt(reader, `may not name ${JSON.stringify(name.slice(0, 60))} twice`)
    skipBlanks(reader)
    if (reader.text[reader.at] !== ':') throw wrongAt(reader, 'must be a colon')
    reader.at++
    members.set(name, readValue(reader, depth + 1))
  }
  return members
}

function readList(reader: Reader, depth: number): readonly Literal[] {
  const values: Literal[] = []
  while (hasItem(reader, ']', values.length === 0)) values.push(readValue(reader, depth + 1))
  return values
}

/** Goes to the next item of a list or an object, or behind its closing bracket. */
function hasItem(reader: Reader, closing: string, isFirst: boolean): boolean {
  if (isFirst) reader.at++
  skipBlanks(reader)
  if (!isFirst && reader.text[reader.at] === ',') {
    reader.at++
    skipBlanks(reader)
  } else if (!isFirst && reader.text[reader.at] !== closing) {
    throw wrongAt(reader, `must be a comma or ${closing}`)
  }
  if (reader.text[reader.at] !== closing) return true
  reader.at++
  return false
}

const quoted: Readonly<Record<string, RegExp>> = {
  '"': /"[^"\\]*(?:\\[\s\S][^"\\]*)*"/y,
  "'": /'[^'\\]*(?:\\[\s\S][^'\\]*)*'/y,
  '`': /`[^`\\]*(?:\\[\s\S][^`\\]*)*`/y,
}
const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', '0': '\0' }

function readString(reader: Reader): string {
  const found = take(reader, quoted[reader.text[reader.at]!]!)
  if (found === undefined) throw wrongAt(reader, 'is a text without an end')
  return found.slice(1, -1).replace(/\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([\s\S]))/g, (_, unicode, hex, one: string) => {
    const code = unicode ?? hex
    return code === undefined ? (escapes[one] ?? one) : String.fromCharCode(Number.parseInt(code, 16))
  })
}

function take(reader: Reader, pattern: RegExp): string | undefined {
  pattern.lastIndex = reader.at
  const found = pattern.exec(reader.text)?.[0]
  if (found !== undefined) reader.at += found.length
  return found
}

function skipBlanks(reader: Reader): void {
  take(reader, /\s*/y)
}

function wrongAt({ text, at }: Reader, what: string): Unreadable {
  const line = text.slice(0, at).split('\n').length
  const found = at >= text.length ? 'the end of the file' : JSON.stringify(text.slice(at, at + 20))
  return new Unreadable(`line ${line}: ${found} ${what}`)
}
