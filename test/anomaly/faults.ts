import type { End, Script } from '../../sim/script.ts'
import { between, oneOf } from '../chance.ts'

type Chance = () => number

/** Far beyond what the gateway waits. */
const neverMs = 600_000

const statuses = [302, 400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 498, 500, 502, 503, 504, 529]
const broken: readonly End[] = ['cut', 'reset', 'eof', 'stall']
const codes = ['server_error', 'rate_limit_exceeded', 'insufficient_quota', 'server_is_overloaded', 'invalid_api_key', 'invalid_prompt']
const events = { 'content-type': 'text/event-stream' }

/** One way to answer for everything that the scripted upstream can do well, badly, or not at all. */
const answers: readonly ((chance: Chance) => Script)[] = [
  () => ({}),
  chance => ({ status: oneOf(chance, statuses) }),
  chance => ({ status: oneOf(chance, statuses), headers: { 'retry-after-ms': String(between(chance, 1, 100)) } }),
  chance => ({ status: 404, error: { code: oneOf(chance, ['model_not_found', 'not_here']) } }),
  () => ({ status: 429, error: { code: 'insufficient_quota' } }),
  chance => ({ status: oneOf(chance, statuses), end: oneOf(chance, broken), afterBytes: between(chance, 0, 80) }),
  chance => ({ status: 200, error: { code: oneOf(chance, codes) } }),
  chance => ({ end: oneOf(chance, broken), noHeaders: true }),
  chance => ({ end: oneOf(chance, broken), afterEvents: between(chance, 0, 10) }),
  chance => ({ end: oneOf(chance, broken), afterBytes: between(chance, 0, 4_000) }),
  chance => ({ end: oneOf(chance, ['failed', 'error']), failure: { code: oneOf(chance, codes) }, afterEvents: between(chance, 0, 10) }),
  () => ({ end: 'incomplete', afterEvents: 8 }),
  chance => ({ errorFirst: true, failure: { code: oneOf(chance, codes) } }),
  chance => ({ rawBody: oneOf(chance, ['<html>Bad gateway</html>', '{"object": "resp', '[]', '']) }),
  chance => ({
    rawBody: oneOf(chance, ['data: {"type": \n\n', 'data: nonsense\n\n', 'event: error\n\n', ': ping\n\n', '']),
    headers: events,
  }),
  chance => ({
    headersAfterMs: between(chance, 0, 60),
    firstEventAfterMs: between(chance, 0, 60),
    betweenEventsMs: between(chance, 0, 10),
  }),
  () => ({ headersAfterMs: neverMs }),
  () => ({ firstEventAfterMs: neverMs }),
  chance => ({ hugeEventBytes: between(chance, 100_000, 400_000), linger: between(chance, 0, 20) }),
  chance => ({ usage: null, comments: true, crlf: chance() < 0.5, omitEventLines: chance() < 0.5, doneMarker: true }),
  chance => ({ chunkBytes: between(chance, 20, 400), reasoning: 20, webSearches: 1, toolCall: { name: 'look', arguments: '{"at":1}' } }),
]

export function randomAnswer(chance: Chance): Script {
  return oneOf(chance, answers)(chance)
}
