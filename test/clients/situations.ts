import type { Script } from '../../sim/script.ts'

/** Who asks: somebody with money, with none, from an address that is not allowed, or with a key that nobody has. */
export type Whose = 'good' | 'poor' | 'denied' | 'unknown'

/** What one call meets. Each client meets all of them, and its own file says what it then tells its user. */
export interface Situation {
  /** What the only account answers, call by call. */
  readonly script?: Script | readonly Script[]
  readonly key?: Whose
  readonly model?: string
  /** It can only be met by a client that asks for a stream. */
  readonly streamsOnly?: true
  /** What the gateway answers, again and again. */
  readonly refusal?: Refusal
  /** How the row may say that the last call ended; a chat completion has no end that says it failed. */
  readonly ended: readonly string[]
}

export interface Refusal {
  readonly status: number
  readonly message: string
  readonly code: string | null
  /** It says that no later try can help. */
  readonly isFinal?: true
}

const refused = ['refused']
const completed = ['completed']
/** Behind the first words of a response, and before the last chunk of a chat completion. */
const middle = { afterEvents: 5 }
const wrong = { message: 'Too long: “größe”.', code: 'context_length_exceeded' }
const unlisted = 'No available accounts: no account of group default lists the model unlisted'

export const situations = {
  'a text': { script: { text: 'The gate is open.' }, ended: completed },
  'a text that reaches its ceiling': { script: { text: 'The gate is', end: 'incomplete' }, ended: ['incomplete'] },

  'a key that nobody has': {
    key: 'unknown',
    refusal: { status: 401, message: 'Invalid API key', code: 'invalid_api_key' },
    ended: refused,
  },
  'an address that is not allowed': { key: 'denied', refusal: { status: 403, message: 'Access denied', code: null }, ended: refused },
  'no money': {
    key: 'poor',
    refusal: { status: 429, message: 'Insufficient balance', code: 'insufficient_quota', isFinal: true },
    ended: refused,
  },
  'a model that no account lists': {
    model: 'unlisted',
    refusal: { status: 503, message: unlisted, code: null, isFinal: true },
    ended: refused,
  },
  'a model without a price': {
    model: 'costless',
    refusal: { status: 400, message: 'Model costless has no price', code: 'model_not_found' },
    ended: refused,
  },
  'a call that the upstream finds wrong': { script: { status: 400, error: wrong }, refusal: { status: 400, ...wrong }, ended: refused },
  'something that the upstream does not have': {
    script: { status: 404, error: { message: 'No such thing.', code: null } },
    refusal: { status: 404, message: 'No such thing.', code: null },
    ended: refused,
  },
  'an upstream that refuses our key': {
    script: { status: 401 },
    refusal: { status: 502, message: 'Upstream authentication failed, please contact administrator', code: null },
    ended: refused,
  },
  'an upstream that is down, for long': {
    script: { status: 500 },
    refusal: { status: 502, message: 'Upstream service temporarily unavailable', code: null },
    ended: refused,
  },

  'an upstream that is down, and up again': { script: [{ status: 500 }, { text: 'Back.' }], ended: completed },
  // A client that does not wait as it was told meets an account that still rests, and needs a third request.
  'an upstream’s rate limit of a second': {
    script: [{ status: 429, headers: { 'retry-after': '1' } }, { text: 'Back.' }],
    ended: completed,
  },
  'an overload of a second': { script: [{ status: 529 }, { text: 'Back.' }], ended: completed },

  'an answer that fails in the middle': { script: { end: 'failed', ...middle }, streamsOnly: true, ended: ['failed', 'cut'] },
  'an answer that is cut in the middle': { script: { end: 'cut', ...middle }, streamsOnly: true, ended: ['cut'] },
  'an answer that ends too early': { script: { end: 'eof', ...middle }, streamsOnly: true, ended: ['cut'] },
} as const satisfies Record<string, Situation>

export type SituationName = keyof typeof situations

type Refused = { [Name in SituationName]: (typeof situations)[Name] extends { readonly refusal: Refusal } ? Name : never }[SituationName]
/** Those in which there is an answer, if only the beginning of one. */
export type Answered = Exclude<SituationName, Refused>

/** What a client tells whoever uses it. */
export interface Report {
  /** In the client's own words; undefined when it says nothing of it. */
  readonly finish?: string | undefined
  readonly text: string
  readonly usage?: { readonly input: number; readonly output: number } | undefined
  /** The class of the error, and what it says. */
  readonly error?:
    | { readonly kind: string; readonly message: string; readonly status?: number | undefined; readonly code?: unknown }
    | undefined
}
