import { codeVerdict } from '../protocols/openai-events.ts'

/**
 * Every way one attempt can fail. docs/errors.md explains each; a test keeps both equal.
 *
 * `elsewhere`: another account may do better. `passing`: the same account may do better in a moment.
 * `blames`: counts as a failure of the account. What it does to the account's condition is in rest.ts.
 */
export const attemptFaults = {
  egress_forbidden: { elsewhere: true, passing: false, blames: true, means: 'The address of the account is private, or not https' },
  unreachable: { elsewhere: true, passing: false, blames: true, means: 'The connection was refused, or DNS or TLS failed' },
  connect_timeout: { elsewhere: true, passing: false, blames: true, means: 'No connection in time' },
  reset: { elsewhere: true, passing: true, blames: true, means: 'The connection was reset before the answer began' },
  headers_timeout: { elsewhere: true, passing: false, blames: true, means: 'No headers in time' },
  first_event_timeout: { elsewhere: true, passing: false, blames: true, means: 'No first event in time' },
  slow_first_event: {
    elsewhere: true,
    passing: false,
    blames: false,
    means: 'No first event within the limit of the group, and another account was free',
  },
  body_cut: { elsewhere: true, passing: true, blames: true, means: 'The JSON body was cut midway' },
  body_malformed: { elsewhere: true, passing: false, blames: true, means: 'The answer is not what the protocol says' },
  body_too_large: { elsewhere: false, passing: false, blames: false, means: 'The JSON answer is larger than answerBytesMax' },
  auth: { elsewhere: true, passing: false, blames: false, means: 'The upstream refused the credential (401)' },
  forbidden: { elsewhere: true, passing: false, blames: false, means: 'The upstream forbade the call (403)' },
  limited: { elsewhere: true, passing: false, blames: false, means: 'The upstream limits the account (429)' },
  quota: { elsewhere: true, passing: false, blames: false, means: 'The quota or credit of the account is used up' },
  overloaded: { elsewhere: true, passing: false, blames: false, means: 'The upstream is overloaded (503, 498, 529)' },
  server: { elsewhere: true, passing: true, blames: true, means: 'The upstream failed (5xx)' },
  model_not_found: { elsewhere: true, passing: false, blames: false, means: 'The account does not have the model (404)' },
  redirect: { elsewhere: true, passing: false, blames: true, means: 'The upstream redirects; redirects are not followed' },
  stream_cut: { elsewhere: false, passing: false, blames: true, means: 'The stream broke after it had begun' },
  stream_stalled: { elsewhere: false, passing: false, blames: true, means: 'The stream fell silent for too long' },
  stream_unended: { elsewhere: false, passing: false, blames: true, means: 'The stream ended without a terminal event' },
  stream_malformed: { elsewhere: false, passing: false, blames: true, means: 'The stream is not what the protocol says' },
  aborted: { elsewhere: false, passing: false, blames: false, means: 'We ended it: the client left, or the gateway stops' },
  gateway: { elsewhere: false, passing: false, blames: false, means: 'We failed while the attempt ran' },
} as const satisfies Record<string, { elsewhere: boolean; passing: boolean; blames: boolean; means: string }>

export type AttemptFaultName = keyof typeof attemptFaults

/** Never sent, or refused in so many words: an upstream asks nothing for these. Of a name that is not known, nobody can say. */
export function mayHaveCost(fault: string): boolean {
  return !neverBilled.has(fault)
}

const neverBilled: ReadonlySet<string> = new Set<AttemptFaultName>([
  ...(['egress_forbidden', 'unreachable', 'connect_timeout'] as const),
  ...(['auth', 'forbidden', 'limited', 'quota', 'overloaded', 'model_not_found', 'redirect'] as const),
])

/** One attempt's failure: what, the status that the upstream gave or meant, and how long it asked to be left alone. */
export interface AttemptFault {
  readonly name: AttemptFaultName
  readonly status: number | null
  readonly askedMs?: number | undefined
}

