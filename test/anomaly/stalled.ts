/** Clients that ask, and never read. */
export interface Stalled {
  readonly url: string
  /** The whole request. */
  readonly head: string
  readonly readers: number
}

/** What it is billed for, in nano-dollars by the prices of the tests. */
export const longStreamCost = 10n * 2_000n + 5_000n * 10_000n

/** About 12 MB: more than the buffers of the system take of it between a gateway and its client. */
export function longStream(): string {
  const event = (type: string, fields: object) => `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`
  const response = { id: 'resp_1', object: 'response', model: 'sim', output: [] }
  const deltas = 1_600
  // As OpenAI pads its events: bytes that are relayed, and no words that would be kept to be counted.
  const obfuscation = 'x'.repeat(8_000)
  const events = [event('response.created', { sequence_number: 0, response: { ...response, status: 'in_progress' } })]
  for (let n = 1; n <= deltas; n += 1)
    events.push(event('response.output_text.delta', { sequence_number: n, delta: 'water ', obfuscation }))
  const done = { ...response, status: 'completed', usage: { input_tokens: 10, output_tokens: 5_000 } }
  return [...events, event('response.completed', { sequence_number: deltas + 1, response: done })].join('')
}
