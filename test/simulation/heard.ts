import { IncomingMessage, type ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { Writable } from 'node:stream'

/** What a client hears, in the place of a ServerResponse: no socket, and the same events. */
export class HeardResponse extends Writable {
  status = 0
  headers: Readonly<Record<string, string>> = {}
  /** The answer has its end. */
  isWhole = false
  readonly #chunks: Buffer[] = []

  get text(): string {
    return Buffer.concat(this.#chunks).toString()
  }

  writeHead(status: number, headers: Readonly<Record<string, string>>): this {
    this.status = status
    this.headers = headers
    return this
  }

  flushHeaders(): void {
    // There is nothing under it that would wait.
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.#chunks.push(chunk)
    done()
  }

  override _final(done: () => void): void {
    this.isWhole = true
    done()
  }

  /** All that `Client` asks of a response is here; the rest of Node's has to do with sockets. */
  asServerResponse(): ServerResponse {
    return this as unknown as ServerResponse
  }
}

/** A request that has come whole, over no connection. */
export function requestWith(headers: Readonly<Record<string, string>>, body: object): IncomingMessage {
  const request = new IncomingMessage(new Socket())
  const bytes = Buffer.from(JSON.stringify(body))
  request.method = 'POST'
  request.url = '/v1/responses'
  Object.assign(request.headers, headers, { 'content-type': 'application/json', 'content-length': String(bytes.length) })
  request.complete = true
  request.push(bytes)
  request.push(null)
  return request
}
