import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type Heard, Reader } from './reader.ts'

/** One connection, that carries one call at a time. */
export interface Lane {
  /** Resolves with the answer when it is whole. Rejects when the connection ends before. */
  call(request: Buffer): Promise<Heard>
  close(): void
}

export async function openLane(port: number): Promise<Lane> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true })
  await once(socket, 'connect')
  return laneOn(socket)
}

function laneOn(socket: Socket): Lane {
  const reader = new Reader()
  let waiting: PromiseWithResolvers<Heard> | undefined
  socket.on('data', chunk => {
    if (!reader.push(chunk, performance.now())) return
    const { heard } = reader
    reader.reset()
    const told = waiting
    waiting = undefined
    told?.resolve(heard)
  })
  const end = (error: Error) => waiting?.reject(error)
  socket.on('error', end)
  socket.on('close', () => end(new Error(`the connection ended in the middle of an answer, after ${reader.heard.bytes} bytes`)))
  return {
    call(request) {
      waiting = Promise.withResolvers<Heard>()
      socket.write(request)
      return waiting.promise
    },
    close: () => socket.destroy(),
  }
}
