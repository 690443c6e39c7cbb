import { isRunning } from '../ledger/subscription.ts'
import type { Clock } from '../lib/clock.ts'
import { lru } from '../lib/lru.ts'
import { type Database, statement } from '../storage/database.ts'
import { text } from './cells.ts'
import type { Group, Key, Subscription, User } from './entities.ts'
import { keyColumns, keyOf } from './keys.ts'
import { hashOf } from './secrets.ts'
import { subscriptionColumns, subscriptionOf } from './subscriptions.ts'
import { userColumns, userOf } from './users.ts'

/** Who a key proves you are. */
export interface Principal {
  readonly key: Key
  readonly user: User
  /** In the order in which they are tried. */
  readonly groups: readonly Group[]
  /** All of the user's, ended and future ones too. */
  readonly subscriptions: readonly Subscription[]
}

export interface Principals {
  /** At once for a key that is remembered, known or not; else after asking the books. Rejects with `DatabaseAway`, never with "unknown". */
  of(secret: string): Principal | 'unknown' | Promise<Principal | 'unknown'>
  /** Whether this is still what `of` would say of them, at once: nothing was forgotten since they were read. */
  isCurrent(principal: Principal): boolean
  /** Whoever is asked for next is read anew. */
  forget(): void
}

export interface PrincipalLimits {
  /** How long a key that the books do not know is refused without asking them again. */
  readonly unknownKeyMs: number
  readonly unknownKeysMax: number
}

/** Whether a key may be used at this moment: neither it nor its user is disabled, and it has not expired. */
export function isLive({ key, user }: Principal, nowMs: number): boolean {
  return !key.disabled && !user.disabled && (key.expiresAtMs === null || nowMs < key.expiresAtMs)
}

/** The subscription to a group that runs at this moment; there is never more than one. */
export function runningSubscription({ subscriptions }: Principal, groupId: string, nowMs: number): Subscription | undefined {
  return subscriptions.find(one => one.groupId === groupId && isRunning(one, nowMs))
}

/** Keys by the hash of their secret, read when first used: people and keys may be too many to hold all of them. */
export function openPrincipals(
  database: Database,
  groupOf: (id: string) => Group | undefined,
  clock: Clock,
  limits: PrincipalLimits,
): Principals {
  const known = lru<Principal>(knownMax)
  const unknownUntilMs = lru<number>(limits.unknownKeysMax)
  let lookups = new Map<string, Promise<Principal | 'unknown'>>()
  let current = new WeakSet<Principal>()

  /** What was asked for before `forget` may be older than what made us forget: it is answered, not remembered. */
  async function lookUp(hash: string, mine: typeof lookups): Promise<Principal | 'unknown'> {
    try {
      const found = await readPrincipal(database, hash, groupOf)
      if (mine !== lookups) return found
      if (found === 'unknown') unknownUntilMs.set(hash, clock.elapsedMs() + limits.unknownKeyMs)
      else {
        known.set(hash, found)
        current.add(found)
      }
      return found
    } finally {
      mine.delete(hash)
    }
  }

  return {
    of(secret) {
      const hash = hashOf(secret)
      const found = known.get(hash)
      if (found !== undefined) return found
      if (clock.elapsedMs() < (unknownUntilMs.get(hash) ?? 0)) return 'unknown'
      let lookup = lookups.get(hash)
      if (lookup === undefined) lookups.set(hash, (lookup = lookUp(hash, lookups)))
      return lookup
    },
    isCurrent: principal => current.has(principal),
    forget() {
      known.clear()
      current = new WeakSet()
      unknownUntilMs.clear()
      lookups = new Map()
    },
  }
}

const knownMax = 200_000

const keyAndUser =
  statement(`select ${keyColumns.map(column => `keys.${column} as ${column}`).join(', ')}, ${userColumns('users', 'owner_')}
  from keys join users on users.id = keys.user_id where keys.hash = $1`)
const groupsOfKey = statement(`select key_groups.group_id as group_id
  from key_groups join keys on keys.id = key_groups.key_id where keys.hash = $1 order by key_groups.position`)
const subscriptionsOfKey = statement(`select ${subscriptionColumns} from subscriptions
  where user_id = (select user_id from keys where hash = $1) order by starts_at`)

async function readPrincipal(database: Database, hash: string, groupOf: (id: string) => Group | undefined): Promise<Principal | 'unknown'> {
  const asked = [keyAndUser, groupsOfKey, subscriptionsOfKey].map(one => database.read(one, [hash]))
  const [keys = [], memberships = [], subscriptions = []] = await Promise.all(asked)
  const [row] = keys
  if (row === undefined) return 'unknown'
  const groupIds = memberships.map(one => text(one, 'group_id'))
  return {
    key: keyOf(row, groupIds),
    user: userOf(row, 'owner_'),
    groups: groupIds.map(groupOf).filter(group => group !== undefined),
    subscriptions: subscriptions.map(subscriptionOf),
  }
}
