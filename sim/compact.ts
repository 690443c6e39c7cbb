import { usedBy } from './answer.ts'
import { askedOf, isObject, notJson, parseObject, readAsked } from './asked.ts'
import { refusalOf } from './create.ts'
import { answer, type Exchange } from './exchange.ts'
import { newLine } from './invoice.ts'
import { inputItems } from './items.ts'
import { tell } from './lifecycle.ts'
import { compactedTokens } from './output.ts'
import type { Parts } from './parts.ts'
import { readContext } from './references.ts'
import { seal } from './seal.ts'
import { sendBilled, sendInstead } from './send.ts'
import { reportUsage } from './usage.ts'

/** `POST /v1/responses/compact`: a pass over the whole context, billed, that leaves the user's messages and one sealed item. */
export async function compact(exchange: Exchange, parts: Parts): Promise<void> {
  const { key, body } = exchange
  const { countTokens, scripts, memory } = parts
  const asked = readAsked(body, countTokens)
  const isReadable = 'model' in asked
  const script = isReadable ? scripts.next(key, asked.model, 'compact') : {}
  const line = newLine(key, isReadable ? asked.model : '', false, 'compact')
  parts.bill(line)
  const suffix = parts.nextSuffix()
  await answer(exchange, { script, line, suffix }, parts, async run => {
    if (!isReadable) return await sendInstead(run, asked)
    const instead = refusalOf(script, asked.model) ?? readContext({ key, asked, script }, parts)
    if ('error' in instead) return await sendInstead(run, instead, script.rawBody)
    const inputTokens = asked.inputTokens + instead.tokens
    const tokens = compactedTokens(script, inputTokens)
    const { wire, charged } = reportUsage(usedBy(inputTokens, script, { tokens, reasoningTokens: 0, webSearches: 0 }), script.usage)
    const before = memory.responses.find(key, asked.previousResponseId ?? '')?.inputItems ?? []
    const messages = [...before, ...inputItems(asked.fields.input, parts.nextSuffix, instead.referred)].filter(isUsers)
    const compaction = { id: `cmp_${suffix}`, type: 'compaction', encrypted_content: seal(parts.organisationOf(key), tokens) }
    const id = `resp_${suffix}`
    Object.assign(line, { modelServed: script.model ?? asked.model, tier: script.serviceTier ?? 'default', responseId: id })
    const value = {
      id,
      object: 'response.compaction',
      created_at: Math.floor(Date.now() / 1000),
      output: [...messages, compaction],
      usage: wire,
    }
    await sendBilled(run, value, { charged, isReported: wire !== undefined })
  })
}

/** `POST /v1/responses/input_tokens`: counts, and costs nothing. The model may be left out. */
export function countInputTokens(exchange: Exchange, parts: Parts): Promise<void> {
  return tell(exchange, 'inputTokens', parts, () => {
    const fields = parseObject(exchange.body)
    if (fields === undefined) return notJson()
    const asked = askedOf(fields, '', parts.countTokens)
    const context = readContext({ key: exchange.key, asked, script: {} }, parts)
    return 'error' in context ? context : { value: { object: 'response.input_tokens', input_tokens: asked.inputTokens + context.tokens } }
  })
}

function isUsers(item: Record<string, unknown>): boolean {
  return isObject(item) && item.type === 'message' && item.role === 'user'
}
