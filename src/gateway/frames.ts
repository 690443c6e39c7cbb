import type { ServerResponse } from 'node:http'

/**
 * Writes what an answer consists of so that a piece costs one write. Node frames each chunk in four pieces, which go to the system as a
 * list; small ones as one text of one byte a letter cost a tenth less of a streamed event, and as much of a whole answer.
 */
export class Frames {
  readonly #response: ServerResponse
  /** We frame, where Node would: HTTP/1.0 has no chunks. Undefined until a stream begins. */
  #isOurs: boolean | undefined

  constructor(response: ServerResponse) {
    this.#response = response
  }

  /** The headers leave, and Node has decided how the body is framed. */
  begin(): void {
    this.#response.flushHeaders()
    this.#isOurs = this.#response.chunkedEncoding
    this.#response.chunkedEncoding = false
  }

  /** One piece of a stream that has begun. False when the reader is slow, as `ServerResponse.write`. */
  write(raw: Buffer): boolean {
    const response = this.#response
    if (raw.length === 0) return !response.writableNeedDrain // A chunk of no bytes would be the end.
    if (raw.length > textBytesMax) return this.#writeLarge(raw)
    return this.#isOurs ? response.write(framed(raw), 'latin1') : response.write(raw)
  }

  /** The last piece of a stream, if there is one, and its end. */
  end(last: Buffer | undefined): void {
    const response = this.#response
    if (!this.#isOurs) return void response.end(last)
    if (last === undefined || last.length === 0) return void response.end(lastFrame, 'latin1')
    if (last.length <= textBytesMax) return void response.end(framed(last) + lastFrame, 'latin1')
    this.#writeLarge(last)
    response.end(lastFrame, 'latin1')
  }

  /** The last piece of an answer whose length was told. */
  endWhole(body: Buffer): void {
    if (body.length > textBytesMax) this.#response.end(body)
    else this.#response.end(body.toString('latin1'), 'latin1')
  }

  #writeLarge(raw: Buffer): boolean {
    const response = this.#response
    if (!this.#isOurs) return response.write(raw)
    response.write(`${raw.length.toString(16)}\r\n`, 'latin1')
    response.write(raw)
    return response.write('\r\n', 'latin1')
  }
}

/** A larger piece is not worth a copy. */
const textBytesMax = 64 * 1024

const lastFrame = '0\r\n\r\n'

/** RFC 9112, 7.1. */
function framed(raw: Buffer): string {
  return `${raw.length.toString(16)}\r\n${raw.toString('latin1')}\r\n`
}
