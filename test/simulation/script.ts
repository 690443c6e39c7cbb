import { between } from '../chance.ts'
import type { Phase } from './cast.ts'

/** One thing that an upstream does, so long after the one before. */
export interface Act {
  readonly afterMs: number
  readonly does:
    | { readonly kind: 'head'; readonly status: number; readonly headers: Readonly<Record<string, string>> }
    | { readonly kind: 'bytes'; readonly bytes: Buffer }
    | { readonly kind: 'end' }
    | { readonly kind: 'error'; readonly error: Error }
  /** The upstream's own fault is out now: from here on it may count against the account. */
  readonly isFault?: true
  /** The answer has begun. */
  readonly begins?: true
}

/** What the upstream reads of a call. */
export interface AskedUpstream {
  readonly model: string
  readonly input: string
  readonly stream: boolean
  readonly max_output_tokens?: number
}

/** An upstream that says nothing any more: the gateway's own limits on silence are what ends it. */
export const silence: readonly Act[] = []

/** Everything that an upstream in this phase does to a call, and what it is called in the trace. */
export function actsOf(phase: Phase, asked: AskedUpstream, chance: () => number): readonly Act[] {
  const afterMs = Math.round(phase.firstEventMs * (0.7 + 0.6 * chance()))
  const quickly = between(chance, 5, 60)
  const retryAfter = phase.retryAfterSeconds === undefined ? {} : { 'retry-after': String(phase.retryAfterSeconds) }
  switch (phase.mood) {
    case 'limited':
      return refusal(quickly, { status: 429, headers: retryAfter, code: 'rate_limit_exceeded' })
    case 'overloaded':
      return refusal(quickly, { status: chance() < 0.5 ? 503 : 529, headers: retryAfter, code: 'server_is_overloaded' })
    case 'spent':
      return refusal(quickly, { status: 429, headers: {}, code: 'insufficient_quota' })
    case 'locked':
      return refusal(quickly, { status: 401, headers: {}, code: 'invalid_api_key' })
    case 'dead':
      return [brokenOff(between(chance, 1, 40), 'ECONNREFUSED')]
    case 'failing':
      return chance() < 0.5 ? refusal(quickly, { status: 500, headers: {}, code: 'server_error' }) : [brokenOff(quickly, 'ECONNRESET')]
    case 'sorry':
      return asked.stream ? sorry(quickly, 'server_error', true) : refusal(quickly, { status: 502, headers: {}, code: 'server_error' })
    case 'hanging':
      return chance() < 0.5 ? silence : answer(asked, afterMs, chance).slice(0, asked.stream ? 3 : 1)
    case 'cutting':
      return cut(answer(asked, afterMs, chance), chance)
    default:
      return asked.input.startsWith('nonsense') ? nonsense(asked, quickly, chance) : answer(asked, afterMs, chance)
  }
}

/** What is the client's own fault, in either of the ways to say so. */
function nonsense({ stream }: AskedUpstream, afterMs: number, chance: () => number): readonly Act[] {
  if (stream && chance() < 0.5) return sorry(afterMs, 'invalid_prompt', false)
  const [head, body, end] = refusal(afterMs, { status: 400, headers: {}, code: 'invalid_value' })
  return [head!, body!, { afterMs: end!.afterMs, does: end!.does }]
}

function refusal(
  afterMs: number,
  { status, headers, code }: { status: number; headers: Readonly<Record<string, string>>; code: string },
): readonly Act[] {
  const body = Buffer.from(JSON.stringify({ error: { message: code, type: code, code, param: null } }))
  return [
    { afterMs, does: { kind: 'head', status, headers: { ...headers, 'content-type': 'application/json' } } },
    { afterMs: 0, does: { kind: 'bytes', bytes: body } },
    { afterMs: 1, does: { kind: 'end' }, isFault: true },
  ]
}

function brokenOff(afterMs: number, code: string): Act {
  return { afterMs, does: { kind: 'error', error: Object.assign(new Error(code), { code }) }, isFault: true }
}

function sorry(afterMs: number, code: string, isFault: boolean): readonly Act[] {
  const response = { id: 'resp_sorry', object: 'response', status: 'failed', model: 'sim', error: { code, message: code }, output: [] }
  const failed: Act = { afterMs: 0, does: event('response.failed', { sequence_number: 0, response }) }
  return [head(afterMs, true), isFault ? { ...failed, isFault } : failed, { afterMs: 1, does: { kind: 'end' } }]
}

/** At any act after the head, once in a while in the middle of an event. */
function cut(acts: readonly Act[], chance: () => number): readonly Act[] {
  const at = between(chance, 1, acts.length - 1)
  const last = acts[at]!
  const half = last.does.kind === 'bytes' ? last.does.bytes.subarray(0, Math.floor(last.does.bytes.length / 2)) : Buffer.alloc(0)
  const kept = acts.slice(0, at)
  if (half.length > 0 && chance() < 0.5) kept.push({ afterMs: last.afterMs, does: { kind: 'bytes', bytes: half } })
  return [...kept, brokenOff(1, 'ECONNRESET')]
}

/** Output stays under the ceiling that the gateway names, as an upstream's does. */
function answer(asked: AskedUpstream, afterMs: number, chance: () => number): readonly Act[] {
  const wanted = between(chance, 1, 3_000)
  const output_tokens = Math.min(asked.max_output_tokens ?? wanted, wanted)
  const status = output_tokens < wanted ? 'incomplete' : 'completed'
  const usage = {
    input_tokens: Math.ceil(asked.input.length / 4),
    input_tokens_details: { cached_tokens: 0 },
    output_tokens,
    output_tokens_details: { reasoning_tokens: 0 },
  }
  const response = { id: `resp_${between(chance, 0, 1e9)}`, object: 'response', model: asked.model, output: [] }
  const whole = { ...response, status, usage }
  if (!asked.stream) {
    const bytes = Buffer.from(JSON.stringify(whole))
    return [
      head(afterMs, false),
      { afterMs: between(chance, 100, 9_000), does: { kind: 'bytes', bytes } },
      { afterMs: 0, does: { kind: 'end' }, begins: true },
    ]
  }
  const deltas = Math.min(between(chance, 1, 12), output_tokens)
  const pauseMs = between(chance, 10, 900)
  return [
    head(afterMs, true),
    { afterMs: 0, does: event('response.created', { sequence_number: 0, response: { ...response, status: 'in_progress' } }), begins: true },
    ...Array.from({ length: deltas }, (_, n): Act => {
      return { afterMs: pauseMs, does: event('response.output_text.delta', { sequence_number: n + 1, delta: 'w' }) }
    }),
    { afterMs: pauseMs, does: event(`response.${status}`, { sequence_number: deltas + 1, response: whole }) },
    { afterMs: 1, does: { kind: 'end' } },
  ]
}

function head(afterMs: number, isStream: boolean): Act {
  return { afterMs, does: { kind: 'head', status: 200, headers: { 'content-type': isStream ? 'text/event-stream' : 'application/json' } } }
}

function event(type: string, fields: object): Act['does'] {
  return { kind: 'bytes', bytes: Buffer.from(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`) }
}
