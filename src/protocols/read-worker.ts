import { parentPort } from 'node:worker_threads'
import { readFacts } from './openai-responses.ts'
import type { ReadReply, ReadRequest } from './read-in-worker.ts'

/** The other side of `openCallReader`: reads one body after the other, where a long reading stalls nobody. */
parentPort?.on('message', ({ number, shared, offset, length }: ReadRequest) => {
  const reply: ReadReply = { number, reading: readFacts(Buffer.from(shared, offset, length)) }
  parentPort?.postMessage(reply)
})
