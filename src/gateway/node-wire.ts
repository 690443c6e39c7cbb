import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../lib/clock.ts'
import type { Soon } from '../lib/soon.ts'
import { type Body, type BodyParts, readBody } from './body.ts'
import { framed, lastFrame, textBytesMax } from './frames.ts'
import type { Wire } from './wire.ts'

/** So much of an unread body is skipped to keep the connection; beyond it, closing is cheaper. */
const skippedBytesMax = 64 * 1024
const skippingMs = 2000

/** A request that Node reads, and its answer. */
export class NodeWire implements Wire {
  readonly asking: IncomingMessage
  readonly #response: ServerResponse
  readonly #clock: Clock
  /** We frame, where Node would: HTTP/1.0 has no chunks. Undefined until a stream begins. */
  #isFramedHere: boolean | undefined

  constructor(request: IncomingMessage, response: ServerResponse, clock: Clock) {
    this.asking = request
    this.#response = response
    this.#clock = clock
    response.on('error', () => {
      // The socket broke while we wrote; `close` follows and says all there is to say.
    })
  }

  onOver(then: () => void): void {
    this.#response.once('close', then)
  }

  offOver(then: () => void): void {
    this.#response.off('close', then)
  }

  read(parts: BodyParts): Soon<Body> {
    return readBody(this.asking, parts)
  }

  /** To keep the connection, but not for long: slowness may be why it is refused. */
  skipRest(): boolean {
    const request = this.asking
    if (request.complete) return true
    const { 'content-length': length = 0, 'transfer-encoding': framing } = request.headers
    if (framing !== undefined || Number(length) > skippedBytesMax) return false
    const timer = this.#clock.after(skippingMs, () => request.socket.destroy())
    request.once('close', () => timer[Symbol.dispose]())
    request.resume()
    return true
  }

  /** Closing at once would reset the connection, and the client would never read why; so what comes is thrown away for a moment first. */
  afterRest(then: () => void): void {
    const end = () => {
      timer[Symbol.dispose]()
      then()
    }
    const timer = this.#clock.after(skippingMs, end)
    this.asking.once('end', end)
    this.asking.once('close', end)
    this.asking.resume()
  }

  head(status: number, headers: Readonly<Record<string, string>>): void {
    this.#response.writeHead(status, headers)
  }

  writePart(bytes: Buffer): boolean {
    return this.#response.write(bytes)
  }

  endWhole(last: Buffer): void {
    if (last.length > textBytesMax) this.#response.end(last)
    else this.#response.end(last.toString('latin1'), 'latin1')
  }

  /** The headers leave, and Node has decided how the body is framed. */
  beginStream(status: number, headers: Readonly<Record<string, string>>): void {
    const response = this.#response
    this.head(status, headers)
    response.flushHeaders()
    this.#isFramedHere = response.chunkedEncoding
    response.chunkedEncoding = false
  }

  write(raw: Buffer): boolean {
    const response = this.#response
    if (raw.length === 0) return !response.writableNeedDrain // A chunk of no bytes would be the end.
    if (raw.length > textBytesMax) return this.#writeLarge(raw)
    return this.#isFramedHere ? response.write(framed(raw), 'latin1') : response.write(raw)
  }

  end(last: Buffer | undefined): void {
    const response = this.#response
    if (!this.#isFramedHere) return void response.end(last)
    if (last === undefined || last.length === 0) return void response.end(lastFrame, 'latin1')
    if (last.length <= textBytesMax) return void response.end(framed(last) + lastFrame, 'latin1')
    this.#writeLarge(last)
    response.end(lastFrame, 'latin1')
  }

  onDrain(go: () => void): void {
    this.#response.once('drain', go)
  }

  get isFull(): boolean {
    return this.#response.writableNeedDrain
  }

  get unsentBytes(): number {
    return this.#response.writableLength
  }

  cut(): void {
    this.#response.destroy()
  }

  #writeLarge(raw: Buffer): boolean {
    const response = this.#response
    if (!this.#isFramedHere) return response.write(raw)
    response.write(`${raw.length.toString(16)}\r\n`, 'latin1')
    response.write(raw)
    return response.write('\r\n', 'latin1')
  }
}
