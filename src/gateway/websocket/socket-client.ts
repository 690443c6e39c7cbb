import type { Clock } from '../../lib/clock.ts'
import type { Fault } from '../../lib/fault.ts'
import { isFields } from '../../protocols/json.ts'
import { errorMessage, messageOf, overSocket } from '../../protocols/openai-websocket.ts'
import type { CallReading } from '../../protocols/protocol.ts'
import { typeOf } from '../../protocols/sse.ts'
import type { Body } from '../body.ts'
import type { Asked, Client } from '../client.ts'
import { madeUpId } from '../client.ts'
import { Leaving } from '../leaving.ts'
import type { Asking } from '../wire.ts'

/** The client's end of a WebSocket, as one call sees it. */
export interface Mouth {
  readonly request: Asking
  readonly address: string
  /** Sends one message. False when the client reads too slowly. */
  say(message: Buffer): boolean
  onDrain(go: () => void): void
  /** Ends the socket at once. */
  cut(): void
}

export interface SocketClientParts {
  readonly id: string
  /** Undefined for the lane without a name. */
  readonly streamId: string | undefined
  readonly clock: Clock
  /** What was asked, read already; `wrong` is why it is refused whatever it says. */
  readonly asked: { readonly body: Body; readonly reading: CallReading; readonly wrong?: Fault | undefined }
  /** How a refusal is told. Default: as an error in its lane. */
  readonly refusal?: ((fault: Fault) => Buffer) | undefined
}

/** Whoever asked one thing over a WebSocket: each event is told as one message, and none of the waiting, for which sockets have pings. */
export class SocketClient implements Client {
  readonly id: string
  readonly protocol = overSocket
  readonly address: string
  readonly request: Asking
  readonly over: Promise<void>
  readonly streamId: string | undefined
  readonly #mouth: Mouth
  readonly #parts: SocketClientParts
  readonly leaving = new Leaving()
  /** What is to be said once this answer has ended. */
  readonly #after: Buffer[] = []
  #heard: 'nothing' | 'answer' | 'all' = 'nothing'
  #statusTold = 0
  #isRead = false
  #end!: () => void

  constructor(mouth: Mouth, parts: SocketClientParts) {
    this.id = parts.id
    this.address = mouth.address
    this.request = mouth.request
    this.streamId = parts.streamId
    this.#mouth = mouth
    this.#parts = parts
    this.over = new Promise(resolve => {
      this.#end = resolve
    })
  }

  get left(): AbortSignal {
    return this.leaving.signal
  }

  get hasLeft(): boolean {
    return this.leaving.hasLeft
  }

  get statusTold(): number {
    return this.#statusTold
  }

  /** The socket is closed. */
  leave(): void {
    if (this.#heard !== 'all') this.leaving.leave()
    this.#end()
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name]
    return Array.isArray(value) ? value[0] : value
  }

  /** What it hands over is its reader's to dispose of. */
  read(): Asked {
    const { wrong, ...asked } = this.#parts.asked
    if (wrong !== undefined) throw wrong
    this.#isRead = true
    return asked
  }

  readBytes(): Body {
    return this.read().body
  }

  /** Gives back the room of what was asked, when nobody read it: who asks may be refused before what they ask is looked at. */
  unread(): void {
    if (!this.#isRead) this.#parts.asked.body[Symbol.dispose]()
  }

  commentEvery(): void {
    // A comment would be no message of the protocol.
  }

  beginStream(): void {
    this.#heard = 'answer'
    this.#statusTold = 200
  }

  write(raw: Buffer): boolean {
    // An error ends a response for its client. It has said what the end, which follows when all is booked, says again.
    if (typeOf(raw) === 'error') return true
    return this.#mouth.say(messageOf(raw, this.streamId))
  }

  onDrain(go: () => void): void {
    this.#mouth.onDrain(go)
  }

  telling(model: string) {
    return { id: madeUpId(this.id), model, createdAtMs: this.#parts.clock.nowMs() }
  }

  finishStream(last: readonly Buffer[]): void {
    for (const raw of last) this.#mouth.say(messageOf(raw, this.streamId))
    this.#finish()
  }

  /** Only a refusal of the upstream's is no stream here. */
  answer(status: number, _: Readonly<Record<string, string>>, body: Buffer): void {
    this.#statusTold = status
    this.#mouth.say(errorMessage({ status, error: errorIn(body), headers: {}, streamId: this.streamId }))
    this.#finish()
  }

  refuse(fault: Fault): void {
    if (this.hasLeft || this.#heard === 'all') return
    // Nobody will end that answer: a client that waits for ever is worse off.
    if (this.#heard === 'answer') return this.#mouth.cut()
    this.#statusTold = fault.entry.status
    this.#mouth.say(this.#parts.refusal?.(fault) ?? errorOf(fault, this.streamId))
    this.#finish()
  }

  cut(): void {
    this.#mouth.cut()
  }

  /** To be said when this answer has ended, or now if it has. */
  afterwards(message: Buffer): void {
    if (this.#heard === 'all') this.#mouth.say(message)
    else this.#after.push(message)
  }

  #finish(): void {
    this.#heard = 'all'
    for (const message of this.#after.splice(0)) this.#mouth.say(message)
    this.#end()
  }
}

/** A fault as a message, with what an HTTP answer would say in its headers. */
export function errorOf(fault: Fault, streamId: string | undefined): Buffer {
  const { status, retry } = fault.entry
  const headers = {
    ...(fault.retryAfterSeconds !== undefined && { 'retry-after': String(fault.retryAfterSeconds) }),
    ...(retry === 'never' && { 'x-should-retry': 'false' }),
  }
  return errorMessage({ status, error: fault.body.error, headers, streamId })
}

function errorIn(body: Buffer): Readonly<Record<string, unknown>> {
  try {
    const { error } = JSON.parse(body.toString())
    if (isFields(error)) return error
  } catch {
    // No JSON: a page of a proxy's. Its beginning is the message.
  }
  return { type: 'invalid_request_error', code: null, message: body.toString().slice(0, shownChars), param: null }
}

const shownChars = 500
