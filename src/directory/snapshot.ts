import { openPriceBook, type PriceBook, type PriceVersion } from '../ledger/price.ts'
import type { Clock } from '../lib/clock.ts'
import type { Database } from '../storage/database.ts'
import { listAccounts } from './accounts.ts'
import type { Account, Group } from './entities.ts'
import { listGroups } from './groups.ts'
import { everything } from './pages.ts'
import { listPrices } from './prices.ts'
import { openPrincipals, type PrincipalLimits, type Principals } from './principals.ts'
import { readRevision } from './revision.ts'
import type { Seal } from './seal.ts'

export { isLive, type Principal } from './principals.ts'

/** What operators have few of, whole and in memory: a call looks it up without waiting. Never changed; replaced by a newer one. */
export interface Snapshot {
  readonly groups: ReadonlyMap<string, Group>
  /** With their credentials, unsealed. */
  readonly accounts: ReadonlyMap<string, Account>
  /** Disabled ones too. Empty for a group that is not known. */
  accountsOf(groupId: string): readonly Account[]
  /** By id. */
  readonly groupNames: ReadonlyMap<string, string>
  /** Every version there ever was. */
  readonly prices: readonly PriceVersion[]
  readonly priceBook: PriceBook
}

/** The data plane's copy of who and what exists. */
export interface Directory {
  snapshot(): Snapshot
  /** See `Principals.of`. */
  principalOf: Principals['of']
  /** See `Principals.isCurrent`. */
  isCurrent: Principals['isCurrent']
  /**
   * Reads everything anew, after a write: when it resolves, nothing older is answered any more. Keys are forgotten at once,
   * before anything is read, so that a revoked one stops working even if the books go away now.
   */
  refresh(): Promise<void>
  /** The same if the books say that somebody has changed the directory since it was last read; else one small read. */
  catchUp(): Promise<void>
  /** Calls `listener` after each refresh, until disposed of. */
  onChange(listener: (snapshot: Snapshot) => void): Disposable
}

export type DirectoryOptions = Partial<PrincipalLimits>

/** Rejects with a sentence that names the account whose credential does not unseal. */
export async function openDirectory(database: Database, seal: Seal, clock: Clock, options: DirectoryOptions = {}): Promise<Directory> {
  const listeners = new Set<(snapshot: Snapshot) => void>()
  let seen = await readRevision(database.report)
  let current = await readSnapshot(database, seal)
  let turn: Promise<unknown> = Promise.resolve()
  const limits = { ...defaultLimits, ...options }
  const principals = openPrincipals(database, id => current.groups.get(id), clock, limits)

  async function reload(): Promise<void> {
    // The revision first: what is written while the rest is read makes it an old one.
    const newest = await readRevision(database.report)
    current = await readSnapshot(database, seal)
    seen = newest
    // Again: a principal that was read meanwhile has the groups of the snapshot before.
    principals.forget()
    for (const listener of listeners) listener(current)
  }

  function refresh(): Promise<void> {
    principals.forget()
    // One after the other, so that the newest read is the one that stays. One that failed does not stop the next.
    const mine = turn.then(reload)
    turn = mine.catch(() => {})
    return mine
  }

  return {
    snapshot: () => current,
    principalOf: principals.of,
    isCurrent: principals.isCurrent,
    refresh,
    async catchUp() {
      // Not behind the reports, which may take long.
      if ((await readRevision(database.read)) !== seen) await refresh()
    },
    onChange(listener) {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
  }
}

const defaultLimits: PrincipalLimits = { unknownKeyMs: 2_000, unknownKeysMax: 10_000 }

async function readSnapshot(database: Database, seal: Seal): Promise<Snapshot> {
  const [groups, accounts, prices] = await Promise.all([
    everything(page => listGroups(database, page)),
    everything(page => listAccounts(database, seal, page)),
    everything(page => listPrices(database, page)),
  ])
  const members = new Map<string, Account[]>(groups.map(group => [group.id, []]))
  for (const account of accounts) for (const groupId of account.groupIds) members.get(groupId)?.push(account)
  return {
    groups: new Map(groups.map(group => [group.id, group])),
    accounts: new Map(accounts.map(account => [account.id, account])),
    accountsOf: groupId => members.get(groupId) ?? nobody,
    groupNames: new Map(groups.map(group => [group.id, group.name])),
    prices,
    priceBook: openPriceBook(prices),
  }
}

const nobody: readonly Account[] = []
