import type { Account, Group, Key, User } from '../../src/directory/entities.ts'
import type { Directory, Principal, Snapshot } from '../../src/directory/snapshot.ts'
import { openPriceBook, type PriceVersion } from '../../src/ledger/price.ts'
import type { Clock } from '../../src/lib/clock.ts'
import type { Cast } from './cast.ts'

export const model = 'sim'

/** Who and what exists, in memory, and an operator who changes it. In the simulation a key's secret is its id. */
export class SimulatedDirectory implements Directory {
  readonly #clock: Clock
  readonly #users: Map<string, User>
  readonly #keys: Map<string, Key>
  readonly #accounts: Map<string, Account>
  readonly #groups: Map<string, Group>
  readonly #listeners = new Set<(snapshot: Snapshot) => void>()
  readonly #principals = new Map<string, Principal>()
  /** How many calls a user might have at once, and until when that was so. */
  readonly #limits: { readonly userId: string; readonly concurrency: number; untilMs: number }[]
  #snapshot: Snapshot

  constructor({ users, keys, groups, upstreams }: Cast, clock: Clock) {
    this.#clock = clock
    this.#users = byId(users)
    this.#keys = byId(keys)
    this.#groups = byId(groups)
    this.#accounts = byId(upstreams.map(({ account }) => account))
    this.#limits = users.map(({ id, concurrency }) => ({ userId: id, concurrency, untilMs: Number.POSITIVE_INFINITY }))
    this.#snapshot = this.#newSnapshot()
  }

  snapshot(): Snapshot {
    return this.#snapshot
  }

  principalOf(secret: string): Principal | 'unknown' {
    const key = this.#keys.get(secret)
    if (key === undefined) return 'unknown'
    let principal = this.#principals.get(secret)
    if (principal === undefined) {
      const groups = key.groupIds.map(id => this.#groups.get(id)!)
      principal = { key, user: this.#users.get(key.userId)!, groups, subscriptions: [] }
      this.#principals.set(secret, principal)
    }
    return principal
  }

  isCurrent(principal: Principal): boolean {
    return this.#principals.get(principal.key.id) === principal
  }

  async catchUp(): Promise<void> {} // Nobody else changes it.

  async refresh(): Promise<void> {
    this.#snapshot = this.#newSnapshot()
    this.#principals.clear()
    for (const listener of this.#listeners) listener(this.#snapshot)
  }

  onChange(listener: (snapshot: Snapshot) => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  disableAccount(id: string, disabled: boolean): void {
    this.#accounts.set(id, { ...this.#accounts.get(id)!, disabled })
    void this.refresh()
  }

  revokeKey(id: string): void {
    this.#keys.set(id, { ...this.#keys.get(id)!, disabled: true })
    void this.refresh()
  }

  limitUser(userId: string, concurrency: number): void {
    this.#limits.findLast(one => one.userId === userId)!.untilMs = this.#clock.elapsedMs()
    this.#limits.push({ userId, concurrency, untilMs: Number.POSITIVE_INFINITY })
    this.#users.set(userId, { ...this.#users.get(userId)!, concurrency })
    void this.refresh()
  }

  /** The most calls that a user might have had at once at any time since then; Infinity without a limit. Elapsed milliseconds. */
  limitSince(userId: string, sinceMs: number): number {
    const known = this.#limits.filter(one => one.userId === userId && one.untilMs >= sinceMs)
    return Math.max(...known.map(({ concurrency }) => (concurrency > 0 ? concurrency : Number.POSITIVE_INFINITY)))
  }

  #newSnapshot(): Snapshot {
    const accounts = new Map(this.#accounts)
    return {
      groups: this.#groups,
      accounts,
      accountsOf: groupId => [...accounts.values()].filter(({ groupIds }) => groupIds.includes(groupId)),
      groupNames: new Map([...this.#groups.values()].map(({ id, name }) => [id, name])),
      prices,
      priceBook,
    }
  }
}

const price: PriceVersion = {
  id: 'price',
  model,
  tier: 'default',
  contextOver: 0,
  input: 2_000_000_000n,
  cached: 500_000_000n,
  cacheWrite: 2_000_000_000n,
  cacheWrite12h: 2_000_000_000n,
  output: 8_000_000_000n,
  webSearch: null,
  fileSearch: null,
  maxOutput: 16_000,
  aliases: [],
  source: null,
  effectiveFromMs: 0,
  effectiveToMs: null,
}

const prices = [price, { ...price, id: 'renamed', model: 'sim-renamed' }]
const priceBook = openPriceBook(prices)

function byId<Entity extends { readonly id: string }>(entities: readonly Entity[]): Map<string, Entity> {
  return new Map(entities.map(entity => [entity.id, entity]))
}
