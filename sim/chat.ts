import { type Answer, failureOf, finalStatus, makeAnswer, usedBy } from './answer.ts'
import { type Asked, askedOrRefusal, type CountTokens, countTexts, notJson, parseObject, type Refusal, refusal } from './asked.ts'
import { type ChatChunk, chatCompletion, chatUsage, choicesAsked, chunkOf, draftChunks, finishChunk } from './chat-chunks.ts'
import { refusalOf } from './create.ts'
import { dataFrame, doneMarker } from './events.ts'
import { answer, type Exchange } from './exchange.ts'
import { newLine } from './invoice.ts'
import { tokensShown } from './output.ts'
import type { Parts } from './parts.ts'
import { plannedEnd } from './play.ts'
import { breakOff, chargeShown, pace, put, type Run } from './run.ts'
import { isBroken, type Script } from './script.ts'
import { endStream, sendBilled, sendInstead, sendStreamHead } from './send.ts'
import { reportUsage } from './usage.ts'

/** `POST /v1/chat/completions`. All of its `n` choices say the same. */
export async function completeChat(exchange: Exchange, parts: Parts): Promise<void> {
  const { key, body } = exchange
  const asked = readChat(body, parts.countTokens)
  const isReadable = 'model' in asked
  const script = isReadable ? spoken(parts.scripts.next(key, asked.model, 'chat')) : {}
  const line = isReadable ? newLine(key, asked.model, asked.stream, 'chat') : newLine(key, '', false, 'chat')
  parts.bill(line)
  const suffix = parts.nextSuffix()
  await answer(exchange, { script, line, suffix }, parts, async run => {
    if (!isReadable) return await sendInstead(run, asked)
    const instead = refusalOf(script, asked.model)
    if (instead !== undefined) return await sendInstead(run, instead, script.rawBody)
    const making = { suffix, contextTokens: 0, countTokens: parts.countTokens, organisation: parts.organisationOf(key) }
    const made = { ...times(makeAnswer(asked, script, making), choicesAsked(asked)), id: `chatcmpl-${suffix}` }
    Object.assign(line, { modelServed: made.model, tier: made.tier, responseId: made.id })
    if (!asked.stream) return await sendCompletion(run, made)
    try {
      await sendChunks(run, made)
    } finally {
      if (line.ended === 'running') chargeShown(run, made, 'left')
    }
  })
}

/** So many choices, each up to the ceiling. They are told at the same pace, so what has been shown of one has been shown of all. */
function times(made: Answer, choices: number): Answer {
  if (choices === 1) return made
  const { output, used } = made
  const parts = output.parts.map(part => ({ ...part, tokens: part.tokens * choices }))
  const sums = { tokens: output.tokens * choices, reasoningTokens: output.reasoningTokens * choices }
  return {
    ...made,
    output: { ...output, ...sums, parts, countTokens: 'by share' },
    used: { ...used, outputTokens: used.outputTokens * choices, reasoningTokens: used.reasoningTokens * choices },
  }
}

/** Hosted tools and images are no part of a chat completion. */
function spoken({ webSearches: _, hugeEventBytes: __, ...script }: Script): Script {
  return script
}

/** As many as OpenAI makes. */
const choicesMax = 128

/** Tokens of the messages and the tools, by the rule of `readAsked`. */
function readChat(body: Buffer, countTokens: CountTokens): Asked | Refusal {
  const fields = parseObject(body)
  if (fields === undefined) return notJson()
  const asked = askedOrRefusal(fields, countTokens)
  if ('error' in asked) return asked
  const { messages, tools, max_completion_tokens: max, max_tokens: maxBefore } = fields
  if (!Array.isArray(messages) || messages.length === 0) {
    return refusal(400, "Missing required parameter: 'messages'.", 'missing_required_parameter', 'messages')
  }
  const { n } = fields
  if (typeof n === 'number' && n > choicesMax) {
    return refusal(400, `Invalid 'n': integer above maximum value. Expected a value <= ${choicesMax}.`, 'integer_above_max_value', 'n')
  }
  const ceiling = max ?? maxBefore
  const toolTexts = Array.isArray(tools) && tools.length > 0 ? [JSON.stringify(tools)] : []
  return {
    ...asked,
    store: fields.store === true,
    background: false,
    maxOutputTokens: typeof ceiling === 'number' ? ceiling : undefined,
    previousResponseId: undefined,
    conversationId: undefined,
    inputTokens: countTexts([...messages, ...toolTexts], countTokens),
  }
}

async function sendCompletion(run: Run, made: Answer): Promise<void> {
  const ended = finalStatus(made)
  if (ended === 'failed') return await sendInstead(run, { status: 500, error: { type: 'server_error', ...failureOf(made.script) } })
  const { wire, charged } = reportUsage(made.used, made.script.usage)
  await sendBilled(run, chatCompletion(made, wire), { charged, isReported: wire !== undefined, ended })
}

async function sendChunks(run: Run, made: Answer): Promise<void> {
  const { script } = run
  const drafts = draftChunks(made)
  const { end, endAt } = plannedEnd(script, drafts.length)
  const bytesMax = isBroken(end) ? script.afterBytes : undefined
  const show = (value: object) => put(run, dataFrame(value, script), bytesMax)
  if (!(await sendStreamHead(run))) return
  for (const [n, { chunk, shown }] of drafts.slice(0, endAt).entries()) {
    await pace(run, n)
    run.begun = true
    for (const each of ofEachChoice(chunk, choicesAsked(made.asked))) if (!(await show(each))) return await breakOffChat(run, made)
    Object.assign(run.shown, shown)
  }
  await pace(run, endAt)
  if (isBroken(end)) {
    if ((script.afterEvents ?? 0) <= drafts.length) return await breakOffChat(run, made)
    await finish(run, made, false, show)
    return await breakOff(run, end)
  }
  if (end === 'failed' || end === 'error') {
    chargeShown(run, made, end)
    await show({ error: { type: 'server_error', ...failureOf(script) } })
  } else {
    await finish(run, made, endAt < drafts.length, show)
    await put(run, doneMarker(script))
  }
  await endStream(run)
}

function ofEachChoice(chunk: ChatChunk, choices: number): ChatChunk[] {
  const told = chunk.choices as readonly object[]
  return Array.from({ length: choices }, (_, index) => ({ ...chunk, choices: told.map(choice => ({ ...choice, index })) }))
}

async function breakOffChat(run: Run, made: Answer): Promise<void> {
  const end = run.script.end ?? 'cut'
  chargeShown(run, made, end)
  await breakOff(run, end)
}

/** What comes behind the last word: why it was the last, when that was not said yet, and the usage where it is asked for. */
async function finish(run: Run, made: Answer, isEarly: boolean, show: (chunk: ChatChunk) => Promise<boolean>): Promise<void> {
  const used = isEarly ? usedBy(made.used.inputTokens, made.script, tokensShown(made.output, run.shown)) : made.used
  const { wire, charged } = reportUsage(used, made.script.usage)
  const options = made.asked.fields.stream_options
  const isAsked = typeof options === 'object' && options !== null && 'include_usage' in options && options.include_usage === true
  const isReported = isAsked && wire !== undefined
  run.charge(run.line, charged)
  Object.assign(run.line, { ended: isEarly ? 'incomplete' : finalStatus(made), usageReported: isReported })
  if (isEarly) for (const each of ofEachChoice(finishChunk(made, 'length'), choicesAsked(made.asked))) await show(each)
  if (isReported) await show({ ...chunkOf(made, []), usage: chatUsage(wire) })
}
