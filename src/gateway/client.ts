import type { Clock, Timer } from '../lib/clock.ts'
import type { Fault } from '../lib/fault.ts'
import { type Soon, whenThere } from '../lib/soon.ts'
import type { CallReading, Protocol, Telling } from '../protocols/protocol.ts'
import type { CallReader } from '../protocols/read-in-worker.ts'
import { comment } from '../protocols/sse.ts'
import type { Body, BodyParts } from './body.ts'
import type { Gateway } from './gateway.ts'
import { answerEvents, refusalEvents } from './in-stream.ts'
import { Leaving } from './leaving.ts'
import type { Asking, Wire } from './wire.ts'

export interface ClientSettings {
  /** Silence in line after which a streaming client hears a comment; 0 is never. Milliseconds. */
  readonly waitingCommentMs: number
  readonly attemptCommentMs: number
  readonly silenceCommentMs: number
  readonly stalledReaderMs: number
}

export interface ClientParts {
  readonly id: string
  /** In which a failure is told once a stream has begun. */
  readonly protocol: Protocol
  readonly address: string
  readonly clock: Clock
  readonly settings: ClientSettings
}

/** Of a response that never was, after the call's own. */
export function madeUpId(callId: string): string {
  return `resp_hg_${callId}`
}

/** Of a whole answer, at once. */
const sliceBytes = 256 * 1024

const nothing = Buffer.alloc(0)

const streamHeaders = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache', 'x-accel-buffering': 'no' }

/**
 * The one who asked, over whatever wire. Knows whether they are still there and what they have heard: that one fact decides how a
 * failure can still be told.
 */
export interface Client {
  readonly id: string
  readonly protocol: Protocol
  readonly address: string
  /** Whose headers and query string are the client's. */
  readonly request: Asking
  /** Resolves when the last byte was handed to the system, or the client is gone. Undefined when that is so already. */
  readonly over: Promise<void> | undefined
  /** Aborted, with the fault `client_left`, as soon as the client is gone before it heard everything. */
  readonly left: AbortSignal
  /** The same, for who only wants to be told. */
  readonly leaving: Leaving
  readonly hasLeft: boolean
  /** The status that the client saw; 0 before any. */
  readonly statusTold: number
  header(name: string): string | undefined
  /** What it asks, and what that says. Fails with the faults of SPEC 1.2 that concern bytes. */
  read(parts: ReadParts): Soon<Asked>
  /** The same, whatever it says. */
  readBytes(parts: BodyParts): Soon<Body>
  /** From now on a streaming client hears a comment after so much silence, what was before included. 0 ends the comments. */
  commentEvery(ms: number): void
  /** The upstream has begun to answer with a stream. */
  beginStream(headers: Readonly<Record<string, string>>): void
  /** Writes one event. False when the client reads too slowly: write no more before `onDrain`. */
  write(raw: Buffer): boolean
  /** Calls `go` once when the client has read what is buffered; cuts the client when it does not do so in time. */
  onDrain(go: () => void): void
  /** The last bytes of a stream. */
  finishStream(last: readonly Buffer[]): void
  /** A whole answer that is no stream; if one had to be begun, the answer is told in it. */
  answer(status: number, headers: Readonly<Record<string, string>>, body: Buffer, model?: string): void
  /** Says why not, in whatever form the wire still allows. Does nothing once an answer has ended, or the client left. */
  refuse(fault: Fault, model: string): void
  /** Ends the connection at once. */
  cut(): void
}

export interface Asked {
  readonly body: Body
  readonly reading: CallReading
}

export type ReadParts = Pick<Gateway, 'settings' | 'bodies' | 'clock' | 'closing' | 'reader'>

/** A client of HTTP. */
export class HttpClient implements Client {
  readonly id: string
  readonly protocol: Protocol
  readonly address: string
  readonly request: Asking
  readonly #wire: Wire
  #isOver = false
  #over: PromiseWithResolvers<void> | undefined
  readonly #clock: Clock
  readonly #settings: ClientSettings
  readonly leaving = new Leaving()
  #heard: 'nothing' | 'comments' | 'answer' | 'all' = 'nothing'
  #comments: Timer | undefined
  /** Undefined until somebody first waits with this client: its silence counts from then on. */
  #lastWriteMs: number | undefined
  #stalled: Timer | undefined
  #statusTold = 0

