import type { Meter } from '../coordination/coordinator.ts'
import type { Account, Rates } from '../directory/entities.ts'
import type { Principal } from '../directory/snapshot.ts'

/** All accounts' meters have one owner, because their slots have. */
export function metersOfAccount(account: Account, tokens: number): Meter[] {
  return metersOf(`account:${account.id}`, account, tokens, 'pools')
}

/** A key's meters are its user's: what is spent together has one owner. */
export function metersOfCaller({ user, key }: Pick<Principal, 'user' | 'key'>, tokens: number): Meter[] {
  const owner = `user:${user.id}`
  return [...metersOf(owner, user, tokens, owner), ...metersOf(`key:${key.id}`, key, tokens, owner)]
}

/** The meters of whoever has rates: one request, and so many tokens. */
function metersOf(name: string, rates: Rates, tokens: number, owner: string): Meter[] {
  const meters: Meter[] = []
  if (rates.requestsPerMinute !== null) meters.push({ name: `${name}:requests`, owner, perMinute: rates.requestsPerMinute, amount: 1 })
  if (rates.tokensPerMinute !== null) meters.push({ name: `${name}:tokens`, owner, perMinute: rates.tokensPerMinute, amount: tokens })
  return meters
}
