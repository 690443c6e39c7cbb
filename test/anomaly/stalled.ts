/** Clients that ask, and never read. */
export interface Stalled {
  readonly url: string
  /** The whole request. */
  readonly head: string
  readonly readers: number
}

/** What it is billed for, in nano-dollars by the prices of the tests. */
export const longStreamCost = 10n * 2_000n + 5_000n * 10_000n

/** What an upstream tells somebody who need not read it: all that it has, or an event now and then. */
export const ways = { blasting: '/blasting', talking: '/talking' } as const
export type Way = keyof typeof ways

/** One event of a usual size and its moment, and how many make the middle of an answer. */
export const talk = { everyMs: 20, events: 50 }

export function talkEvent(n: number): string {
  const fields = {
    type: 'response.output_text.delta',
    sequence_number: n,
    item_id: 'msg_1',
    output_index: 0,
    content_index: 0,
    delta: 'water ',
  }
  return `event: ${fields.type}\ndata: ${JSON.stringify({ ...fields, logprobs: [], obfuscation: 'x'.repeat(24) })}\n\n`
}

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
