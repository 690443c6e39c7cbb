import type { Usage } from '../ledger/price.ts'
import type { Expected } from '../usage/pending.ts'
import type { UncollectedWhy } from '../usage/record.ts'
import type { Admission } from './admit.ts'

/** What a call was held by. */
export function expectedOf({ call, contextTokens, outputCeiling }: Pick<Admission, 'call' | 'contextTokens' | 'outputCeiling'>): Expected {
  const { facts } = call
  return {
    inputTokens: call.inputTokens + contextTokens,
    outputCeiling: outputCeiling ?? facts.maxOutputTokens,
    hasHostedTools: facts.hasHostedTools,
    hasStoredContext: facts.conversationId !== undefined || facts.previousResponseId !== undefined || facts.fields.prompt !== undefined,
    hasMedia: facts.mediaTokens > 0 || facts.fileIds.length > 0,
  }
}

/**
 * Why a call may have cost more than was held for it: the first reason that applies to what it used. Whether anything could not
 * be taken only the books know; and they say `hold_expired` themselves.
 */
export function whyBeyondHold(expected: Expected, usage: Usage): UncollectedWhy {
  if (usage.webSearches + usage.fileSearches > 0) return 'hosted_tools'
  if (usage.inputTokens > expected.inputTokens) {
    if (expected.hasHostedTools) return 'hosted_tools'
    if (expected.hasStoredContext) return 'stored_context'
    return expected.hasMedia ? 'media' : 'dense_input'
  }
  if (expected.outputCeiling !== undefined && usage.outputTokens > expected.outputCeiling) return 'ceiling_exceeded'
  // Held by the price of what was asked for, charged by the price of what was served.
  return 'dearer_price'
}
