import { responses } from './openai-responses.ts'
import type { CallFacts, CallReading, Protocol } from './protocol.ts'
import { spliceBody } from './splice.ts'

/**
 * `POST /v1/responses/compact`: a long context in, a short one out, as JSON. It is billed by its `usage`. There is no field for how
 * long it may become (npm openai 7.57.0, `ResponseCompactParams`), so its whole price is held or it is refused.
 */
export const compact: Protocol = {
  ...responses,
  name: 'compact',
  path: '/responses/compact',
  readCall: body => readAsPass(body, { isCompaction: true }),
  rewrite: (body, facts, { model }) => spliceBody(body, facts, { model }),
  textsOfBody: () => [], // The user's own words, and a sealed item of which nobody knows the length.
  errorIn: () => undefined,
  openAnswer: noStream,
  refusalEvents: noStream,
  wholeEvents: noStream,
}

/** `POST /v1/responses/input_tokens`: how long an input is. Whether that is charged is not said, and it tells no usage. */
export const inputTokens: Protocol = {
  ...compact,
  name: 'inputTokens',
  path: '/responses/input_tokens',
  isFree: true,
  readCall: body => readAsPass(body, { maxOutputTokens: 0 }),
  readBody: body => ({ ...responses.readBody(body), status: 'completed', usage: null }),
}

/**
 * Reads a body whose input is that of a response, and which only passes: nothing is kept, streamed or run by tools, and whether outputs
 * of tools have their context is the upstream's to judge.
 */
function readAsPass(body: Buffer, more: Partial<CallFacts>): CallReading {
  const read = responses.readCall(body)
  if ('fault' in read) return read
  return { facts: { ...read.facts, ...withoutAnswer, ...more } }
}

const withoutAnswer = {
  stream: false,
  background: false,
  store: false,
  hasInstructions: true, // None are added to what only passes.
  hasSafetyIdentifier: true,
  hasHostedTools: false,
  maxOutputTokens: undefined,
  toolOutputFault: undefined,
} as const satisfies Partial<CallFacts>

/** Nobody asks: a call is a stream only when its facts say so. */
function noStream(): never {
  throw new Error('neither a compaction nor a count comes as a stream')
}
