import { parentPort } from 'node:worker_threads'
import { protocols } from './list.ts'
import type { ReadReply, ReadRequest } from './read-in-worker.ts'

/** The other side of `openCallReader`: reads one body after the other, where a long reading stalls nobody. */
parentPort?.on('message', ({ number, protocol, shared, offset, length }: ReadRequest) => {
  const reply: ReadReply = { number, reading: protocols[protocol]!.readCall(Buffer.from(shared, offset, length)) }
  parentPort?.postMessage(reply)
})
