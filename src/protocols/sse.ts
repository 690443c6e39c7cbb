import { exactly } from '../lib/bytes.ts'
import { namesToFind, scanObject } from './scan.ts'

/** Takes an event or a comment as the bytes that came, its blank line included. */
export type OnEvent = (raw: Buffer, type: string) => void
export type OnComment = (raw: Buffer) => void

/**
 * Splits a byte stream into server-sent events (html.spec.whatwg.org, 9.2) without changing a byte: what it hands out and
 * what `end` returns are together what came in, and where the chunks were cut makes no difference. Lines end by LF, CRLF or CR.
 */
export interface SseReader {
  /**
   * Hands out each event that this chunk completes, with its type, and as comments what carries no data: comments, stray
   * blank lines, fields alone. An event within one chunk is a view of it. Throws `EventTooLarge`; the reader is then of no more use.
   */
  push(chunk: Buffer, onEvent: OnEvent, onComment?: OnComment): void
  /**
   * The stream is over. Hands out an event that only waited for a possible LF after its last CR, to whoever was last pushed for
   * unless others are named, and returns the bytes of an unfinished event, which is none: empty when there are no such bytes.
   */
  end(onEvent?: OnEvent, onComment?: OnComment): Buffer
}

/** One picture can make an event of several megabytes, not more. */
export const eventBytesMaxDefault = 32 * 1024 * 1024

export class EventTooLarge extends Error {
  override readonly name = 'EventTooLarge'
  constructor(eventBytesMax: number) {
    super(`an event of the stream has more than ${eventBytesMax} bytes`)
  }
}

export interface SseReaderOptions {
  readonly eventBytesMax?: number
  /** Makes the buffers in which an event is put together whose bytes came in several chunks. */
  readonly allocate?: (bytes: number) => Buffer
}

export function sseReader({ eventBytesMax = eventBytesMaxDefault, allocate = Buffer.allocUnsafeSlow }: SseReaderOptions = {}): SseReader {
  return new Splitter(eventBytesMax, new GrowingBytes(allocate))
}

/** The data lines of an event, joined by LF, without the field's name. */
export function dataOf(raw: Buffer): string {
  const lines: string[] = []
  eachLine(raw, (start, end) => {
    const from = valueFrom(raw, start, end, 'data')
    if (from >= 0) lines.push(raw.toString('utf8', from, end))
  })
  return lines.join('\n')
}

/**
 * The event's data at the places where it stands in `raw`: all other bytes are blanks, which JSON overlooks, so that what is
 * found in it is found in `raw` at the same offset. Not a copy when the data is one line, as it nearly always is.
 */
export function dataInPlace(raw: Buffer): { readonly bytes: Buffer; readonly from: number } {
  const spans: [number, number][] = []
  eachLine(raw, (start, end) => {
    const from = valueFrom(raw, start, end, 'data')
    if (from >= 0) spans.push([from, end])
  })
  if (spans.length === 1) return { bytes: raw, from: spans[0]![0] }
  const bytes = Buffer.alloc(raw.length, ' ')
  for (const [start, end] of spans) raw.copy(bytes, start, start, end)
  return { bytes, from: 0 }
}

/** The type of an event: its `event` line, else the `type` of its JSON data, else ''. */
export function typeOf(raw: Buffer): string {
  return typeIfEvent(raw) ?? ''
}

/** `data: [DONE]`, the end of a stream of chat completions. Some servers send it after other ends too, and some instead of one. */
export function isDone(raw: Buffer, type: string): boolean {
  return type === '' && raw.length < doneBytesMax && dataOf(raw).trim() === '[DONE]'
}

const doneBytesMax = 64

/** What fills a silence: a comment, invisible to every client. */
export const comment = Buffer.from(':\n\n')

const lf = 0x0a
const cr = 0x0d

const nothing = Buffer.alloc(0)
const nobody = () => {}

class Splitter implements SseReader {
  readonly #eventBytesMax: number
  /** What came of the unfinished event in earlier chunks. */
  readonly #carry: GrowingBytes
  #lineIsEmpty = true
  /** The last chunk ended with a CR, which ended a line or the whole event; an LF may still belong to it. */
  #openCr: 'none' | 'line' | 'event' = 'none'
  #toEvent: OnEvent = nobody
  #toComment: OnComment = nobody
  #hasCr = false
  /** How the last event began that had its type in its first line and its data in the second: most events are of the type of the one before. */
  #opening: Buffer = nothing
  #openingType = ''

