import type { UncollectedWhy } from '../usage/record.ts'
import type { Admission } from './admit.ts'

/**
 * Why a call may have cost more than was held for it: the first reason that applies to what it used. Whether anything could not
 * be taken only the books know; and they say `hold_expired` themselves.
 */
export function whyBeyondHold({ call, contextTokens, receipt, outputCeiling }: Admission): UncollectedWhy {
  const { usage } = receipt
  const { facts } = call
  if (usage.webSearches + usage.fileSearches > 0) return 'hosted_tools'
  if (usage.inputTokens > call.inputTokens + contextTokens) {
    if (facts.hasHostedTools) return 'hosted_tools'
    if (facts.conversationId !== undefined || facts.previousResponseId !== undefined || facts.fields.prompt) return 'stored_context'
    return facts.mediaTokens > 0 || facts.fileIds.length > 0 ? 'media' : 'dense_input'
  }
  const ceiling = outputCeiling ?? facts.maxOutputTokens
  if (ceiling !== undefined && usage.outputTokens > ceiling) return 'ceiling_exceeded'
  // Held by the price of what was asked for, charged by the price of what was served.
  return 'dearer_price'
}
