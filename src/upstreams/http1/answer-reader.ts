import assert from 'node:assert/strict'
import { maxHeaderSize } from 'node:http'
import { type AnswerHead, checkTrailers, readHead } from './answer-head.ts'
import { AnswerFlaw } from './flaw.ts'

/** What `read` has come to. `more`: what there is has been read. `body`: a piece of it lies from `from` to `at`. */
export type Part = 'more' | 'head' | 'body' | 'end'

/** What a chunk may say of itself. */
const chunkLineBytesMax = 4 * 1024

const beginning = 'HTTP/1.'
const lineFeed = 10
const carriageReturn = 13
const semicolon = 59

/**
 * Reads answers as they come, however they are cut, one after another. It keeps nothing of a body, and of what it is given only the
 * beginning of a head that is not whole.
 *
 *     head ─┬─ sized ───────────────────────┬─ over
 *      ↑    ├─ until close ─────────────────┤
 *     (1xx) └─ size → chunk → chunk end     │
 *               ↑         └───────┘         │
 *               └ … last size → trailers ───┘
 */
export class AnswerReader {
  /** Up to where the bytes are read, and where the piece begins that `body` speaks of. */
  at = 0
  from = 0
  #head: AnswerHead | undefined
  #awaits: 'head' | 'sized' | 'until close' | 'size' | 'chunk' | 'chunk end' | 'trailers' | 'over' = 'head'
  /** Of the body, or of the chunk. */
  #left = 0
  /** What came of a head or of trailers that are not whole. */
  #text = ''
  /** Of the interim answers before it. */
  #headBytes = 0
  /** Of a chunk's line: how much of it came, and whether its end has begun. */
  #lineBytes = 0
  #isEnding = false
  /** From the semicolon on. */
  #extension: string | undefined

