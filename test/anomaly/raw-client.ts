import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Target } from '../client.ts'

/** A client that says byte by byte what it wants to. */
export interface RawClient extends AsyncDisposable {
  readonly socket: Socket
  /** What came until the gateway closed the connection, and how long that took. */
  readonly closed: Promise<{ readonly text: string; readonly afterMs: number }>
}

export async function connectTo({ url }: Pick<Target, 'url'>): Promise<RawClient> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  const startedMs = performance.now()
  let text = ''
  socket.on('data', chunk => {
    text += chunk.toString()
  })
  const closed = new Promise<{ text: string; afterMs: number }>(resolve => {
    const end = () => resolve({ text, afterMs: performance.now() - startedMs })
    socket.on('error', end) // Still writing when the other side has closed.
    socket.on('end', end)
  })
  return { socket, closed, [Symbol.asyncDispose]: async () => void socket.destroy() }
}

export interface Dripping {
  stop(): void
}

/** Writes a piece again and again, so often, until there is no more of it. */
export function drip({ socket }: RawClient, pieceAt: (at: number) => string | Buffer, everyMs: number): Dripping {
  let isOver = false
  const stop = () => {
    isOver = true
  }
  socket.once('end', stop)
  void (async () => {
    for (let at = 0; !isOver; at += 1) {
      const piece = pieceAt(at)
      if (piece.length === 0 || !socket.writable) return
      socket.write(piece)
      await delay(everyMs)
    }
  })()
  return { stop }
}

export function headOf({ key }: Pick<Target, 'key'>, headers: Readonly<Record<string, string>>): string {
  const all = { host: 'headgate', authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `POST /v1/responses HTTP/1.1\r\n${lines.join('')}\r\n`
}