  constructor(wire: Wire, { id, protocol, address, clock, settings }: ClientParts) {
    this.id = id
    this.protocol = protocol
    this.address = address
    this.request = wire.asking
    this.#wire = wire
    this.#clock = clock
    this.#settings = settings
    wire.onOver(() => this.#closed())
  }

  get over(): Promise<void> | undefined {
    return this.#isOver ? undefined : (this.#over ??= Promise.withResolvers<void>()).promise
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

  header(name: string): string | undefined {
    const value = this.request.headers[name]
    return Array.isArray(value) ? value[0] : value
  }

  read({ settings, bodies: budget, clock, closing, reader }: ReadParts): Soon<Asked> {
    const reading = this.readBytes({ settings, budget, clock, closing })
    return whenThere(reading, body => askedIn(body, this.protocol, reader))
  }

  readBytes(parts: BodyParts): Soon<Body> {
    return this.#wire.read(parts)
  }

  commentEvery(ms: number): void {
    this.#comments?.[Symbol.dispose]()
    this.#comments = undefined
    if (ms <= 0 || this.hasLeft) return
    const silentMs = () => this.#clock.elapsedMs() - (this.#lastWriteMs ?? 0)
    const beat = () => {
      const leftMs = ms - silentMs()
      const isDue = leftMs <= 1
      if (isDue) this.#comment()
      this.#comments = this.#clock.after(isDue ? ms : leftMs, beat)
    }
    this.#lastWriteMs ??= this.#clock.elapsedMs()
    this.#comments = this.#clock.after(Math.max(0, ms - silentMs()), beat)
  }

  beginStream(headers: Readonly<Record<string, string>>): void {
    if (this.#heard === 'nothing') this.#beginStream({ ...headers, ...streamHeaders })
    this.#heard = 'answer'
    this.commentEvery(this.#settings.silenceCommentMs)
  }

  write(raw: Buffer): boolean {
    this.#lastWriteMs = this.#clock.elapsedMs()
    return this.#wire.write(raw)
  }

  onDrain(go: () => void): void {
    this.#stalled = this.#clock.after(this.#settings.stalledReaderMs, () => this.cut())
    this.#wire.onDrain(() => {
      this.#stalled?.[Symbol.dispose]()
      go()
    })
  }

  /** What an answer says of itself that we have to make up. */
  telling(model: string): Telling {
    return { id: madeUpId(this.id), model, createdAtMs: this.#clock.nowMs() }
  }

  finishStream(last: readonly Buffer[]): void {
    for (const raw of last.slice(0, -1)) this.#wire.write(raw)
    this.#end(() => this.#wire.end(last.at(-1)))
  }

  answer(status: number, headers: Readonly<Record<string, string>>, body: Buffer, model = ''): void {
    if (this.#heard === 'comments') return this.finishStream(answerEvents(status, body, this.protocol, this.telling(model)))
    this.#head(status, { ...headers, 'content-length': String(body.length) })
    this.#heard = 'answer'
    this.#writeBody(body, 0)
  }

  refuse(fault: Fault, model: string): void {
    if (this.hasLeft || this.#heard === 'all') return
    if (this.#heard === 'answer') return this.cut() // Nobody will end that answer: a client that waits for ever is worse off.
    if (this.#heard === 'comments') return this.finishStream(refusalEvents(fault, this.protocol, this.telling(model)))
    const { status, retry } = fault.entry
    const headers: Record<string, string> = { 'content-type': 'application/json' }
    if (fault.retryAfterSeconds !== undefined) headers['retry-after'] = String(fault.retryAfterSeconds)
    if (retry === 'never') headers['x-should-retry'] = 'false'
    const body = Buffer.from(JSON.stringify(fault.body))
    if (this.#wire.skipRest()) this.answer(status, headers, body)
    else this.#answerBeforeEnd(status, { ...headers, connection: 'close' }, body)
  }

  /** Ends the connection at once. */
  cut(): void {
    this.#wire.cut()
  }

  /** In slices, so that a reader who stalls in the middle is noticed. */
  #writeBody(body: Buffer, from: number): void {
    const to = from + sliceBytes
    if (to >= body.length) return this.#end(() => this.#wire.endWhole(body.subarray(from)))
    const goesOn = this.#wire.writePart(body.subarray(from, to))
    if (goesOn) this.#writeBody(body, to)
    else this.onDrain(() => this.#writeBody(body, to))
  }

  #answerBeforeEnd(status: number, headers: Readonly<Record<string, string>>, body: Buffer): void {
    this.#head(status, { ...headers, 'content-length': String(body.length) })
    this.#heard = 'answer'
    this.#wire.writePart(body)
    this.#wire.afterRest(() => this.#end(() => this.#wire.endWhole(nothing)))
  }

  #comment(): void {
    if (this.#heard === 'nothing') {
      this.#beginStream(streamHeaders)
      this.#heard = 'comments'
    }
    if (this.#wire.isFull) return // They have bytes of ours to read: that is not silence.
    this.write(comment)
  }

  #beginStream(headers: Readonly<Record<string, string>>): void {
    this.#statusTold = 200
    this.#wire.beginStream(200, { 'x-request-id': this.id, ...headers })
  }

  #head(status: number, headers: Readonly<Record<string, string>>): void {
    this.#statusTold = status
    this.#wire.head(status, { 'x-request-id': this.id, ...headers })
  }

  /** With the last bytes, so that they and the end of the answer leave together. */
  #end(write: () => void): void {
    this.commentEvery(0)
    this.#heard = 'all'
    write()
    if (this.#wire.unsentBytes > 0) this.#stalled = this.#clock.after(this.#settings.stalledReaderMs, () => this.cut())
  }

  #closed(): void {
    this.commentEvery(0)
    this.#stalled?.[Symbol.dispose]()
    if (this.#heard !== 'all') this.leaving.leave()
    this.#isOver = true
    this.#over?.resolve()
  }
}

/** When nobody can tell what a body says, its room is given back. */
function askedIn(body: Body, protocol: Protocol, reader: CallReader): Soon<Asked> {
  const giveBack = (error: unknown): never => {
    body[Symbol.dispose]()
    throw error
  }
  try {
    const reading = reader.read(body.bytes, protocol)
    return reading instanceof Promise ? reading.then(read => ({ body, reading: read }), giveBack) : { body, reading }
  } catch (error) {
    return giveBack(error)
  }
}