  constructor(eventBytesMax: number, carry: GrowingBytes) {
    this.#eventBytesMax = eventBytesMax
    this.#carry = carry
  }

  push(chunk: Buffer, onEvent: OnEvent, onComment: OnComment = nobody): void {
    this.#toEvent = onEvent
    this.#toComment = onComment
    if (chunk.length === 0) return
    if (this.#isOneEvent(chunk)) return onEvent(chunk, this.#openingType)
    const endsEvent = this.#openCr === 'event'
    const at = this.#closeCr(chunk)
    const start = this.#split(chunk, at, endsEvent ? at : 0)
    if (start === chunk.length) return
    if (this.#carry.length + chunk.length - start > this.#eventBytesMax) throw new EventTooLarge(this.#eventBytesMax)
    this.#carry.add(chunk.subarray(start))
  }

  end(onEvent: OnEvent = this.#toEvent, onComment: OnComment = this.#toComment): Buffer {
    this.#toEvent = onEvent
    this.#toComment = onComment
    this.#closeCr(nothing)
    this.#lineIsEmpty = true
    return this.#carry.take(nothing)
  }

  /** Ends what a CR at the end of the last chunk left open, and says how many bytes of this one belong to it. */
  #closeCr(chunk: Buffer): number {
    const was = this.#openCr
    const bytes = was !== 'none' && chunk[0] === lf ? 1 : 0
    this.#openCr = 'none'
    if (was === 'event') this.#give(chunk.subarray(0, bytes))
    return bytes
  }

  /** Gives each event that ends in the chunk. The line goes on at `at`, the event at `start`; says where the unfinished one starts. */
  #split(chunk: Buffer, at: number, start: number): number {
    let nextLf = chunk.indexOf(lf, at)
    let nextCr = chunk.indexOf(cr, at)
    if (nextCr >= 0) this.#hasCr = true
    while (nextLf >= 0 || nextCr >= 0) {
      const isCr = nextCr >= 0 && (nextLf < 0 || nextCr < nextLf)
      const stop = isCr ? nextCr : nextLf
      const isBlank = this.#lineIsEmpty && stop === at
      this.#lineIsEmpty = true
      at = isCr && nextLf === stop + 1 ? stop + 2 : stop + 1
      if (isCr && stop + 1 === chunk.length) {
        this.#openCr = isBlank ? 'event' : 'line'
        return start
      }
      if (isBlank) {
        this.#give(chunk.subarray(start, at))
        start = at
      }
      if (nextLf >= 0 && nextLf < at) nextLf = chunk.indexOf(lf, at)
      if (nextCr >= 0 && nextCr < at) nextCr = chunk.indexOf(cr, at)
    }
    if (at < chunk.length) this.#lineIsEmpty = false
    return start
  }

  #give(tail: Buffer): void {
    if (this.#carry.length + tail.length > this.#eventBytesMax) throw new EventTooLarge(this.#eventBytesMax)
    const raw = this.#carry.length === 0 ? tail : this.#carry.take(tail)
    if (this.#opensAsLast(raw)) return this.#toEvent(raw, this.#openingType)
    const type = typeIfEvent(raw)
    if (type === undefined) return this.#toComment(raw)
    this.#remember(raw, type)
    this.#toEvent(raw, type)
  }

  /** Most chunks of a model that writes are one event like the last one, and need not be taken apart to see that. */
  #isOneEvent(chunk: Buffer): boolean {
    if (this.#carry.length > 0 || !this.#lineIsEmpty || this.#openCr !== 'none' || chunk.length > this.#eventBytesMax) return false
    return chunk[chunk.length - 1] === lf && this.#opensAsLast(chunk) && chunk.indexOf(cr) < 0
  }

  /** Two lines, of which the first says the type of the last event, and nothing else. */
  #opensAsLast(raw: Buffer): boolean {
    const opening = this.#opening
    const { length } = opening
    if (length === 0 || this.#hasCr || raw.length < length) return false
    for (let i = 0; i < length; i++) if (raw[i] !== opening[i]) return false
    return raw.indexOf(lf, length) === raw.length - 2
  }

  #remember(raw: Buffer, type: string): void {
    if (type === '' || type.length > openingTypeCharsMax) return
    const opening = Buffer.from(`event: ${type}\ndata:`)
    if (!raw.subarray(0, opening.length).equals(opening)) return
    this.#opening = exactly(opening)
    this.#openingType = type
  }
}

