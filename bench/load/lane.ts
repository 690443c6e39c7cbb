import { once } from 'node:events'
import { connect } from 'node:net'
import { type Heard, Reader } from './reader.ts'

/** One connection, that carries one call at a time. */
export interface Lane {
  /** Resolves with the answer when it is whole. Rejects when the connection ends before. */
  call(request: Buffer): Promise<Heard>
  close(): void
}

/** Connects. What the other side closes between two calls is opened anew for the next one. */
export async function openLane(port: number): Promise<Lane> {
  let line = await openLine(port)
  return {
    async call(request) {
      if (line.isClosed()) line = await openLine(port)
      return line.call(request)
    },
    close: () => line.close(),
  }
}

interface Line extends Lane {
  isClosed(): boolean
}

async function openLine(port: number): Promise<Line> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true })
  await once(socket, 'connect')
  const reader = new Reader()
  let closes = false
  let waiting: PromiseWithResolvers<Heard> | undefined
  socket.on('data', chunk => {
    if (!reader.push(chunk, performance.now())) return
    const { heard } = reader
    closes = heard.closes
    reader.reset()
    waiting?.resolve(heard)
    waiting = undefined
  })
  const end = (error: Error) => waiting?.reject(error)
  socket.on('error', end)
  socket.on('close', () => end(new Error(`the connection ended in the middle of an answer, after ${reader.heard.events} events`)))
  return {
    call(request) {
      waiting = Promise.withResolvers<Heard>()
      socket.write(request)
      return waiting.promise
    },
    isClosed: () => closes || socket.destroyed || socket.readableEnded,
    close: () => socket.destroy(),
  }
}
