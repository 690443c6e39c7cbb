import { once } from 'node:events'
import { connect } from 'node:net'
import { type Heard, Reader } from './reader.ts'

/** Where every lane reads, one after another: memory for each read is soon so much that collecting it stops the load. */
const read = Buffer.allocUnsafeSlow(64 * 1024)

/** One connection, that carries one call at a time. */
export interface Lane {
  /** Resolves with the answer when it is whole. Rejects when the connection ends before. `sent` is called as the bytes are handed to the system. */
  call(request: Buffer, sent?: () => void): Promise<Heard>
  close(): void
}

const timeoutStatus = 408
const longSilenceMs = 1_000

/**
 * Connects. What the other side closes between two calls is opened anew for the next one; so is what it closes because nothing was said on it for
 * long, when that is on its way as the first call leaves: a gateway that closed a thousand of those at once was taken for one that answers wrongly.
 */
export async function openLane(port: number): Promise<Lane> {
  let line = await openLine(port)
  let saidNothingSinceMs: number | undefined = performance.now()
  return {
    async call(request, sent) {
      const isNew = line.isClosed()
      if (isNew) line = await openLine(port)
      const wasSilent = !isNew && saidNothingSinceMs !== undefined && performance.now() - saidNothingSinceMs >= longSilenceMs
      saidNothingSinceMs = undefined
      const heard = await line.call(request, sent)
      if (!wasSilent || heard.status !== timeoutStatus || !heard.closes) return heard
      line = await openLine(port)
      return line.call(request) // Its time runs from when it was sent first.
    },
    close: () => line.close(),
  }
}

interface Line extends Lane {
  isClosed(): boolean
}

async function openLine(port: number): Promise<Line> {
  const reader = new Reader()
  let closes = false
  let waiting: PromiseWithResolvers<Heard> | undefined
  function hear(length: number): boolean {
    if (!reader.push(read.subarray(0, length), performance.now())) return true
    const { heard } = reader
    closes = heard.closes
    reader.reset()
    waiting?.resolve(heard)
    waiting = undefined
    return true
  }
  const socket = connect({ host: '127.0.0.1', port, noDelay: true, onread: { buffer: read, callback: hear } })
  await once(socket, 'connect')
  const end = (error: Error) => waiting?.reject(error)
  socket.on('error', end)
  socket.on('close', () => end(new Error(`the connection ended in the middle of an answer, after ${reader.heard.events} events`)))
  return {
    call(request, sent) {
      waiting = Promise.withResolvers<Heard>()
      sent?.()
      socket.write(request)
      return waiting.promise
    },
    isClosed: () => closes || socket.destroyed || socket.readableEnded,
    close: () => socket.destroy(),
  }
}
