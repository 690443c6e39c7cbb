import type { Usage } from '../ledger/price.ts'
import { type Fields, isFields } from './json.ts'

/**
 * The usage of a response object, or null when it has none, or says its tokens in a way that says nothing. Servers leave details out,
 * so of those what is missing counts 0, and so does what is no whole number of zero or more. Cached and written tokens are parts of the input, 12-hour writes of
 * the written, reasoning of the output: a part larger than its whole is cut down to it, cached before written.
 */
export function usageOf(response: Fields): Usage | null {
  const { usage } = response
  if (!isFields(usage) || !areCounts([usage.input_tokens, usage.output_tokens])) return null
  const inputTokens = countOf(usage.input_tokens)
  const outputTokens = countOf(usage.output_tokens)
  const details = fieldsOf(usage.input_tokens_details)
  const cachedTokens = Math.min(inputTokens, countOf(details.cached_tokens))
  const cacheWriteTokens = Math.min(inputTokens - cachedTokens, countOf(details.cache_write_tokens))
  const cacheWrite12hTokens = Math.min(cacheWriteTokens, countOf(fieldsOf(details.cache_write_tokens_details).ttl_12h_tokens))
  const reasoningTokens = Math.min(outputTokens, countOf(fieldsOf(usage.output_tokens_details).reasoning_tokens))
  const webSearches = webSearchesOf(response)
  const fileSearches = countItems(response, isFileSearch)
  return { inputTokens, cachedTokens, cacheWriteTokens, cacheWrite12hTokens, outputTokens, reasoningTokens, webSearches, fileSearches }
}

/** The upstream's own number of billable searches, else the calls that searched: opening a page is free. */
function webSearchesOf(response: Fields): number {
  const search = fieldsOf(response.tool_usage).web_search
  if (isFields(search) && search.num_requests !== undefined) return countOf(search.num_requests)
  return countItems(response, isWebSearch)
}

const isFileSearch = ({ type }: Fields) => type === 'file_search_call'
const isWebSearch = ({ type, action }: Fields) => type === 'web_search_call' && fieldsOf(action).type === 'search'

function countItems({ output }: Fields, isCounted: (item: Fields) => boolean): number {
  let count = 0
  for (const item of Array.isArray(output) ? output : []) if (isFields(item) && isCounted(item)) count += 1
  return count
}

/**
 * Whether a report says how many tokens there were: at least one of its totals is there, and none is nonsense. A report that does not
 * is none, and the answer is estimated; taken for zeros, it would be free.
 */
export function areCounts(totals: readonly unknown[]): boolean {
  const said = totals.filter(total => total !== undefined && total !== null)
  return said.length > 0 && said.every(total => Number.isSafeInteger(total) && (total as number) >= 0)
}

export function countOf(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? Math.min(value, countMost) : 0
}

/** No answer uses more of anything. Sums of what was reported must stay countable, whatever a server says. */
const countMost = 1_000_000_000_000

const noFields: Fields = {}

export function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : noFields
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
