/** What a model wrote, for an estimate of its tokens. */
export interface Written {
  /** Each counted alone: tokens do not reach from one part of an answer into the next. */
  readonly texts: readonly string[]
  /** How much was written for each character that was kept: 1, unless there was too much to keep. */
  readonly share: number
}

/** Where in some bytes a JSON string stands, without its quotes, and with its escapes. */
export interface TextSpan {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
}

export const nothingWritten: Written = { texts: [], share: 1 }

/** Text beyond this is counted, and taken to be like the text before it. */
export const keptBytesMax = 256 * 1024
/** So that each byte is copied once, and a short answer takes little room. */
const firstPageBytes = 1024
const pageBytes = 4096
const loopBytesMax = 32

/**
 * Keeps the text of a stream's deltas as it passes, because nobody can know yet whether the answer will say what it used. The
 * bytes are kept as they stand in the events, escapes included, and read only if they are needed: a delta is never parsed.
 */
export class AnswerText {
  readonly #pages: Buffer[] = []
  /** Free bytes of the last page. */
  #free = 0
  #keptBytes = 0
  #bytes = 0
  /** Where in the kept bytes a part of the answer begins. */
  readonly #starts: number[] = []
  #part = ''

  /** What an event adds to a part of the answer; undefined for one that adds nothing, after which another part begins. */
  add(span: TextSpan | undefined, part: string): void {
    if (span === undefined) {
      this.#part = ''
      return
    }
    this.#bytes += span.end - span.start
    if (part !== this.#part) this.#begin(part)
    this.#keep(span)
  }

  written(): Written {
    if (this.#keptBytes === 0) return nothingWritten
    const kept = Buffer.concat(this.#pages, this.#keptBytes)
    const texts = this.#starts.map((start, i) => unescaped(kept.toString('utf8', start, this.#starts[i + 1] ?? this.#keptBytes)))
    return { texts, share: this.#bytes / this.#keptBytes }
  }

  #begin(part: string): void {
    this.#part = part
    if (this.#starts.at(-1) !== this.#keptBytes) this.#starts.push(this.#keptBytes)
  }

  #keep({ bytes, start, end }: TextSpan): void {
    const until = beforeEscape(bytes, start, Math.min(end, start + keptBytesMax - this.#keptBytes), end)
    for (let from = start; from < until; ) {
      const page = this.#free === 0 ? this.#newPage() : this.#pages.at(-1)!
      const at = page.length - this.#free
      const count = Math.min(until - from, this.#free)
      // A delta is a word as a rule: so few bytes are sooner copied one by one than handed to the system's own way.
      if (count > loopBytesMax) bytes.copy(page, at, from, from + count)
      else for (let i = 0; i < count; i++) page[at + i] = bytes[from + i]!
      this.#free -= count
      this.#keptBytes += count
      from += count
    }
  }

  #newPage(): Buffer {
    const page = Buffer.allocUnsafeSlow(this.#pages.length === 0 ? firstPageBytes : pageBytes)
    this.#pages.push(page)
    this.#free = page.length
    return page
  }
}

/** A character that has six bytes at the most, "\\u00e9", is kept whole or not at all. One of UTF-8 that is cut is still one. */
function beforeEscape(bytes: Buffer, start: number, until: number, end: number): number {
  if (until === end || until === start) return until
  let at = bytes.lastIndexOf(backslash, until - 1)
  if (at < Math.max(start, until - escapeBytesMax + 1)) return until
  // Of several in a row every second one is only the first one's character.
  let first = at
  while (first > start && bytes[first - 1] === backslash) first -= 1
  if ((at - first) % 2 === 1) at -= 1
  const length = bytes[at + 1] === 0x75 ? escapeBytesMax : 2
  return at + length > until ? at : until
}

const backslash = 0x5c
const escapeBytesMax = 6

function unescaped(json: string): string {
  try {
    return JSON.parse(`"${json}"`)
  } catch {
    // A broken escape. As it is for an estimate only, the bytes do as they are.
    return json
  }
}
