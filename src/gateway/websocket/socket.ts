import type { WebSocket } from 'ws'
import type { Timer } from '../../lib/clock.ts'
import { Fault } from '../../lib/fault.ts'
import { newId } from '../../lib/id.ts'
import { envelopeOf, isLaneName, overSocket } from '../../protocols/openai-websocket.ts'
import type { CallReading } from '../../protocols/protocol.ts'
import { type Body, takeBody } from '../body.ts'
import type { Gateway } from '../gateway.ts'
import type { Asking } from '../wire.ts'
import { type Carrier, Conversation, closedFor } from './conversation.ts'
import { errorOf, type Mouth, SocketClient } from './socket-client.ts'
import { steer } from './steer.ts'

export interface SocketParts {
  readonly request: Asking
  readonly address: string
  readonly gateway: Gateway
  readonly track: (work: Promise<void>) => void
}

const minuteMs = 60_000
/** So long a client may take to say goodbye. */
const closingMs = 2_000
/** A socket is full at this share of what may be held for its reader: what the upstream's last chunk brought comes on top. */
const fullShare = 1 / 4

/** One client's WebSocket: messages in, one after the other, messages out, pings, and its end. */
export class ClientSocket implements Mouth, Carrier {
  readonly request: Asking
  readonly address: string
  readonly track: (work: Promise<void>) => void
  readonly #ws: WebSocket
  readonly #gateway: Gateway
  readonly #conversation: Conversation
  readonly #timers = new DisposableStack()
  readonly #waiting = new Set<() => void>()
  readonly #fullBytes: number
  #inbox: Promise<void> = Promise.resolve()
  #unread = 0
  #isAlive = true
  #isHeldBack = false

  constructor(ws: WebSocket, { request, address, gateway, track }: SocketParts) {
    this.request = request
    this.address = address
    this.track = track
    this.#ws = ws
    this.#gateway = gateway
    this.#fullBytes = gateway.settings.readerBufferBytes * fullShare
    this.#conversation = new Conversation(gateway, this)
    ws.on('message', (data: Buffer, isBinary) => this.#hear(data, isBinary))
    ws.on('pong', () => {
      this.#isAlive = true
    })
    ws.on('error', () => {
      // Too large a message, or none of WebSocket's: `ws` has said so to the client, and the closing that follows says the rest.
    })
    ws.once('close', () => {
      this.#timers.dispose()
      this.#conversation.leave()
    })
    this.#keepTime()
  }

  say(message: Buffer): boolean {
    if (this.#ws.readyState !== this.#ws.OPEN) return true
    this.#ws.send(message, { binary: false }, () => this.#sent())
    return !this.#isFull
  }

  onDrain(go: () => void): void {
    const { clock, settings } = this.#gateway
    const stalled = clock.after(settings.stalledReaderMs, () => this.cut())
    this.#waiting.add(() => {
      stalled[Symbol.dispose]()
      go()
    })
  }

  cut(): void {
    this.#ws.terminate()
  }

  close(code: number): void {
    if (this.#ws.readyState !== this.#ws.OPEN) return
    this.#ws.close(code)
    const timer = this.#gateway.clock.after(closingMs, () => this.cut())
    this.#ws.once('close', () => timer[Symbol.dispose]())
  }

  get #isFull(): boolean {
    return this.#ws.bufferedAmount > this.#fullBytes
  }

  #sent(): void {
    if (this.#isFull) return
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const go of waiting) go()
  }

  #keepTime(): void {
    const { clock, closing, settings } = this.#gateway
    const { socketAgeMaxMs, socketPingMs } = settings
    const ping: Timer = this.#timers.use(
      clock.after(socketPingMs, () => {
        if (!this.#isAlive && !this.#ws.isPaused) return this.cut() // While nothing is read, no answer to a ping is either.
        this.#isAlive = false
        this.#ws.ping()
        ping.restart()
      }),
    )
    const age = clock.after(socketAgeMaxMs, () => {
      const old = new Fault('socket_old', { values: { minutes: Math.round(socketAgeMaxMs / minuteMs) } })
      this.say(errorOf(old, undefined))
      this.#conversation.end(closedFor.age, old)
    })
    this.#timers.use(age)
    const stop = () => this.#conversation.end(closedFor.stopping, new Fault('stopping'))
    closing.addEventListener('abort', stop)
    this.#timers.defer(() => closing.removeEventListener('abort', stop))
    if (closing.aborted) stop()
  }

  /** Every message may be answered: of a client that does not read the answers no more are taken. */
  #hearOn(): void {
    if (!this.#isFull) return this.#ws.resume()
    if (this.#isHeldBack) return
    this.#isHeldBack = true
    this.onDrain(() => {
      this.#isHeldBack = false
      if (this.#unread === 0) this.#hearOn()
    })
  }

  /** Messages are read in the order in which they came. While one is, no further comes in. */
  #hear(data: Buffer, isBinary: boolean): void {
    this.#isAlive = true
    this.#ws.pause()
    let body: Body
    try {
      body = takeBody(data, this.#gateway.bodies)
    } catch (error) {
      this.say(errorOf(Fault.from(error), undefined))
      if (this.#unread === 0) this.#hearOn()
      return
    }
    this.#unread += 1
    this.#inbox = this.#inbox.then(() => this.#readSurely(body, isBinary))
    this.track(this.#inbox)
  }

  async #readSurely(body: Body, isBinary: boolean): Promise<void> {
    try {
      await this.#read(body, isBinary)
    } catch (error) {
      body[Symbol.dispose]()
      this.#gateway.log.error({ err: error }, 'a message of a client could not be read')
      this.say(errorOf(new Fault('unforeseen'), undefined))
    }
    this.#unread -= 1
    if (this.#unread === 0) this.#hearOn()
  }

  async #read(body: Body, isBinary: boolean): Promise<void> {
    const reading: CallReading = isBinary ? { fault: 'body_unparsable' } : await this.#gateway.reader.read(body.bytes, overSocket)
    const { type, streamId } = isBinary ? { type: undefined, streamId: undefined } : envelopeOf(body.bytes, reading)
    if (type === 'response.steer') return steer(body, this.#conversation, this, this.#gateway)
    const wrong = this.#wrongIn(reading, type, streamId)
    const { clock } = this.#gateway
    const client = new SocketClient(this, {
      id: newId(clock.nowMs()),
      streamId: isLaneName(streamId) ? streamId : undefined,
      clock,
      asked: { body, reading, wrong },
    })
    if (wrong === undefined) this.#conversation.take(client)
    else await this.#conversation.refuse(client)
  }

  #wrongIn(reading: CallReading, type: unknown, streamId: unknown): Fault | undefined {
    if ('fault' in reading && type === undefined) return new Fault(reading.fault)
    if (type !== 'response.create') return new Fault('message_type_invalid')
    if (streamId !== undefined && !isLaneName(streamId)) return new Fault('stream_id_invalid')
    if ('facts' in reading && reading.facts.background) return new Fault('socket_background')
    return this.#conversation.fullness(streamId ?? '')
  }
}
