import { lineOf, type PriceDraft } from '../directory/price-line.ts'
import type { PriceVersion } from '../ledger/price.ts'
import { type Problem, placeOf } from './sentence.ts'

/**
 * A name that two models have, each as its own or as an alias, would leave open what a call costs; whichever of them came
 * first. `standing` are the versions that hold now or will, of which those that a draft replaces no longer count; `pathOf` says
 * where the nth draft stands in the body.
 */
export function nameProblems(
  drafts: readonly PriceDraft[],
  standing: readonly PriceVersion[],
  pathOf: (index: number) => Problem['path'],
): Problem[] {
  const replaced = new Set(drafts.map(lineOf))
  const all = [...drafts, ...standing.filter(version => !replaced.has(lineOf(version)))]
  const models = new Set(all.map(({ model }) => model))
  const owners = new Map<string, Set<string>>()
  for (const { model, aliases } of all) for (const alias of aliases) owners.set(alias, (owners.get(alias) ?? new Set()).add(model))

  /** The other model that has this name, if one does. */
  function otherOf(name: string, model: string): string | undefined {
    return models.has(name) && name !== model ? name : [...(owners.get(name) ?? [])].find(owner => owner !== model)
  }

  return drafts.flatMap((draft, index) =>
    [{ name: draft.model, at: ['model'] }, ...draft.aliases.map((name, nth) => ({ name, at: ['aliases', nth] }))].flatMap(
      ({ name, at }) => {
        const other = otherOf(name, draft.model)
        if (other === undefined) return []
        const path = [...pathOf(index), ...at]
        const says = other === name ? 'which has a price of its own' : `which is an alias of ${other}`
        return [{ path, message: `${placeOf(path)} is ${JSON.stringify(name)}, ${says}; a name can have only one price.` }]
      },
    ),
  )
}
