import { isDeepStrictEqual } from 'node:util'
import { lineOf, type PriceDraft } from '../directory/prices.ts'
import type { PriceVersion } from '../ledger/price.ts'
import { setupOfPrice } from './entities.ts'
import { type Problem, placeOf } from './sentence.ts'

/** Whether a version says what a draft says, so that there is nothing to change. */
export function isSamePrice(version: PriceVersion, draft: PriceDraft): boolean {
  return isDeepStrictEqual(setupOfPrice(version), setupOfPrice(draft))
}

/**
 * An alias that another model has, as its name or as an alias, would leave open what a call costs. `running` are the versions
 * that hold now, of which those that a draft replaces no longer count; `pathOf` says where the nth draft stands in the body.
 */
export function aliasProblems(
  drafts: readonly PriceDraft[],
  running: readonly PriceVersion[],
  pathOf: (index: number) => Problem['path'],
): Problem[] {
  const replaced = new Set(drafts.map(lineOf))
  const standing = [...drafts, ...running.filter(version => !replaced.has(lineOf(version)))]
  const models = new Set(standing.map(({ model }) => model))
  const owners = new Map<string, Set<string>>()
  for (const { model, aliases } of standing) for (const alias of aliases) owners.set(alias, (owners.get(alias) ?? new Set()).add(model))

  return drafts.flatMap((draft, index) =>
    draft.aliases.flatMap((alias, at) => {
      const other = models.has(alias) && alias !== draft.model ? alias : [...owners.get(alias)!].find(model => model !== draft.model)
      if (other === undefined) return []
      const path = [...pathOf(index), 'aliases', at]
      const says = other === alias ? 'which has a price of its own' : `which is an alias of ${other}`
      return [{ path, message: `${placeOf(path)} is ${JSON.stringify(alias)}, ${says}; a name can have only one price.` }]
    }),
  )
}
