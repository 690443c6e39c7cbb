import type { ErrorBody } from './script.ts'

/** What a call asks for, as far as the scripted upstream cares. */
export interface Asked {
  readonly model: string
  readonly stream: boolean
  readonly store: boolean
  readonly background: boolean
  readonly serviceTier: string
  readonly maxOutputTokens: number | undefined
  readonly previousResponseId: string | undefined
  readonly conversationId: string | undefined
  /** Tokens of what was sent; a remembered context comes on top. Counted whenever it is read. */
  readonly inputTokens: number
  /** The body's top-level fields, for what a response repeats. */
  readonly fields: Readonly<Record<string, unknown>>
}

export interface Refusal {
  readonly status: number
  readonly error: ErrorBody
}

/** How many tokens a text has. */
export type CountTokens = (text: string) => number

export const countByBytes: CountTokens = text => Math.ceil(Buffer.byteLength(text) / bytesPerToken)

const bytesPerToken = 4

/**
 * Input tokens by a rule simple enough to check by hand: of `instructions`, of every string that stands under `input` in
 * a field named in `textFields` (or `input` itself), and of `tools` as JSON; each counted alone, then summed.
 */
export function readAsked(body: Buffer, countTokens: CountTokens): Asked | Refusal {
  const fields = parseObject(body)
  return fields === undefined ? notJson() : askedOrRefusal(fields, countTokens)
}

export function askedOrRefusal(fields: Readonly<Record<string, unknown>>, countTokens: CountTokens): Asked | Refusal {
  const model = fields.model
  if (typeof model === 'string' && model !== '') return askedOf(fields, model, countTokens)
  return refusal(400, "Missing required parameter: 'model'.", 'missing_required_parameter', 'model')
}

export function askedOf(fields: Readonly<Record<string, unknown>>, model: string, countTokens: CountTokens): Asked {
  const max = fields.max_output_tokens
  return {
    model,
    stream: fields.stream === true,
    store: fields.store !== false,
    background: fields.background === true,
    serviceTier: textOr(fields.service_tier, 'auto'),
    maxOutputTokens: typeof max === 'number' ? max : undefined,
    previousResponseId: textOr(fields.previous_response_id, undefined),
    conversationId: conversationOf(fields.conversation),
    get inputTokens() {
      return countInput(fields, countTokens)
    },
    fields,
  }
}

export function notJson(): Refusal {
  return refusal(400, 'We could not parse the JSON body of your request.')
}

export function refusal(...[status, message, code = null, param = null]: [number, string, (string | null)?, (string | null)?]): Refusal {
  return { status, error: { message, type: 'invalid_request_error', param, code } }
}

/** Tokens of values that stand where the texts of an input do, by the same rule. */
export function countTexts(value: unknown, countTokens: CountTokens): number {
  return textsOf(value, true).reduce((sum, text) => sum + countTokens(text), 0)
}

export function parseObject(body: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return isObject(value) ? value : undefined
  } catch {
    return undefined // Not JSON: refused by the caller, in OpenAI's words.
  }
}

function conversationOf(value: unknown): string | undefined {
  return isObject(value) ? textOr(value.id, undefined) : textOr(value, undefined)
}

const textFields = new Set(['input', 'content', 'text', 'output', 'arguments'])

function countInput(fields: Readonly<Record<string, unknown>>, countTokens: CountTokens): number {
  const texts = textsOf(fields.input, true)
  if (typeof fields.instructions === 'string') texts.push(fields.instructions)
  if (Array.isArray(fields.tools) && fields.tools.length > 0) texts.push(JSON.stringify(fields.tools))
  return texts.reduce((sum, text) => sum + countTokens(text), 0)
}

function textsOf(value: unknown, counts: boolean): string[] {
  if (typeof value === 'string') return counts ? [value] : []
  if (Array.isArray(value)) return value.flatMap(each => textsOf(each, counts))
  if (!isObject(value)) return []
  return Object.entries(value).flatMap(([name, each]) => textsOf(each, textFields.has(name)))
}

export function textOr<Else>(value: unknown, otherwise: Else): string | Else {
  return typeof value === 'string' && value !== '' ? value : otherwise
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
