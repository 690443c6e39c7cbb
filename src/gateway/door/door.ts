import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../../lib/clock.ts'
import { Connection, type ConnectionParts } from './connection.ts'
import { Waiting } from './waiting.ts'

export interface DoorParts extends Pick<ConnectionParts, 'clock' | 'takes' | 'isClosing'> {
  /** How long a new connection may be silent, and one that waits for its next call. */
  readonly headersTimeoutMs: number
  readonly keepAliveMs: number
}

const keepAliveSlackMs = 1_000

/**
 * The short way in. Node's HTTP server makes a request, a response and two streams for each call, which took a fifth of all that a bare relay
 * does (12 of 52 µs, Node 24). So a plain request that came whole is read here and answered on its socket. Everything else, from the
 * first byte that is unusual, is Node's: the connection is given to it with what was read, and stays with it.
 */
export class Door {
  readonly #server: Server
  readonly #leftToNode: (socket: Socket) => void
  readonly #all = new Set<Connection>()
  readonly #parts: ConnectionParts

  constructor(server: Server, { clock, headersTimeoutMs, keepAliveMs, takes, isClosing }: DoorParts) {
    const [nodes] = server.listeners('connection')
    if (nodes === undefined) throw new Error('an HTTP server takes connections')
    this.#server = server
    this.#leftToNode = socket => nodes.call(server, socket)
    this.#parts = {
      ...{ clock, takes, isClosing },
      fresh: new Waiting(clock, headersTimeoutMs, one => this.#silent(one)),
      // As Node does it: who uses the time that was told to its end must not meet a closing door.
      idle: new Waiting(clock, keepAliveMs + keepAliveSlackMs, one => one.socket.destroySoon()),
      leaveToNode: (one, read) => this.#leaveToNode(one, read),
      gone: one => void this.#all.delete(one),
      told: toldOf(clock, keepAliveMs),
    }
    server.removeAllListeners('connection')
    server.on('connection', (socket: Socket) => void this.#all.add(new Connection(socket, this.#parts)))
  }

  /** Those who wait for their next call, and send nothing now. */
  closeIdle(): void {
    for (const { socket } of this.#parts.idle.all()) socket.destroySoon()
  }

  closeAll(): void {
    for (const { socket } of this.#all) socket.destroy()
  }

  #leaveToNode(one: Connection, read: Buffer): void {
    const { socket } = one
    one.letGo()
    this.#all.delete(one)
    this.#leftToNode(socket)
    socket.emit('data', read)
  }

  /** As Node does it. */
  #silent({ socket }: Connection): void {
    this.#server.emit('clientError', Object.assign(new Error('Request timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket)
  }
}

/** The date is made once a second (RFC 9110, 6.6.1). */
function toldOf(clock: Clock, keepAliveMs: number): (closes: boolean) => string {
  const kept = `connection: keep-alive\r\nkeep-alive: timeout=${Math.floor(keepAliveMs / 1000)}\r\n`
  let second = Number.NaN
  let date = ''
  return closes => {
    const now = Math.floor(clock.nowMs() / 1000)
    if (now !== second) {
      second = now
      date = `date: ${new Date(now * 1000).toUTCString()}\r\n`
    }
    return date + (closes ? 'connection: close\r\n' : kept)
  }
}
