import { type BlockList, isIP } from 'node:net'
import type { Key } from '../directory/entities.ts'
import { isLive, type Principal } from '../directory/snapshot.ts'
import { blockListOf, hasAddress } from '../lib/address.ts'
import type { Clock } from '../lib/clock.ts'
import { Fault } from '../lib/fault.ts'
import { type Soon, whenThere } from '../lib/soon.ts'
import { orBooksAway } from './books-away.ts'
import type { Client } from './client.ts'
import type { Gateway } from './gateway.ts'
import type { Receipt } from './receipt.ts'

/** What of a client says who it is. */
export type Asker = Pick<Client, 'request' | 'address' | 'header'>

type Parts = Pick<Gateway, 'directory' | 'clock' | 'settings'>

/** Who is asking: at once when their key was used before. Cheap when the answer is no: agents ask again six times. */
export function authenticate(client: Asker, receipt: Pick<Receipt, 'principal'>, parts: Parts): Soon<Principal> {
  if (hasQueryKey(client.request.url ?? '')) throw new Fault('query_key')
  const secret = secretOf(client)
  if (secret === undefined) throw new Fault('key_invalid')
  return whenThere(principalOf(secret, parts), principal => {
    receipt.principal = principal
    return admissible(principal, client, parts.clock)
  })
}

/** The principal as it stands now: what was revoked while one stood in line is gone when its turn comes. `before` is who it was then. */
export function authenticateAgain(client: Asker, parts: Parts, before?: Principal): Soon<Principal> {
  const isAsBefore = before !== undefined && parts.directory.isCurrent(before)
  const now = isAsBefore ? before : principalOf(secretOf(client) ?? '', parts)
  return whenThere(now, principal => admissible(principal, client, parts.clock))
}

function admissible(principal: Principal, client: Asker, clock: Clock): Principal {
  if (!isLive(principal, clock.nowMs())) throw new Fault('key_invalid')
  if (!isAllowed(principal.key, client.address)) throw new Fault('address_denied')
  return principal
}

function principalOf(secret: string, parts: Parts): Soon<Principal> {
  const asked = parts.directory.principalOf(secret)
  // What is being asked already is not asked anew.
  const found = asked instanceof Promise ? orBooksAway(async () => parts.directory.principalOf(secret), parts) : asked
  return whenThere(found, known)
}

function known(found: Principal | 'unknown'): Principal {
  if (found === 'unknown') throw new Fault('key_invalid')
  return found
}

function hasQueryKey(url: string): boolean {
  const at = url.indexOf('?')
  if (at === -1) return false
  const query = new URLSearchParams(url.slice(at))
  return query.has('key') || query.has('api_key')
}

function secretOf(client: Asker): string | undefined {
  const bearer = /^Bearer +(\S+) *$/i.exec(client.header('authorization') ?? '')?.[1]
  return bearer ?? client.header('x-api-key')?.trim()
}

/** The lists of a key, read once; the directory makes a new key object when they change. */
const listsOf = new WeakMap<Key, { allow: BlockList | undefined; deny: BlockList | undefined }>()

function isAllowed(key: Key, address: string): boolean {
  if (key.allowAddresses.length === 0 && key.denyAddresses.length === 0) return true
  let lists = listsOf.get(key)
  if (lists === undefined) {
    lists = { allow: listOrNone(key.allowAddresses), deny: listOrNone(key.denyAddresses) }
    listsOf.set(key, lists)
  }
  // A proxy that does not say who calls ("unknown") cannot be used to pass a list.
  if (isIP(address) === 0 || (lists.deny && hasAddress(lists.deny, address))) return false
  return lists.allow === undefined || hasAddress(lists.allow, address)
}

function listOrNone(ranges: readonly string[]): BlockList | undefined {
  return ranges.length === 0 ? undefined : blockListOf(ranges)
}
