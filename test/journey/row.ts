import type { Script } from '../../sim/script.ts'

/** Plain `node:http`, or the `openai` package; for the whole answer as JSON, or for a stream. */
export type Who = 'json' | 'stream' | 'sdk json' | 'sdk stream'

/** One line of the journey table: what the upstreams do, what the client does, and what everybody then has. */
export interface Row {
  readonly what: string
  /** Each of these makes the journey once. Default: json and stream. */
  readonly by?: readonly Who[]
  /** What each account answers, call by call. The accounts named here, in this order, are the pool. */
  readonly a1?: Scripts
  readonly a2?: Scripts
  readonly a3?: Scripts
  readonly a4?: Scripts
  readonly a5?: Scripts
  /** The account that serves `sim` under the name `fast`, and nothing else. */
  readonly alias?: Scripts
  /** Accounts that cannot be reached, and come before the others: by their names in `ground.ts`. */
  readonly first?: string
  /** Fields of the body; `model`, `input` and `stream` are there already. */
  readonly ask?: object
  /** What the group does with an answer whose client left. Default: drain. */
  readonly onClientLeft?: 'drain' | 'abort'
  readonly leaves?: 'before the headers' | 'before the first event' | 'in the middle' | 'after the end'
  readonly sees: Sees
  /** Each attempt's account, the upstream's status and the fault: "a1 500 server, a2 200". */
  readonly attempts: string
  /** How the amount is known. `reported` and `drained` are what the upstream's invoice says, to the nano-dollar; `estimated` is within 2 % of it. */
  readonly charged: 'reported' | 'drained' | 'estimated' | 'none'
  /** What became of the accounts: "a1 rests 60". Default: nothing did. */
  readonly rests?: string
}

export type Scripts = Script | readonly Script[]

/** The status of a whole response. */
export type Final = 'completed' | 'incomplete' | 'failed' | 'cancelled'

/** What the client has in hands at the end. */
export type Sees =
  | { readonly kind: 'answer'; readonly final: Final; readonly model?: string; readonly error?: object }
  | {
      readonly kind: 'refusal'
      readonly status: number
      readonly type: string
      readonly message: string | RegExp
      readonly retryAfter?: number
    }
  /** The upstream's own words, to the byte. */
  | { readonly kind: 'verbatim'; readonly status: number }
  /** Events, and at the end a `response.failed` of ours. */
  | { readonly kind: 'cut'; readonly code: string }
  /** The client did not stay for it. */
  | { readonly kind: 'nothing' }

export const everybody: readonly Who[] = ['json', 'stream', 'sdk json', 'sdk stream']
export const plainAndSdk: readonly Who[] = ['json', 'stream', 'sdk stream']
export const streams: readonly Who[] = ['stream', 'sdk stream']

export function answer(final: Final = 'completed', more: { model?: string; error?: object } = {}): Sees {
  return { kind: 'answer', final, ...more }
}

export function refusal(status: number, type: string, message: string | RegExp, retryAfter?: number): Sees {
  return { kind: 'refusal', status, type, message, ...(retryAfter !== undefined && { retryAfter }) }
}

export function verbatim(status: number): Sees {
  return { kind: 'verbatim', status }
}

export const cut: Sees = { kind: 'cut', code: 'server_error' }
/** The upstream said in an `error` event that the call is at fault, and no more. */
export function told(code: string): Sees {
  return { kind: 'cut', code }
}
export const nothing: Sees = { kind: 'nothing' }

/** The table of SPEC 1.6, by the last upstream's status. */
export const last = {
  of401: refusal(502, 'upstream_error', 'Upstream authentication failed, please contact administrator'),
  of403: refusal(502, 'upstream_error', 'Upstream access forbidden, please contact administrator'),
  of429: (retryAfter?: number) => refusal(429, 'rate_limit_error', 'Upstream rate limit exceeded, please retry later', retryAfter),
  of529: (retryAfter?: number) => refusal(503, 'upstream_error', 'Upstream service overloaded, please retry later', retryAfter),
  of5xx: (retryAfter?: number) => refusal(502, 'upstream_error', 'Upstream service temporarily unavailable', retryAfter),
  other: refusal(502, 'upstream_error', 'Upstream request failed'),
}
