import type { Usage } from '../ledger/price.ts'
import { type Fields, isFields } from './json.ts'

/**
 * The usage of a response object, or null when it has none. Servers leave details out, so what is missing
 * counts 0, and so does what is no whole number of zero or more. Cached and written tokens are parts of the input, 12-hour writes of
 * the written, reasoning of the output: a part larger than its whole is cut down to it, cached before written.
 */
export function usageOf(response: Fields): Usage | null {
  const { usage } = response
  if (!isFields(usage)) return null
  const inputTokens = countOf(usage.input_tokens)
  const outputTokens = countOf(usage.output_tokens)
  const details = fieldsOf(usage.input_tokens_details)
  const cachedTokens = Math.min(inputTokens, countOf(details.cached_tokens))
  const cacheWriteTokens = Math.min(inputTokens - cachedTokens, countOf(details.cache_write_tokens))
  const cacheWrite12hTokens = Math.min(cacheWriteTokens, countOf(fieldsOf(details.cache_write_tokens_details).ttl_12h_tokens))
  const reasoningTokens = Math.min(outputTokens, countOf(fieldsOf(usage.output_tokens_details).reasoning_tokens))
  const tools = { webSearches: webSearchesOf(response), fileSearches: itemsOf(response, 'file_search_call').length }
  return { inputTokens, cachedTokens, cacheWriteTokens, cacheWrite12hTokens, outputTokens, reasoningTokens, ...tools }
}

/** The upstream's own number of billable searches, else the calls that searched: opening a page is free. */
function webSearchesOf(response: Fields): number {
  const search = fieldsOf(response.tool_usage).web_search
  if (isFields(search) && search.num_requests !== undefined) return countOf(search.num_requests)
  return itemsOf(response, 'web_search_call').filter(item => fieldsOf(item.action).type === 'search').length
}

function itemsOf({ output }: Fields, type: string): Fields[] {
  return Array.isArray(output) ? output.filter(item => isFields(item) && item.type === type) : []
}

export function countOf(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0
}

export function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {}
}

/** What a model wrote into a JSON answer, reasoning and the input of tools included. For an estimate, when no usage is reported. */
export function textsOfBody(body: Buffer): string[] {
  const response: unknown = JSON.parse(body.toString())
  const output = isFields(response) && Array.isArray(response.output) ? response.output : []
  return output
    .filter(isFields)
    .flatMap(({ content, summary, ...item }) => [item.arguments, item.input, ...textsOf(content), ...textsOf(summary)])
    .filter(text => typeof text === 'string')
}

function textsOf(parts: unknown): unknown[] {
  return Array.isArray(parts) ? parts.filter(isFields).map(({ text, refusal }) => text ?? refusal) : []
}
