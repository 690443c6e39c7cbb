import { costOf, hasTier, type Multiplier, type Usage } from '../ledger/price.ts'
import type { AnswerFacts } from '../protocols/protocol.ts'
import type { CallRow } from '../usage/record.ts'
import type { Gateway } from './gateway.ts'

/** An answer, as it is priced. */
export interface Served {
  /** What the answer says of itself, if it came to that. */
  readonly facts: Pick<AnswerFacts, 'model' | 'serviceTier'> | undefined
  readonly usage: Usage
  /** As it was named upstream, and the tier that was asked for. */
  readonly model: string
  readonly tier: string
  readonly multiplier: Multiplier
  /** What has no price is given away. */
  readonly isUnpricedFree: boolean
  /** When the call began. */
  readonly atMs: number
}

/** By the model that served it if the book prices it, else by the name that was sent; by the tier of the answer. */
export function priceOf(
  { facts, usage, model: sent, tier: asked, multiplier, isUnpricedFree, atMs }: Served,
  { directory, metrics }: Pick<Gateway, 'directory' | 'metrics'>,
): Pick<CallRow, 'servedModel' | 'tier' | 'priceId' | 'cost'> {
  const { priceBook } = directory.snapshot()
  const said = facts?.model ?? undefined
  const model = said !== undefined && priceBook.resolve(said, atMs) !== undefined ? said : sent
  const tier = facts?.serviceTier ?? asked
  // What the group gave away when it was asked for is not charged by what it turned out to be.
  const isGivenAway = isUnpricedFree && priceBook.resolve(sent, atMs) === undefined
  const version = isGivenAway ? undefined : priceBook.find({ model, tier, contextTokens: usage.inputTokens, atMs })
  if (version !== undefined && !hasTier(version, tier)) metrics.tierUnpriced.inc({ model: version.model })
  return {
    servedModel: said ?? sent,
    tier,
    priceId: version?.id ?? null,
    cost: version === undefined ? 0n : costOf(usage, version, multiplier),
  }
}
