import { type Answer, makeAnswer } from './answer.ts'
import { type Asked, type Refusal, readAsked } from './asked.ts'
import { createInBackground } from './background.ts'
import { defaultError } from './errors.ts'
import { answer, type Exchange } from './exchange.ts'
import { makeFast, sendFast } from './fast.ts'
import { newLine } from './invoice.ts'
import type { Parts } from './parts.ts'
import { readContext } from './references.ts'
import { remember } from './remember.ts'
import { chargeShown, type Play, type Run } from './run.ts'
import type { Script } from './script.ts'
import { sendInstead, sendJson, sendStream } from './send.ts'

/** `POST /v1/responses`. */
export async function create(exchange: Exchange, parts: Parts): Promise<void> {
  const { key, body } = exchange
  const asked = readAsked(body, parts.countTokens)
  const isReadable = 'model' in asked
  const script: Script = isReadable ? parts.scripts.next(key, asked.model, 'responses') : {}
  const line = isReadable ? newLine(key, asked.model, asked.stream) : newLine(key, '', false)
  parts.bill(line)
  const suffix = parts.nextSuffix()
  await answer(exchange, { script, line, suffix }, parts, run =>
    isReadable ? perform(run, { key, asked, suffix }, parts) : sendInstead(run, asked),
  )
}

/** A call that could be read. */
export interface Call {
  readonly key: string
  readonly asked: Asked
  readonly suffix: string
  /** Tokens of a response that only the call's own connection remembers. */
  readonly remembered?: (responseId: string) => number | undefined
}

/** Does what the script says with a call. Throws when the client leaves, after the line was charged. */
async function perform(run: Run, call: Call, parts: Parts): Promise<void> {
  const { script, line } = run
  const { asked, suffix } = call
  if (script.fast === true) return await sendFast(run, fastAnswer(script, call, parts), suffix)
  const made = makeOrRefuse(run, call, parts)
  if ('error' in made) return await sendInstead(run, made, script.rawBody)
  if (asked.background) return await createInBackground(run, made, call, parts)
  try {
    await (asked.stream ? sendStream(run, made) : sendJson(run, made))
  } finally {
    if (line.ended === 'running') chargeShown(run, made, 'left')
  }
}

function fastAnswer(script: Script, { key, asked, suffix }: Call, parts: Parts) {
  const { countTokens } = parts
  const make = () => {
    const making = { suffix, contextTokens: 0, countTokens, organisation: parts.organisationOf(key) }
    return makeFast(makeAnswer({ ...asked, maxOutputTokens: undefined }, script, making), suffix)
  }
  return parts.fast.find(script, `${asked.model}\n${asked.serviceTier}\n${asked.stream}`, make)
}

/** The answer that the script and what was sent make together, noted on the line; or why there is none. */
export function makeOrRefuse(play: Play, call: Call, parts: Parts): Answer | Refusal {
  const { script, line } = play
  const { key, asked, suffix } = call
  const told = refusalOf(script, asked.model)
  if (told !== undefined) return told
  const context = readContext({ ...call, script }, parts)
  if ('error' in context) return context
  const { countTokens } = parts
  const organisation = parts.organisationOf(key)
  const made = makeAnswer(asked, script, { suffix, contextTokens: context.tokens, countTokens, organisation })
  line.modelServed = made.model
  line.tier = made.tier
  line.responseId = made.id
  play.keep = response => remember(response, { key, made, context }, parts)
  return made
}

/** What the script has in place of an answer. */
export function refusalOf(script: Script, model: string): Refusal | undefined {
  const status = script.status ?? 200
  if (status < 300 && script.rawBody === undefined && script.error === undefined) return undefined
  return { status, error: { ...defaultError(status, model), ...script.error } }
}
