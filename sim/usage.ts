import type { UsageOverride } from './script.ts'

/** What one answer used, in tokens. `inputTokens` includes cached and written ones, `outputTokens` the reasoning. */
export interface TokenUsage {
  readonly inputTokens: number
  readonly cachedTokens: number
  /** All cache writes; `cacheWrite12hTokens` of them live for twelve hours. */
  readonly cacheWriteTokens: number
  readonly cacheWrite12hTokens: number
  readonly outputTokens: number
  readonly reasoningTokens: number
  readonly webSearches: number
}

export const nothingUsed: TokenUsage = {
  inputTokens: 0,
  cachedTokens: 0,
  cacheWriteTokens: 0,
  cacheWrite12hTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
  webSearches: 0,
}

/** The `usage` that goes over the wire, or undefined when the script wants none, and what the invoice therefore charges. */
export function reportUsage(
  used: TokenUsage,
  override: UsageOverride | null | undefined,
): { wire: Record<string, unknown> | undefined; charged: TokenUsage } {
  if (override === null) return { wire: undefined, charged: used }
  const { input_tokens_details: inputDetails, output_tokens_details: outputDetails, ...totals } = override ?? {}
  const counts = { input_tokens: used.inputTokens, output_tokens: used.outputTokens, ...totals }
  const input = mergeDetails({ cached_tokens: used.cachedTokens, cache_write_tokens: used.cacheWriteTokens }, inputDetails)
  const output = mergeDetails({ reasoning_tokens: used.reasoningTokens }, outputDetails)
  const wire = {
    input_tokens: counts.input_tokens,
    ...(input && { input_tokens_details: input }),
    output_tokens: counts.output_tokens,
    ...(output && { output_tokens_details: output }),
    total_tokens: totals.total_tokens ?? counts.input_tokens + counts.output_tokens,
  }
  const lasting = input?.cache_write_tokens_details
  const charged = {
    inputTokens: wholeCount(counts.input_tokens),
    cachedTokens: wholeCount(input?.cached_tokens),
    cacheWriteTokens: wholeCount(input?.cache_write_tokens),
    cacheWrite12hTokens:
      typeof lasting === 'object' && lasting !== null && 'ttl_12h_tokens' in lasting ? wholeCount(lasting.ttl_12h_tokens) : 0,
    outputTokens: wholeCount(counts.output_tokens),
    reasoningTokens: wholeCount(output?.reasoning_tokens),
    webSearches: used.webSearches,
  }
  return { wire, charged }
}

function mergeDetails(
  made: Readonly<Record<string, unknown>>,
  override: Readonly<Record<string, unknown>> | null | undefined,
): Record<string, unknown> | undefined {
  return override === null ? undefined : { ...made, ...override }
}

/** A script may report nonsense; nobody is charged for it. */
function wholeCount(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0
}
