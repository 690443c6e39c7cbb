import type { Socket } from 'node:net'
import type { Clock, Timer } from '../../lib/clock.ts'
import { readAtOnceBytesMax } from '../../protocols/read-in-worker.ts'
import type { Wire } from '../wire.ts'
import { DoorWire, type WireParts } from './door-wire.ts'
import { type PlainRequest, readPlain } from './plain-request.ts'
import type { Waiting, Waits } from './waiting.ts'

/** What all connections of a door share. */
export interface ConnectionParts {
  readonly clock: Clock
  /** Those that never sent anything. */
  readonly fresh: Waiting<Connection>
  /** Those between two calls. */
  readonly idle: Waiting<Connection>
  /** How a request is to be begun; undefined leaves it, and its connection, to Node. */
  readonly takes: (request: PlainRequest) => ((wire: Wire) => void) | undefined
  /** Node goes on with it, from these bytes on. */
  readonly leaveToNode: (connection: Connection, read: Buffer) => void
  readonly gone: (connection: Connection) => void
  readonly told: WireParts['told']
  readonly isClosing: WireParts['isClosing']
}

/** How long the rest of a body may take that is not here yet, before it is Node's and has limits of its own. */
const restMs = 50
/** What a client may send ahead while it is answered. */
const aheadBytesMax = 64 * 1024

/** One connection of a client's: one request after another, each answered before the next is read. */
export class Connection implements Waits {
  before: this | undefined
  after: this | undefined
  waitsSinceMs = 0
  readonly socket: Socket
  readonly #parts: ConnectionParts
  /** The one place where it waits now. */
  #waitsIn: Waiting<Connection> | undefined
  #wire: DoorWire | undefined
  /** Read, and not a request yet. */
  #read: Buffer | undefined
  #rest: Timer | undefined

  constructor(socket: Socket, parts: ConnectionParts) {
    this.socket = socket
    this.#parts = parts
    socket.on('data', this.#onData).on('end', this.#onEnd).on('drain', this.#onDrain).on('error', this.#onError).on('close', this.#onClose)
    this.#waitIn(parts.fresh)
  }

  /** From now on nothing of the socket concerns it. */
  letGo(): void {
    const { socket } = this
    socket
      .off('data', this.#onData)
      .off('end', this.#onEnd)
      .off('drain', this.#onDrain)
      .off('error', this.#onError)
      .off('close', this.#onClose)
    // Whoever has it now has these bytes, too.
    this.#read = undefined
    this.#forget()
  }

  readonly #onData = (bytes: Buffer): void => {
    this.#read = this.#read === undefined ? bytes : Buffer.concat([this.#read, bytes])
    if (this.#wire === undefined) this.#next()
    else if (this.#read.length > aheadBytesMax) this.socket.pause()
  }

  /** They will hear nothing more, so they will not be told (as Node does it). What was written before may still leave. */
  readonly #onEnd = (): void => void this.socket.end()

  readonly #onDrain = (): void => this.#wire?.drained()

  readonly #onError = (): void => {
    // `close` follows, and says all there is to say.
  }

  readonly #onClose = (): void => {
    this.#forget()
    this.#parts.gone(this)
    const wire = this.#wire
    this.#wire = undefined
    wire?.over()
  }

  readonly #answered = (): void => {
    const wire = this.#wire
    if (wire === undefined) return
    this.#wire = undefined
    if (wire.closes) this.socket.destroySoon()
    else if (!this.socket.destroyed) this.#waitIn(this.#parts.idle)
    wire.over()
    this.socket.resume()
    if (this.#read !== undefined) process.nextTick(this.#next)
  }

  /** The next request, if all of it is here. */
  readonly #next = (): void => {
    const read = this.#read
    if (read === undefined || this.#wire !== undefined || this.socket.destroyed || this.socket.writableEnded) return
    const request = readPlain(read)
    const begin = request !== undefined && request.end - request.bodyFrom <= readAtOnceBytesMax ? this.#parts.takes(request) : undefined
    if (request === undefined || begin === undefined) return this.#parts.leaveToNode(this, read)
    if (request.end > read.length) {
      // It has begun: whatever ends those who wait for their next call must not end it.
      this.#waitNoMore()
      this.#rest ??= this.#parts.clock.after(restMs, () => this.#parts.leaveToNode(this, this.#read!))
      return
    }
    this.#forget()
    this.#read = request.end < read.length ? read.subarray(request.end) : undefined
    begin(this.#open(request, read))
  }

  #open({ method, url, headers, bodyFrom, end }: PlainRequest, read: Buffer): Wire {
    const { socket } = this
    const { told, isClosing } = this.#parts
    const asking = { method, url, headers, socket }
    this.#wire = new DoorWire({ asking, body: read.subarray(bodyFrom, end), socket, told, isClosing, answered: this.#answered })
    return this.#wire
  }

  #forget(): void {
    this.#rest?.[Symbol.dispose]()
    this.#rest = undefined
    this.#waitNoMore()
  }

  #waitIn(waiting: Waiting<Connection>): void {
    this.#waitsIn = waiting
    waiting.add(this)
  }

  #waitNoMore(): void {
    this.#waitsIn?.delete(this)
    this.#waitsIn = undefined
  }
}