export type Headers = Readonly<Record<string, string | string[] | undefined>>

/** What a status means. `client`: the client's own fault, to be relayed word for word. */
export function verdictOfStatus(status: number, headers: Headers, body: string, nowMs: number): AttemptFault | 'client' {
  const askedMs = askedOf(headers, nowMs)
  const { code, type } = errorOf(body)
  if (status === 401) return { name: 'auth', status }
  if (status === 403) return { name: 'forbidden', status }
  if (status === 402) return { name: 'quota', status }
  if (status === 429) {
    const isQuota = codeVerdict(code, type) === 'quota'
    return isQuota ? { name: 'quota', status } : { name: 'limited', status, askedMs: askedMs ?? exhaustedResetOf(headers) }
  }
  if (status === 503 || status === 498 || status === 529) return { name: 'overloaded', status, askedMs }
  if (status === 404 && code === 'model_not_found') return { name: 'model_not_found', status }
  if (status >= 500) return { name: 'server', status, askedMs }
  if (status >= 300 && status < 400) return { name: 'redirect', status }
  return 'client'
}

/** What the code of a stream's first event means, when that event is `error` or `response.failed`. */
export function verdictOfCode(code: string | null, type: string | null): AttemptFault | 'client' {
  switch (codeVerdict(code, type)) {
    case 'server':
      return { name: 'server', status: 500 }
    case 'limited':
      return { name: 'limited', status: 429 }
    case 'quota':
      return { name: 'quota', status: 429 }
    case 'overloaded':
      return { name: 'overloaded', status: 529 }
    case 'auth':
      return { name: 'auth', status: 401 }
    case 'client':
      return 'client'
  }
}

/** Nobody is believed who asks for more. */
const askedMaxMs = 24 * 60 * 60 * 1000

/** What is blank, or nothing, or in the past, says nothing. */
function sane(ms: number | undefined): number | undefined {
  return ms !== undefined && ms > 0 ? Math.min(ms, askedMaxMs) : undefined
}

/** `retry-after-ms`, or `retry-after` in seconds or as a date (RFC 9110, 10.2.3). */
function askedOf(headers: Headers, nowMs: number): number | undefined {
  const inMs = sane(Number(textOf(headers['retry-after-ms'])))
  if (inMs !== undefined) return inMs
  const text = textOf(headers['retry-after'])
  if (text === undefined) return undefined
  const seconds = Number(text)
  if (!Number.isNaN(seconds)) return sane(seconds * 1000)
  const atMs = Date.parse(text)
  return Number.isNaN(atMs) ? undefined : sane(atMs - nowMs)
}

/** The longest reset among the rate limits of which nothing remains: `x-ratelimit-reset-tokens: 6m0s`. */
function exhaustedResetOf(headers: Headers): number | undefined {
  let longest: number | undefined
  for (const kind of ['requests', 'tokens']) {
    if (textOf(headers[`x-ratelimit-remaining-${kind}`]) !== '0') continue
    const resetMs = durationMs(textOf(headers[`x-ratelimit-reset-${kind}`]) ?? '')
    if (resetMs !== undefined) longest = Math.max(longest ?? 0, resetMs)
  }
  return sane(longest)
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** "12ms", "6m0s", "1h2m3.5s", or bare seconds → milliseconds. */
function durationMs(text: string): number | undefined {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return undefined
  let total = 0
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) total += Number(amount) * unitMs[unit!]!
  return total
}

/** OpenAI's error body; servers that answer HTML, numbers as codes or nothing at all give nulls. */
export function errorOf(body: string): { code: string | null; type: string | null } {
  try {
    const parsed: unknown = JSON.parse(body)
    const error = isRecord(parsed) && isRecord(parsed['error']) ? parsed['error'] : {}
    return { code: stringOr(error['code']), type: stringOr(error['type']) }
  } catch {
    // Not JSON: a proxy's page. The status has to do.
    return { code: null, type: null }
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function stringOr(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function textOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}
