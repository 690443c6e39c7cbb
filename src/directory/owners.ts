import type { Database, Step } from '../storage/database.ts'
import { text, whole } from './cells.ts'
import { lru } from './lru.ts'
import { readMany } from './pages.ts'
import { step } from './steps.ts'

/** Whose an id is that an upstream made, and which account it lives at. */
export interface Owner {
  readonly userId: string
  readonly accountId: string
  /** The tokens that a call which continues from it has as context. */
  readonly contextTokens: number
  /** response, conversation, file, item. */
  readonly kind: string
}

export interface Owners {
  ownerOf(id: string): Promise<Owner | undefined>
  /** Those that are known, by id, in one read. */
  ownersOf(ids: readonly string[]): Promise<Map<string, Owner>>
}

/** Remembers an owner; the first one to be told stays, so that nobody takes an id over. For the settle's commit. */
export function ownerSteps(owner: Owner & { readonly id: string; readonly atMs: number }): Step[] {
  const { id, kind, userId, accountId, contextTokens, atMs } = owner
  return [step(insertOwner, [id, kind, userId, accountId, contextTokens, atMs])]
}

/** Reads owners from the books. Found ones are kept for a while: an owner never changes. */
export function openOwners(database: Database): Owners {
  const known = lru<Owner>(knownMax)

  async function ownersOf(ids: readonly string[]): Promise<Map<string, Owner>> {
    const found = new Map<string, Owner>()
    const missing = new Set<string>()
    for (const id of ids) {
      const owner = known.get(id)
      if (owner === undefined) missing.add(id)
      else found.set(id, owner)
    }
    for (const row of await readMany(database.read, selectOwners, [...missing])) {
      const id = text(row, 'id')
      const owner: Owner = {
        userId: text(row, 'user_id'),
        accountId: text(row, 'account_id'),
        contextTokens: whole(row, 'context_tokens'),
        kind: text(row, 'kind'),
      }
      known.set(id, owner)
      found.set(id, owner)
    }
    return found
  }

  return { ownersOf, ownerOf: async id => (await ownersOf([id])).get(id) }
}

const knownMax = 20_000

const insertOwner = `insert into owners (id, kind, user_id, account_id, context_tokens, created_at)
  values ($1, $2, $3, $4, $5, $6) on conflict (id) do nothing`

function selectOwners(places: string): string {
  return `select id, kind, user_id, account_id, context_tokens from owners where id in (${places})`
}
