import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { exactly } from '../../lib/bytes.ts'
import { isFieldValue } from '../../lib/http-field.ts'
import type { Soon } from '../../lib/soon.ts'
import { type Body, type BodyParts, takeBody, tooLarge } from '../body.ts'
import { framed, lastFrame, textBytesMax } from '../frames.ts'
import type { Asking, Wire } from '../wire.ts'

/** What a wire asks of the connection that it belongs to. */
export interface WireParts {
  readonly asking: Asking
  readonly body: Buffer
  readonly socket: Socket
  /** Whether the connection ends with this answer. */
  readonly isClosing: () => boolean
  /** What an answer says of date and connection, each line with its end. */
  readonly told: (closes: boolean) => string
  /** The answer has left whole. */
  readonly answered: () => void
}

const nothing = Buffer.alloc(0)
/** A head, mostly. */
const alongBytesMax = 4 * 1024

/** A request that came whole in one piece, and its answer, without Node's HTTP between it and the socket. */
export class DoorWire implements Wire {
  readonly asking: Asking
  readonly skipRest = always
  readonly #parts: WireParts
  readonly #socket: Socket
  readonly #whenOver: (() => void)[] = []
  /** Not written yet: it leaves along with what follows it. */
  #head = ''
  #drained: (() => void) | undefined
  #closes = false
  #isOver = false

  constructor(parts: WireParts) {
    this.asking = parts.asking
    this.#parts = parts
    this.#socket = parts.socket
  }

  onOver(then: () => void): void {
    this.#whenOver.push(then)
  }

  offOver(then: () => void): void {
    const at = this.#whenOver.indexOf(then)
    if (at >= 0) this.#whenOver.splice(at, 1)
  }

  read({ settings, budget }: BodyParts): Soon<Body> {
    const { body } = this.#parts
    if (body.length > settings.bodyBytesMax) throw tooLarge(settings.bodyBytesMax)
    // A body may be kept for minutes: the rest of what was read with it, unless that is little, must not.
    return takeBody(body.buffer.byteLength - body.length > alongBytesMax ? exactly(body) : body, budget)
  }

  afterRest(then: () => void): void {
    then()
  }

  /** Whether the client was told that the connection ends with this answer. */
  get closes(): boolean {
    return this.#closes
  }

  head(status: number, headers: Readonly<Record<string, string>>): void {
    this.#closes = this.#parts.isClosing()
    this.#head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n${linesOf(headers)}${this.#parts.told(this.#closes)}\r\n`
  }

  writePart(bytes: Buffer): boolean {
    this.#flush()
    return this.#isOver || this.#socket.write(bytes)
  }

  endWhole(last: Buffer): void {
    if (last.length <= textBytesMax) this.#text(last.toString('latin1'))
    else this.writePart(last)
    this.#ended()
  }

  beginStream(status: number, headers: Readonly<Record<string, string>>): void {
    this.head(status, { ...headers, 'transfer-encoding': 'chunked' })
    process.nextTick(this.#flush) // The first event mostly is here: then they leave together.
  }

  write(raw: Buffer): boolean {
    if (raw.length === 0) return !this.isFull // A chunk of no bytes would be the end.
    if (raw.length <= textBytesMax) return this.#text(framed(raw))
    this.#text(`${raw.length.toString(16)}\r\n`)
    this.#socket.write(raw)
    return this.#text('\r\n')
  }

  end(last: Buffer | undefined): void {
    if (last === undefined || last.length === 0) this.#text(lastFrame)
    else if (last.length <= textBytesMax) this.#text(framed(last) + lastFrame)
    else {
      this.write(last)
      this.#text(lastFrame)
    }
    this.#ended()
  }

  onDrain(go: () => void): void {
    this.#drained = go
  }

  get isFull(): boolean {
    return this.#socket.writableNeedDrain
  }

  get unsentBytes(): number {
    return this.#isOver ? 0 : this.#socket.writableLength
  }

  cut(): void {
    if (!this.#isOver) this.#socket.destroy()
  }

  /** The socket has room again. */
  drained(): void {
    const go = this.#drained
    this.#drained = undefined
    go?.()
  }

  /** The answer has left, or nobody is there to hear it. */
  over(): void {
    if (this.#isOver) return
    this.#isOver = true
    for (const then of this.#whenOver) then()
  }

  readonly #flush = (): void => {
    if (this.#head !== '') this.#text('')
  }

  #text(text: string): boolean {
    const head = this.#head
    this.#head = ''
    return this.#isOver ? true : this.#socket.write(head + text, 'latin1')
  }

  #ended(): void {
    if (this.#isOver) return
    if (this.#socket.writableLength === 0) this.#parts.answered()
    else this.#socket.write(nothing, this.#parts.answered) // Behind all that waits.
  }
}

/** All of a request that comes by the door is here. */
function always(): boolean {
  return true
}

function linesOf(headers: Readonly<Record<string, string>>): string {
  let lines = ''
  for (const name in headers) {
    const value = headers[name]!
    if (!isFieldValue(value)) throw new Error(`the header ${name} has a character that HTTP does not allow`)
    lines += `${name}: ${value}\r\n`
  }
  return lines
}
