/** What one answer was, as far as it has come. */
export interface Heard {
  status: number
  /** Of the body, without its framing and without comments, which a gateway may send to whoever waits. */
  bytes: number
  events: number
  firstEventMs: number
  /** The longest time between two events of a stream. */
  longestSilenceMs: number
  /** The last bytes of the body. */
  tail: Buffer
  /** The other side said that it closes the connection after this answer. */
  closes: boolean
}

const blankLine = Buffer.from('\r\n\r\n')
const eventEnd = Buffer.from('\n\n')
const nothing = Buffer.alloc(0)
const newline = 10
const colon = 58
const tailBytes = 4096

type Reading = 'head' | 'length' | 'chunkSize' | 'chunk' | 'chunkEnd' | 'lastLine' | 'whole'

/**
 * Reads HTTP/1.1 answers of one connection, one after another: as much as this benchmark needs and no more, because what the
 * loader costs is not the gateway's.
 */
export class Reader {
  heard = unheard()
  #reading: Reading = 'head'
  #unread: Buffer = nothing
  #left = 0
  #lastEventMs = 0
  /** Of the event, or the JSON, that has not ended yet. */
  #eventBytes = 0
  #eventFirst: number | undefined
  #endedInNewline = false
  readonly #tail = new Tail()

  /** Takes what the socket brought, and keeps nothing of it: the next may come in the same memory. True when the answer is whole. */
  push(chunk: Buffer, nowMs: number): boolean {
    const bytes = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk])
    let at = 0
    while (at < bytes.length && this.#reading !== 'whole') {
      const read = this.#step(at === 0 ? bytes : bytes.subarray(at), nowMs)
      if (read === 0) break
      at += read
    }
    this.#unread = at === bytes.length ? nothing : Buffer.from(bytes.subarray(at))
    if (this.#reading !== 'whole') return false
    // JSON, that is no event; or an event that was cut.
    this.heard.bytes += this.#eventBytes
    this.heard.tail = this.#tail.take()
    return true
  }

  /** Makes ready for the next answer. */
  reset(): void {
    this.heard = unheard()
    this.#reading = 'head'
    this.#eventBytes = 0
    this.#endedInNewline = false
  }

  /** How many bytes it could use; 0 when it must have more. */
  #step(bytes: Buffer, nowMs: number): number {
    if (this.#reading === 'head') return this.#head(bytes)
    if (this.#reading === 'length' || this.#reading === 'chunk') return this.#body(bytes, nowMs)
    const end = bytes.indexOf(newline)
    if (end === -1) return 0
    if (this.#reading === 'lastLine') this.#reading = 'whole'
    else if (this.#reading === 'chunkEnd') this.#reading = 'chunkSize'
    else {
      this.#left = Number.parseInt(bytes.toString('latin1', 0, end), 16)
      this.#reading = this.#left === 0 ? 'lastLine' : 'chunk'
    }
    return end + 1
  }

  #head(bytes: Buffer): number {
    const end = bytes.indexOf(blankLine)
    if (end === -1) return 0
    const head = bytes.toString('latin1', 0, end + 2)
    this.heard.status = Number(head.slice(9, 12))
    this.heard.closes = /\r\nconnection: *close\r/i.test(head)
    const length = /\r\ncontent-length: *(\d+)\r/i.exec(head)?.[1]
    this.#left = Number(length)
    this.#reading = length === undefined ? 'chunkSize' : this.#left === 0 ? 'whole' : 'length'
    return end + blankLine.length
  }

  #body(bytes: Buffer, nowMs: number): number {
    const part = bytes.length <= this.#left ? bytes : bytes.subarray(0, this.#left)
    this.#left -= part.length
    this.#hear(part, nowMs)
    if (this.#left === 0) this.#reading = this.#reading === 'length' ? 'whole' : 'chunkEnd'
    return part.length
  }

  #hear(part: Buffer, nowMs: number): void {
    const { heard } = this
    this.#tail.add(part)
    const eventsBefore = heard.events
    let start = 0
    for (let end = this.#eventEnd(part, 0); end !== -1; end = this.#eventEnd(part, end)) {
      const bytes = this.#eventBytes + end - start
      const isComment = (this.#eventBytes === 0 ? part[start] : this.#eventFirst) === colon
      if (!isComment) heard.events += 1
      heard.bytes += isComment ? 0 : bytes
      this.#eventBytes = 0
      start = end
    }
    if (this.#eventBytes === 0) this.#eventFirst = part[start]
    this.#eventBytes += part.length - start
    this.#endedInNewline = part.at(-1) === newline && start < part.length
    if (heard.events > eventsBefore) this.#time(nowMs, eventsBefore === 0)
  }

  #time(nowMs: number, isFirst: boolean): void {
    const { heard } = this
    if (isFirst) heard.firstEventMs = nowMs
    else heard.longestSilenceMs = Math.max(heard.longestSilenceMs, nowMs - this.#lastEventMs)
    this.#lastEventMs = nowMs
  }

  /** Where the next event ends: after a blank line, which may be cut in its middle. -1 when it does not end here. */
  #eventEnd(part: Buffer, from: number): number {
    if (from === 0 && this.#endedInNewline && part[0] === newline) return 1
    const at = part.indexOf(eventEnd, from)
    return at === -1 ? -1 : at + eventEnd.length
  }
}

/**
 * The last bytes of a body, in memory that is taken once. As a buffer made anew with each event they were 40 MB a second with a hundred
 * streams, and the collector stopped the load for 20 ms at a time.
 */
class Tail {
  readonly #bytes = Buffer.allocUnsafeSlow(2 * tailBytes)
  #length = 0

  add(part: Buffer): void {
    const last = part.length <= tailBytes ? part : part.subarray(-tailBytes)
    if (this.#length + last.length > this.#bytes.length) {
      this.#bytes.copyWithin(0, this.#length - tailBytes, this.#length)
      this.#length = tailBytes
    }
    last.copy(this.#bytes, this.#length)
    this.#length += last.length
  }

  take(): Buffer {
    const tail = Buffer.from(this.#bytes.subarray(Math.max(0, this.#length - tailBytes), this.#length))
    this.#length = 0
    return tail
  }
}

function unheard(): Heard {
  return { status: 0, bytes: 0, events: 0, firstEventMs: 0, longestSilenceMs: 0, tail: nothing, closes: false }
}
