import type { Usage } from '../ledger/price.ts'
import type { Written } from '../protocols/answer-text.ts'
import { noUsage } from '../usage/record.ts'
import type { Admission } from './admit.ts'
import type { Gateway } from './gateway.ts'
import type { Basis } from './receipt.ts'
import type { Outcome } from './relay.ts'

/** What an answer used, and how that is known. */
export interface Used {
  readonly usage: Usage
  readonly basis: Basis
}

/** As it was reported, which needs no waiting; else by counting what was sent and what came. */
export function usageOf(
  { facts, isEmpty, told, written }: Outcome,
  admission: Admission,
  how: 'heard' | 'client_left',
  gateway: Pick<Gateway, 'counter'>,
): Used | Promise<Used> {
  if (admission.call.protocol.isFree) return { usage: noUsage, basis: 'none' }
  const usage = facts?.usage ?? told.usage
  if (usage) return { usage, basis: how === 'client_left' ? 'drained' : 'reported' }
  // A failure that reports no usage is none: OpenAI bills what it reports.
  if (facts?.status === 'failed' || isEmpty) return { usage: noUsage, basis: 'none' }
  return estimated(written(), admission, gateway)
}

/**
 * Counts with the vocabulary that the upstream bills by, in a worker. A body that had to make room, or a worker that is broken
 * or too slow, leaves the rule of so many bytes to a token.
 */
async function estimated({ texts, share }: Written, admission: Admission, { counter }: Pick<Gateway, 'counter'>): Promise<Used> {
  const { call, contextTokens } = admission
  const inputTexts = call.instructions === undefined ? [] : [call.instructions]
  const counts = await counter.count({ body: call.body.kept, inputTexts, outputTexts: texts })
  const input = counts?.inputTokens === undefined ? estimatedInput(admission) : counts.inputTokens + call.facts.mediaTokens + contextTokens
  const output = counts?.outputTokens ?? texts.reduce((bytes, text) => bytes + Buffer.byteLength(text), 0) / bytesPerToken
  return { usage: { ...noUsage, inputTokens: Math.ceil(input), outputTokens: Math.ceil(output * share) }, basis: 'estimated' }
}

/** Bytes of text to a token, about what OpenAI's vocabularies make of English. */
const bytesPerToken = 4
/** The hold counts two bytes to a token, to be above the truth; an estimate of the bill is to be near it. */
const holdBytesPerToken = 2

/** Tokens of the input by the size of the call alone: a stored context as it was, images and files by their rules, text by its bytes. */
export function estimatedInput({ call, contextTokens }: Admission): number {
  const { mediaTokens } = call.facts
  return Math.ceil(((call.inputTokens - mediaTokens) * holdBytesPerToken) / bytesPerToken) + mediaTokens + contextTokens
}
