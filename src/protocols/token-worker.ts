import { parentPort } from 'node:worker_threads'
import { systemClock } from '../lib/clock.ts'
import type { CountReply, CountRequest } from './count-in-worker.ts'
import { textsOfInput } from './input-texts.ts'
import { isFields } from './json.ts'
import { countTexts } from './o200k.ts'

/** The other side of `openTokenCounter`: loads the vocabulary once, and counts one call after the other. */
parentPort?.on('message', ({ number, body, inputTexts, outputTexts, withinMs }: CountRequest) => {
  const limits = { elapsedMs: systemClock.elapsedMs, withinMs }
  const reply: CountReply = {
    number,
    inputTokens: body && countTexts([...textsIn(body), ...inputTexts], limits),
    outputTokens: countTexts(outputTexts, limits),
  }
  parentPort?.postMessage(reply)
})

/** The body was read before, and found to be an object. */
function textsIn(body: Uint8Array): string[] {
  const fields: unknown = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.length).toString())
  return isFields(fields) ? textsOfInput(fields) : []
}