  /** Of the answer that is read. */
  get head(): AnswerHead {
    assert(this.#head !== undefined, 'the head has not been read')
    return this.#head
  }

  /** Another answer follows. */
  begin(): void {
    this.#head = undefined
    this.#awaits = 'head'
    this.#text = ''
    this.#headBytes = 0
  }

  /** Reads on from `at`. Throws AnswerFlaw; nothing can be read after that. */
  read(bytes: Buffer, end: number): Part {
    switch (this.#awaits) {
      case 'head':
        return this.#readHead(bytes, end) ? 'head' : 'more'
      case 'sized':
        if (this.#left === 0) return this.#over()
        return this.#readPiece(end)
      case 'until close':
        this.from = this.at
        this.at = end
        return this.from === end ? 'more' : 'body'
      case 'over':
        return 'end'
      default:
        return this.#readChunks(bytes, end)
    }
  }

  /** The connection ended in order. Throws AnswerFlaw unless that is how this answer ends. */
  finish(): void {
    if (this.#awaits === 'until close') this.#awaits = 'over'
    else if (this.#head === undefined) throw new AnswerFlaw('the upstream closed the connection before it answered')
    else throw new AnswerFlaw('the upstream closed the connection before its answer ended')
  }

  #over(): 'end' {
    this.#awaits = 'over'
    return 'end'
  }

  /** What is no answer yet is passed over: 100 to 199. */
  #readHead(bytes: Buffer, end: number): boolean {
    for (let text = this.#collect(bytes, end); text !== undefined; text = this.#collect(bytes, end)) {
      const head = readHead(text)
      this.#text = ''
      if (head.status < 200) {
        this.#headBytes += text.length
        continue
      }
      this.#head = head
      if (typeof head.body === 'number') {
        this.#left = head.body
        this.#awaits = 'sized'
      } else if (head.body === 'chunked') {
        this.#nextChunk()
      } else {
        this.#awaits = 'until close'
      }
      return true
    }
    // Whoever speaks another protocol may wait for us to go on.
    if (!beginning.startsWith(this.#text.slice(0, beginning.length))) throw new AnswerFlaw('it does not begin as an answer of HTTP/1.1')
    return false
  }

  /** What stands before the next blank line; undefined when that has not come. */
  #collect(bytes: Buffer, end: number): string | undefined {
    if (this.at === end) return undefined
    const before = this.#text
    const text = before + bytes.toString('latin1', this.at, end)
    const blank = text.indexOf('\r\n\r\n', Math.max(0, before.length - 3))
    const length = blank === -1 ? text.length : blank
    if (this.#headBytes + length > maxHeaderSize) throw new AnswerFlaw(`a head of more than ${maxHeaderSize} bytes`)
    if (blank !== -1) {
      this.at += blank + 4 - before.length
      return text.slice(0, blank)
    }
    // The end of such a head would never be found.
    if (/(?:^|[^\r])\n|\r[^\n]/.test(text)) throw new AnswerFlaw('a line that does not end as lines do')
    this.#text = text
    this.at = end
    return undefined
  }

  #readPiece(end: number): 'more' | 'body' {
    if (this.at === end) return 'more'
    this.from = this.at
    this.at = Math.min(end, this.at + this.#left)
    this.#left -= this.at - this.from
    return 'body'
  }

  #readChunks(bytes: Buffer, end: number): Part {
    while (this.at < end) {
      if (this.#awaits === 'chunk') {
        const part = this.#readPiece(end)
        if (this.#left === 0) this.#awaits = 'chunk end'
        return part
      }
      if (this.#awaits === 'trailers') return this.#readTrailers(bytes, end)
      const byte = bytes[this.at++]!
      if (this.#awaits === 'chunk end') this.#readChunkEnd(byte)
      else this.#readSize(byte)
    }
    return 'more'
  }

  #nextChunk(): void {
    this.#awaits = 'size'
    this.#left = 0
    this.#lineBytes = 0
    this.#isEnding = false
    this.#extension = undefined
  }

  #readChunkEnd(byte: number): void {
    if (byte !== (this.#isEnding ? lineFeed : carriageReturn)) throw new AnswerFlaw('a chunk that does not end where it should')
    if (this.#isEnding) this.#nextChunk()
    else this.#isEnding = true
  }

  /** A byte of `1a0;name=value` and the line's end. */
  #readSize(byte: number): void {
    if (this.#isEnding) {
      if (byte !== lineFeed) throw new AnswerFlaw('a size of a chunk that does not end as lines do')
      this.#sized()
    } else if (byte === carriageReturn) {
      if (this.#lineBytes === 0) throw new AnswerFlaw('a chunk without a size')
      this.#isEnding = true
    } else if (++this.#lineBytes > chunkLineBytesMax) {
      throw new AnswerFlaw(`more than ${chunkLineBytesMax} bytes about one chunk`)
    } else if (this.#extension !== undefined) {
      this.#extension += String.fromCharCode(byte)
    } else if (byte === semicolon && this.#lineBytes > 1) {
      this.#extension = ';'
    } else {
      this.#left = this.#left * 16 + digitOf(byte)
      if (!Number.isSafeInteger(this.#left)) throw new AnswerFlaw('a chunk that is too large to be one')
    }
  }

  #sized(): void {
    if (this.#extension !== undefined && !extensions.test(this.#extension)) throw new AnswerFlaw('an extension of a chunk that is none')
    this.#isEnding = false
    this.#awaits = this.#left === 0 ? 'trailers' : 'chunk'
    // So that their end is a blank line, like a head's, even when there are none.
    this.#text = '\r\n'
  }

  #readTrailers(bytes: Buffer, end: number): Part {
    const text = this.#collect(bytes, end)
    if (text === undefined) return 'more'
    checkTrailers(text)
    return this.#over()
  }
}

const extensions =
  /^(?:;[!#$%&'*+\-.^_`|~\dA-Za-z]+(?:=(?:[!#$%&'*+\-.^_`|~\dA-Za-z]+|"(?:[\t !#-[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"))?)+$/

function digitOf(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48
  const lower = byte | 32
  if (lower >= 97 && lower <= 102) return lower - 87
  throw new AnswerFlaw('a chunk whose size is no number')
}
