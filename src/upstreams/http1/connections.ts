import type { Socket } from 'node:net'
import type { Clock } from '../../lib/clock.ts'
import type { Outbound } from '../egress.ts'
import type { AnswerHandler } from '../exchange-control.ts'
import { Pieces } from '../pieces.ts'
import { Connection, type Owner } from './connection.ts'
import { Exchange } from './exchange.ts'
import { requestHead } from './request-head.ts'

/** Takes what was read into a buffer for all: it must be copied before it returns. */
export type Take = (bytes: Buffer, length: number) => void

/** What became of an attempt to connect. `isShared`: what comes is given to `take`. */
export interface Connecting {
  readonly take: Take
  opened(socket: Socket, isShared: boolean): void
  failed(error: Error): void
}

/** Makes a connection. Tells of it once, and may throw instead. */
export type Opener = (connecting: Connecting) => void

/** Where the connections go, and what is needed to keep them. */
export interface ConnectionsParts {
  /** As the header `host` names it. */
  readonly host: string
  readonly open: Opener
  readonly clock: Clock
  /** None is left. */
  readonly onEmpty: () => void
}

/** How often is looked for connections that were kept long enough. They are not used any more before they are closed. */
const sweepMs = 1_000

/** A new connection whose exchange was given up before it was written. */
const keepMsUnused = 4_000

/** The gateway stops. */
class EgressClosed extends Error {
  override readonly name = 'EgressClosed'
  readonly code = 'HEADGATE_EGRESS_CLOSED'
}

/** The connections to one origin by one route. As many are opened as are needed at once; the last one used is the first to be used again. */
export class Connections implements Owner {
  readonly pieces = new Pieces()
  readonly #parts: ConnectionsParts
  readonly #open = new Set<Connection>()
  readonly #idle: Connection[] = []
  /** What will take an idle connection. */
  #waiting: Exchange[] = []
  /** What waits for a connection of its own. */
  readonly #connecting = new Set<Exchange>()
  #isSweeping = false
  #isClosed = false

  constructor(parts: ConnectionsParts) {
    this.#parts = parts
  }

  send(outbound: Outbound, handler: AnswerHandler): void {
    let bytes = 0
    for (const slice of outbound.body) bytes += slice.length
    let exchange: Exchange
    try {
      if (this.#isClosed) throw new EgressClosed('the gateway stops')
      const head = requestHead(outbound, this.#parts.host, bytes)
      exchange = new Exchange({ head, body: bytes === 0 ? [] : outbound.body }, handler)
    } catch (error) {
      // Whoever sends is not told before it knows that it has sent.
      const unsent = new Exchange({ head: '', body: [] }, handler)
      return queueMicrotask(() => unsent.fail(error))
    }
    if (this.#idle.length <= this.#waiting.length) return this.#openFor(exchange)
    // Whatever has come on an idle connection by now, its end or bytes that nobody asked for, must be seen before it is used.
    if (this.#waiting.push(exchange) === 1) setImmediate(this.#beginWaiting)
  }

  freed(connection: Connection, keepMs?: number): void {
    if (this.#isClosed) return connection.close()
    if (keepMs !== undefined) connection.keptUntilMs = this.#parts.clock.elapsedMs() + keepMs
    this.#idle.push(connection)
    if (this.#isSweeping) return
    this.#isSweeping = true
    this.#parts.clock.after(sweepMs, () => this.#sweep())
  }

  gone(connection: Connection): void {
    this.#open.delete(connection)
    const at = this.#idle.lastIndexOf(connection)
    if (at !== -1) this.#idle.splice(at, 1)
    this.#lookWhetherEmpty()
  }

  /** What is under way fails, and nothing is sent any more. */
  close(): void {
    this.#isClosed = true
    const error = new EgressClosed('the gateway stops')
    for (const exchange of [...this.#waiting, ...this.#connecting]) exchange.fail(error)
    for (const connection of [...this.#open]) connection.close(error)
    this.#idle.length = 0
  }

  readonly #beginWaiting = () => {
    const waiting = this.#waiting
    this.#waiting = []
    const nowMs = this.#parts.clock.elapsedMs()
    for (const exchange of waiting) {
      if (exchange.isOver) continue
      const connection = this.#takeIdle(nowMs)
      if (connection === undefined) this.#openFor(exchange)
      else connection.begin(exchange)
    }
  }

  #takeIdle(nowMs: number): Connection | undefined {
    for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
      if (connection.isOpen && connection.keptUntilMs > nowMs) return connection
      connection.close()
    }
    return undefined
  }

  #openFor(exchange: Exchange): void {
    let connection: Connection | undefined
    const failed = (error: unknown) => {
      this.#connecting.delete(exchange)
      exchange.fail(error)
      this.#lookWhetherEmpty()
    }
    this.#connecting.add(exchange)
    try {
      this.#parts.open({
        take: (bytes, length) => connection?.take(bytes, length),
        opened: (socket, isShared) => {
          this.#connecting.delete(exchange)
          connection = new Connection(socket, isShared, this)
          connection.keptUntilMs = this.#parts.clock.elapsedMs() + keepMsUnused
          this.#open.add(connection)
          if (this.#isClosed) connection.close()
          else connection.begin(exchange)
        },
        failed,
      })
    } catch (error) {
      queueMicrotask(() => failed(error))
    }
  }

  #sweep(): void {
    const nowMs = this.#parts.clock.elapsedMs()
    const old = this.#idle.filter(({ keptUntilMs }) => keptUntilMs <= nowMs)
    for (const connection of old) {
      this.#idle.splice(this.#idle.indexOf(connection), 1)
      connection.close()
    }
    this.#isSweeping = this.#idle.length > 0
    if (this.#isSweeping) this.#parts.clock.after(sweepMs, () => this.#sweep())
  }

  #lookWhetherEmpty(): void {
    if (this.#open.size === 0 && this.#connecting.size === 0 && this.#waiting.length === 0) this.#parts.onEmpty()
  }
}
