import type { Decimal } from './money.ts'

/** Tokens and hosted tools of one answer, by kind. `input` includes cached and written; `output` includes reasoning. */
export interface Usage {
  readonly inputTokens: number
  readonly cachedTokens: number
  readonly cacheWriteTokens: number
  readonly cacheWrite12hTokens: number
  readonly outputTokens: number
  readonly reasoningTokens: number
  readonly webSearches: number
  readonly fileSearches: number
}

/** One line of the price book. Rates are nano-dollars per million tokens; per-call rates are nano-dollars per call. */
export interface PriceVersion {
  readonly id: string
  readonly model: string
  /** `default`, `flex`, `priority`, `fast`, `batch`, … as the response's `service_tier` says it. */
  readonly tier: string
  /** The band: this line counts when the whole input has more tokens than this. 0 is the first band. */
  readonly contextOver: number
  readonly input: bigint
  readonly cached: bigint
  readonly cacheWrite: bigint
  readonly cacheWrite12h: bigint
  readonly output: bigint
  readonly webSearch: bigint | null
  readonly fileSearch: bigint | null
  /** The most output tokens the model can make, or null when nobody said. */
  readonly maxOutput: number | null
  /** Other names of the same model, such as dated snapshots. Exact, never fuzzy. */
  readonly aliases: readonly string[]
  readonly source: string | null
  readonly effectiveFromMs: number
  readonly effectiveToMs: number | null
}

export type Multiplier = Decimal