const openingTypeCharsMax = 100

/** Undefined when there is no data line: then the specification dispatches nothing. */
function typeIfEvent(raw: Buffer): string | undefined {
  let type: string | undefined
  let hasData = false
  eachLine(raw, (start, end) => {
    // The first letter tells most lines apart without making a string.
    if (raw[start] === 0x65) {
      const from = valueFrom(raw, start, end, 'event')
      if (from >= 0) type = raw.toString('utf8', from, end)
    } else if (!hasData && raw[start] === 0x64) {
      hasData = valueFrom(raw, start, end, 'data') >= 0
    }
  })
  if (!hasData) return undefined
  return type === undefined || type === '' ? typeInData(raw) : type
}

const typeName = namesToFind(['type'])

/** For servers that leave the `event` line out: `type` is among the first members, so little is scanned. */
function typeInData(raw: Buffer): string {
  const { bytes, from } = dataInPlace(raw)
  const member = scanObject(bytes, typeName, { from, membersMax: 1 })?.members[0]
  if (member === undefined) return ''
  try {
    const type: unknown = JSON.parse(bytes.toString('utf8', member.valueStart, member.valueEnd))
    return typeof type === 'string' ? type : ''
  } catch {
    // Broken JSON has no type; it passes as it came.
    return ''
  }
}

/** Calls `line` with the start and the end of each line, the end without its terminator. A byte order mark at the start is no part. */
function eachLine(raw: Buffer, line: (start: number, end: number) => void): void {
  let start = raw[0] === 0xef && raw[1] === 0xbb && raw[2] === 0xbf ? 3 : 0
  let nextCr = raw.indexOf(cr, start)
  while (start < raw.length) {
    const nextLf = raw.indexOf(lf, start)
    const isCr = nextCr >= 0 && (nextLf < 0 || nextCr < nextLf)
    const end = isCr ? nextCr : nextLf >= 0 ? nextLf : raw.length
    line(start, end)
    start = isCr && nextLf === end + 1 ? end + 2 : end + 1
    if (isCr) nextCr = raw.indexOf(cr, start)
  }
}

/** Where the value of a line's field begins, past one space after the colon; −1 when the line's field is another. */
function valueFrom(raw: Buffer, start: number, end: number, field: 'data' | 'event'): number {
  const colonAt = start + field.length
  if (colonAt > end) return -1
  for (let i = 0; i < field.length; i++) if (raw[start + i] !== field.charCodeAt(i)) return -1
  if (colonAt === end) return end
  if (raw[colonAt] !== 0x3a) return -1
  return colonAt + 1 < end && raw[colonAt + 1] === 0x20 ? colonAt + 2 : colonAt + 1
}

const growBytesMin = 1024

/** Bytes that come in pieces, joined in one growing buffer, so that each byte is copied about twice however small the pieces are. */
class GrowingBytes {
  readonly #allocate: (bytes: number) => Buffer
  #bytes: Buffer = nothing
  length = 0

  constructor(allocate: (bytes: number) => Buffer) {
    this.#allocate = allocate
  }

  add(piece: Buffer): void {
    const length = this.length + piece.length
    if (length > this.#bytes.length) this.#growTo(Math.max(growBytesMin, this.#bytes.length * 2, length))
    piece.copy(this.#bytes, this.length)
    this.length = length
  }

  /** All of it and `tail`, given away; then there is nothing. */
  take(tail: Buffer): Buffer {
    const length = this.length + tail.length
    // It grows no more: an event may be kept for long, so it gets no more room than it needs.
    if (length > this.#bytes.length) this.#growTo(length)
    tail.copy(this.#bytes, this.length)
    const whole = this.#bytes.subarray(0, length)
    this.#bytes = nothing
    this.length = 0
    return whole
  }

  #growTo(bytes: number): void {
    const larger = this.#allocate(bytes)
    this.#bytes.copy(larger, 0, 0, this.length)
    this.#bytes = larger
  }
}
