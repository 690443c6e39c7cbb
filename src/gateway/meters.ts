import type { Meter } from '../coordination/coordinator.ts'
import type { Account, Rates } from '../directory/entities.ts'
import type { Principal } from '../directory/snapshot.ts'

/** All accounts' meters have one owner, because their slots have. */
export function metersOfAccount(account: Account, tokens: number): readonly Meter[] {
  return hasRates(account) ? metersOf(account, 'account', 'pools', tokens) : none
}

/** A key's meters are its user's: what is spent together has one owner. */
export function metersOfCaller({ user, key }: Pick<Principal, 'user' | 'key'>, tokens: number): readonly Meter[] {
  if (!hasRates(key)) return hasRates(user) ? metersOf(user, 'user', `user:${user.id}`, tokens) : none
  const owner = `user:${user.id}`
  return [...metersOf(user, 'user', owner, tokens), ...metersOf(key, 'key', owner, tokens)]
}

const none: readonly Meter[] = []

function hasRates({ requestsPerMinute, tokensPerMinute }: Rates): boolean {
  return requestsPerMinute !== null || tokensPerMinute !== null
}

type Metered = Rates & { readonly id: string }

/** The meters of whoever has rates: one request, and so many tokens. */
function metersOf(metered: Metered, kind: 'account' | 'user' | 'key', owner: string, tokens: number): Meter[] {
  let names = namesOf.get(metered)
  if (names === undefined) {
    names = { requests: `${kind}:${metered.id}:requests`, tokens: `${kind}:${metered.id}:tokens` }
    namesOf.set(metered, names)
  }
  const meters: Meter[] = []
  const { requestsPerMinute, tokensPerMinute } = metered
  if (requestsPerMinute !== null) meters.push({ name: names.requests, owner, perMinute: requestsPerMinute, amount: 1 })
  if (tokensPerMinute !== null) meters.push({ name: names.tokens, owner, perMinute: tokensPerMinute, amount: tokens })
  return meters
}

/** Buckets are found by these names several times a call; of a text that is made anew each time the hash is too. */
const namesOf = new WeakMap<Metered, { readonly requests: string; readonly tokens: string }>()
