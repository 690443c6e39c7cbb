import { createHash } from 'node:crypto'
import { usedBy } from './answer.ts'
import { askedOrRefusal, type CountTokens, notJson, parseObject, type Refusal, refusal } from './asked.ts'
import { refusalOf } from './create.ts'
import { answer, type Exchange } from './exchange.ts'
import { newLine } from './invoice.ts'
import type { Parts } from './parts.ts'
import { sendBilled, sendInstead } from './send.ts'
import { reportUsage } from './usage.ts'

/** As long as those of OpenAI's smaller model. */
const dimensionsDefault = 1_536
/** As long as those of the larger one. */
const dimensionsMax = 3_072

/** `POST /v1/embeddings`: for the same text, always the same vector of length one. */
export async function embed(exchange: Exchange, parts: Parts): Promise<void> {
  const { key, body } = exchange
  const asked = readEmbedding(body, parts.countTokens)
  const isReadable = 'model' in asked
  const script = isReadable ? parts.scripts.next(key, asked.model, 'embeddings') : {}
  const line = newLine(key, isReadable ? asked.model : '', false, 'embeddings')
  parts.bill(line)
  await answer(exchange, { script, line, suffix: parts.nextSuffix() }, parts, async run => {
    if (!isReadable) return await sendInstead(run, asked)
    const instead = refusalOf(script, asked.model)
    if (instead !== undefined) return await sendInstead(run, instead, script.rawBody)
    const model = script.model ?? asked.model
    Object.assign(line, { modelServed: model, tier: script.serviceTier ?? 'default' })
    const used = usedBy(asked.tokens, script, { tokens: 0, reasoningTokens: 0, webSearches: 0 })
    const { wire, charged } = reportUsage(used, script.usage)
    const data = asked.inputs.map((input, index) => ({
      object: 'embedding',
      index,
      embedding: asked.encode(vectorOf(input, asked.dimensions)),
    }))
    const usage = wire && { prompt_tokens: wire.input_tokens, total_tokens: wire.total_tokens }
    await sendBilled(run, { object: 'list', data, model, usage }, { charged, isReported: wire !== undefined })
  })
}

interface Embedding {
  readonly model: string
  /** Each text, or its tokens as text. */
  readonly inputs: readonly string[]
  readonly tokens: number
  readonly dimensions: number
  readonly encode: (vector: Float32Array) => unknown
}

function readEmbedding(body: Buffer, countTokens: CountTokens): Embedding | Refusal {
  const fields = parseObject(body)
  if (fields === undefined) return notJson()
  const asked = askedOrRefusal(fields, countTokens)
  if ('error' in asked) return asked
  const { input, dimensions, encoding_format: format } = fields
  const isOne = typeof input === 'string' || (Array.isArray(input) && typeof input[0] === 'number')
  const inputs: readonly unknown[] = isOne ? [input] : Array.isArray(input) ? input : []
  if (inputs.length === 0 || !inputs.every(each => (typeof each === 'string' && each !== '') || isTokens(each))) {
    return refusal(400, "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.")
  }
  if (typeof dimensions === 'number' && (dimensions > dimensionsMax || !Number.isInteger(dimensions))) {
    return refusal(400, `Invalid 'dimensions': expected a whole number <= ${dimensionsMax}.`, null, 'dimensions')
  }
  return {
    model: asked.model,
    inputs: inputs.map(String),
    tokens: inputs.reduce<number>((sum, each) => sum + (isTokens(each) ? each.length : countTokens(String(each))), 0),
    dimensions: typeof dimensions === 'number' && dimensions > 0 ? dimensions : dimensionsDefault,
    encode: format === 'base64' ? vector => Buffer.from(vector.buffer).toString('base64') : vector => Array.from(vector),
  }
}

function isTokens(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length > 0 && value.every(each => typeof each === 'number')
}

function vectorOf(text: string, dimensions: number): Float32Array {
  const bytes = createHash('shake256', { outputLength: dimensions }).update(text).digest()
  const numbers = Float32Array.from(bytes, byte => byte - 127.5)
  const length = Math.hypot(...numbers)
  return numbers.map(each => each / length)
}
